"""What the coordinator shows of itself to monitoring."""
