"""The agent's settings: its own YAML, nested by subject, or the flat keys of the original's codedeployagent.yml."""

from ferryman_agent.config.places import default_path
from ferryman_agent.config.reload import Difference, reloadable_difference
from ferryman_agent.config.schema import Config
from ferryman_agent.config.source import Loaded, load, parse

__all__ = ["Config", "Difference", "Loaded", "default_path", "load", "parse", "reloadable_difference"]
