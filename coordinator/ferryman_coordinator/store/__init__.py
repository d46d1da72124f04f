"""The database: tables, the one writer, named reads, migrations."""
