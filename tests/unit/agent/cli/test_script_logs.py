"""What scripts printed: found without knowing where, whole, and followed over a turn of the file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ferryman_agent.cli import script_logs
from ferryman_agent.config import Config, parse
from ferryman_agent.errors import AgentError


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return parse(b"", "f", {"FERRYMAN_AGENT_HOME": str(tmp_path)}).config


def a_log(config: Config, group: str, deployment: str, text: str, modified: int = 0) -> Path:
    path = config.root / group / deployment / "logs" / "scripts.log"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    if modified:
        os.utime(path, (modified, modified))
    return path


@pytest.mark.req("AG-545")
def test_the_newest_log_unless_an_id_is_given(config: Config) -> None:
    old = a_log(config, "g-1", "d-1", "a\n", 100)
    new = a_log(config, "g-2", "d-2", "b\n", 200)
    assert script_logs.find(config, None) == new
    assert script_logs.find(config, "d-1") == old


@pytest.mark.req("AG-545")
def test_what_is_not_there_is_said(config: Config) -> None:
    with pytest.raises(AgentError, match="no script has run yet"):
        script_logs.find(config, None)
    (config.root / "g-1" / "d-1").mkdir(parents=True)
    with pytest.raises(AgentError, match="d-1 ran no script here"):
        script_logs.find(config, "d-1")
    for strange in ("d-2", "../../etc", "*", ""):
        with pytest.raises(AgentError, match="ferryman-agent history"):
            script_logs.find(config, strange)


@pytest.mark.req("AG-545")
def test_older_files_come_first_and_bytes_that_are_no_text_are_shown(config: Config) -> None:
    path = a_log(config, "g-1", "d-1", "three\nfour")
    path.with_name("scripts.log.2").write_bytes(b"one\n")
    path.with_name("scripts.log.1").write_bytes(b"tw\xffo\n")
    path.with_name("scripts.log.x").write_bytes(b"none of it\n")
    assert list(script_logs.lines(path)) == ["one", "tw\ufffdo", "three", "four"]


def follow(path: Path, steps: list[Callable[[], object]]) -> Iterator[str]:
    """Each time that nothing is new, the next step happens; after the last one nobody waits any more."""
    left = iter(steps)

    def wait() -> bool:
        step = next(left, None)
        if step is not None:
            step()
        return step is not None

    return script_logs.lines(path, wait=wait)


def append(path: Path, text: str) -> Callable[[], object]:
    def write() -> None:
        with path.open("a") as file:
            file.write(text)

    return write


@pytest.mark.req("AG-545")
def test_following_goes_on_with_what_comes_line_by_line(config: Config) -> None:
    path = a_log(config, "g-1", "d-1", "one\n")
    found = follow(path, [append(path, "tw"), append(path, "o\nthree\n"), append(path, "")])
    assert list(found) == ["one", "two", "three"]


@pytest.mark.req("AG-545")
def test_following_goes_on_when_the_file_is_turned_or_taken_away(config: Config) -> None:
    path = a_log(config, "g-1", "d-1", "one\n")

    def turn() -> None:
        append(path, "two\n")()
        path.rename(path.with_name("scripts.log.1"))
        path.write_text("three\n")

    assert list(follow(path, [turn, append(path, "four\n"), path.unlink, lambda: None])) == [
        "one", "two", "three", "four",
    ]  # fmt: skip


def test_a_log_that_cannot_be_read_is_an_error(config: Config) -> None:
    path = a_log(config, "g-1", "d-1", "")
    path.unlink()
    path.mkdir()
    with pytest.raises(AgentError, match="cannot read"):
        list(script_logs.lines(path))
