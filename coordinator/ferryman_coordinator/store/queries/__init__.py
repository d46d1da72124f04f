"""Named reads, one module per noun. Each takes the connection of `Store.reading()` first."""
