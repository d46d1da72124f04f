"""The troubleshooting page has every symptom of the contract, and quotes nothing that no program says any more."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "operating" / "troubleshooting.md").read_text(encoding="utf-8")
SOURCES = (
    "agent/ferryman_agent",
    "client/ferryman_client",
    "coordinator/ferryman_coordinator",
    "protos/ferryman",
)
QUOTED = re.findall(r'"([^"]+)"', PAGE)


@cache
def said() -> str:
    """Every text in the programs."""
    texts = []
    for folder in SOURCES:
        for path in (ROOT / folder).rglob("*.py"):
            if path.name.endswith(("_pb2.py", "_pb2_grpc.py")):
                continue
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    parts = (part.value if isinstance(part, ast.Constant) else "\0" for part in node.values)
                    texts.append("".join(map(str, parts)))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    texts.append(node.value)
    return "\n".join(texts)


def test_every_symptom_has_its_place() -> None:
    rows = re.findall(
        r"^\| (AG-S\d+) \|", (ROOT / "docs/spec/agent.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert len(rows) == 25
    assert sorted(re.findall(r"^### .*\((AG-S\d+)\)$", PAGE, re.MULTILINE)) == sorted(rows)


@pytest.mark.parametrize("text", QUOTED)
def test_what_is_quoted_is_what_is_said(text: str) -> None:
    assert " ".join(text.split()) in said()


def test_commands_and_settings_that_are_named_exist() -> None:
    from ferryman_agent.cli import arguments
    from ferryman_agent.cli.main import ACTIONS
    from ferryman_agent.config.walk import leaves

    settings = {".".join(key) for key, _ in leaves()}
    named = set(re.findall(r"`((?:hooks|bundles|log|commands|proxy|coordinator|install)\.[a-z_]+)", PAGE))
    assert named
    assert named <= settings
    commands = set(re.findall(r"ferryman-agent ([a-z-]+)", PAGE))
    tree = arguments.parser(ACTIONS)
    known = next(action for action in tree._actions if action.choices and "doctor" in action.choices)
    assert known.choices is not None
    assert commands <= set(known.choices)
