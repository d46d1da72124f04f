"""What can be asked of the coordinator, one module per noun; every door calls these (D14)."""
