"""What a start of the agent says about its configuration: refused with place and value, or accepted with a warning."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.agent_home import AgentHome
from tests.support.fake_coordinator import FakeCoordinator


@pytest.fixture
async def home(tmp_path: Path, coordinator: FakeCoordinator) -> AsyncIterator[AgentHome]:
    made = AgentHome(tmp_path / "agent")
    code, printed = await made.enroll(coordinator)
    assert code == 0, printed
    yield made
    await made.close()


async def _run(home: AgentHome, text: str | None) -> tuple[int, str]:
    """The end of a start that is refused."""
    if text is None:
        home.config.unlink(missing_ok=True)
    else:
        home.config.write_text(text)
    return await home.run("run", "--config", str(home.config))


@pytest.mark.req("AG-T18", "AG-K09", "AG-061")
@pytest.mark.parametrize("value", ["0", "-1", "abc"])
async def test_a_number_of_revisions_that_cannot_be(home: AgentHome, value: str) -> None:
    code, printed = await _run(home, f"verbose: true\nmax_revisions: {value}\n")
    assert code == 1
    shown = repr(value) if value == "abc" else value
    assert f"{home.config}:2: max_revisions: " in printed
    assert printed.rstrip().endswith(f", not {shown}")
    assert "Traceback" not in printed
    code, printed = await _run(home, f"bundles:\n  max_revisions: {value}\n")
    assert code == 1
    assert f"{home.config}:2: bundles.max_revisions: " in printed


@pytest.mark.req("AG-T80", "AG-057", "AG-058")
async def test_a_file_that_is_missing_or_no_yaml(home: AgentHome) -> None:
    code, printed = await _run(home, None)
    assert code == 1
    assert f"cannot read the configuration {home.config}: there is no such file" in printed
    code, printed = await _run(home, "log:\n  verbose: [true\n")
    assert code == 1
    assert str(home.config) in printed
    assert "line 3, column 1" in printed


@pytest.mark.req("AG-T80", "AG-059", "AG-060")
@pytest.mark.parametrize("style", [":root_dir:", "root_dir:"])
async def test_both_styles_start_and_an_unknown_key_is_a_warning(
    home: AgentHome, coordinator: FakeCoordinator, tmp_path: Path, style: str
) -> None:
    home.config.write_text(f"{style} {tmp_path}/own-root\nmax_revision: 3\n")
    await home.start()
    await coordinator.connected()
    log = home.log()
    assert (tmp_path / "own-root" / "deployment-instructions").is_dir()
    assert "max_revision" in log
    assert "did you mean max_revisions?" in log
    assert " WARN " in log
