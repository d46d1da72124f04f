"""The agent: runs on every instance, carries out the segments of a deployment, and reports what happened."""

from ferryman import __version__

__all__ = ["__version__"]
