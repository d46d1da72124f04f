"""The coordinator: holds what should run where, and rolls it out over the fleet."""

from ferryman import __version__

__all__ = ["__version__"]
