"""Regular expressions as settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from ferryman_agent.config import load
from ferryman_agent.errors import ConfigError
from ferryman_agent.wiring import work_settings


def read(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "agent.yml"
    path.write_text(text)
    config = load(path, {"FERRYMAN_AGENT_HOME": str(tmp_path)}).config
    return [mask.pattern for mask in work_settings(config).hooks.masks]


@pytest.mark.req("AG-461")
def test_masks_are_read(tmp_path: Path) -> None:
    assert read(tmp_path, "hooks:\n  masks: ['token=\\S+', '[0-9]{16}']\n") == [r"token=\S+", "[0-9]{16}"]
    assert read(tmp_path, "hooks: {}\n") == []


@pytest.mark.parametrize("pattern", ["'('", "''", "7", "'a*'", "'|x'"])
def test_one_that_cannot_be_meant_is_a_mistake(tmp_path: Path, pattern: str) -> None:
    with pytest.raises(ConfigError, match=r"hooks\.masks"):
        read(tmp_path, f"hooks:\n  masks: [{pattern}]\n")
