"""The AppSpec file: bytes to values, or every mistake in it with line and column. Pure: no file is opened here.

The agent, the client (`lint`, `push`) and the coordinator (registration) use the same rules (AG-276).
"""

from ferryman.appspec.checks import ScriptFacts, check_against
from ferryman.appspec.findings import Findings
from ferryman.appspec.hooks import SCRIPTABLE_EVENTS
from ferryman.appspec.lookup import DEFAULT_NAME, find_appspec_name, similar_names
from ferryman.appspec.mapping import JUNK, Target, expand
from ferryman.appspec.matching import matches, select
from ferryman.appspec.model import (
    AclEntry,
    AppSpec,
    EntryKind,
    FileMapping,
    Finding,
    ParsedAppSpec,
    Permission,
    Place,
    Script,
    SelinuxContext,
    Severity,
)
from ferryman.appspec.paths import ancestors, inside_revision, normal_destination
from ferryman.appspec.reader import SIZE_LIMIT
from ferryman.appspec.rules import parse
from ferryman.appspec.template import template

__all__ = [
    "DEFAULT_NAME",
    "JUNK",
    "SCRIPTABLE_EVENTS",
    "SIZE_LIMIT",
    "AclEntry",
    "AppSpec",
    "EntryKind",
    "FileMapping",
    "Finding",
    "Findings",
    "ParsedAppSpec",
    "Permission",
    "Place",
    "Script",
    "ScriptFacts",
    "SelinuxContext",
    "Severity",
    "Target",
    "ancestors",
    "check_against",
    "expand",
    "find_appspec_name",
    "inside_revision",
    "matches",
    "normal_destination",
    "parse",
    "select",
    "similar_names",
    "template",
]
