"""A missing system component: skipped with the way out, counted at the end, a failure on demand."""

from pathlib import Path

import pytest

from tests.support import components

pytest_plugins = ["pytester"]

ROOT = Path(__file__).resolve().parents[3]

SOURCE = """
from pathlib import Path
import pytest
from tests.support.components import COMPONENTS, Component, require_component

COMPONENTS["warp drive"] = Component(find=lambda: None, install="apt install warp-drive")

def test_one(): require_component("warp drive")

@pytest.fixture(scope="session")
def drive(): return require_component("warp drive")

def test_two(drive): pass

def test_three(drive): pass
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project whose tests need what no machine has."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    pytester.makeini("[pytest]\naddopts = -p tests.support.components")
    pytester.makepyfile(test_it=SOURCE)
    return pytester


def test_missing_component_is_skipped_and_counted(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(components.REQUIRE_ALL, raising=False)

    result = project.runpytest_subprocess()

    result.assert_outcomes(skipped=3)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["3 test(s) need warp drive: apt install warp-drive"])


def test_missing_component_fails_where_all_is_required(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(components.REQUIRE_ALL, "1")

    result = project.runpytest_subprocess()

    result.assert_outcomes(failed=1, errors=2)
    result.stdout.fnmatch_lines(["3 test(s) need warp drive: apt install warp-drive"])


def test_present_component_is_returned(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    here = components.Component(find=lambda: tmp_path, install="nothing")
    monkeypatch.setitem(components.COMPONENTS, "here", here)

    assert components.require_component("here") == tmp_path
