"""Warnings from where logging is rare, without the logger until there is one.

The process that unpacks a bundle has nothing to log, and is to start at once: structlog is a third of its imports.
"""

from __future__ import annotations


def warn(event: str, **fields: object) -> None:
    """Logs a warning."""
    import structlog

    structlog.get_logger(__name__).warning(event, **fields)
