"""Protobuf <-> model, by subject; nowhere else."""
