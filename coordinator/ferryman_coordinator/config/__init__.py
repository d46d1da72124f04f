"""The coordinator's settings: YAML, environment and flags into frozen structs, nested by subject."""

from ferryman_coordinator.config.schema import Config
from ferryman_coordinator.config.source import load
from ferryman_coordinator.config.values import Address, ByteSize, Duration

__all__ = ["Address", "ByteSize", "Config", "Duration", "load"]
