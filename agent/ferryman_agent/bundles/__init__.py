"""Bundles: fetched, verified and unpacked, or nothing of them is left behind."""
