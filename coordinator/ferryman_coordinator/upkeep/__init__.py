"""What operators do with a data directory besides running it: backups, a new authority, a check-up."""
