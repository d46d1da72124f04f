"""Drives the core: one inbox per live deployment; decide, store, and only then send (D1, D2)."""
