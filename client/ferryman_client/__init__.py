"""The typed client of a Ferryman coordinator, and the `ferryman` command on top of it."""

from ferryman import __version__

__all__ = ["__version__"]
