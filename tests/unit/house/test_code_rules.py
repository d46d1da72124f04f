"""How code and tests are written: functions that one can read, no shell, tests that are never tried again."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
FOLDERS = ("protos", "client", "agent", "coordinator")
LONGEST_FUNCTION = 100
MOST_PATHS = 15
SHELLS = {"system", "popen", "create_subprocess_shell", "getoutput", "getstatusoutput"}


def sources(*folders: str) -> Iterator[tuple[Path, ast.Module]]:
    """Yields what is written by hand in each distribution."""
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if "_pb2" not in path.name:
                yield path, ast.parse(path.read_text(encoding="utf-8"))


@pytest.mark.req("V2-400")
def test_no_function_is_longer_than_a_hundred_lines() -> None:
    long = [
        f"{path}:{node.lineno}: {node.name}"
        for path, tree in sources(*FOLDERS)
        # A migration is one list of tables.
        if path.parent.name != "versions"
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno >= LONGEST_FUNCTION
    ]
    assert not long


@pytest.mark.req("V2-400")
def test_no_function_has_more_paths_than_one_can_follow() -> None:
    rule = ["--isolated", "--select", "C901", "--config", f"lint.mccabe.max-complexity={MOST_PATHS}"]
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--no-cache", "--output-format", "concise", *rule, *FOLDERS],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr


@pytest.mark.req("AG-X19")
def test_no_command_goes_through_a_shell() -> None:
    shells = [
        f"{path}:{node.lineno}"
        for path, tree in sources(*FOLDERS)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and (
            (isinstance(node.func, ast.Attribute) and node.func.attr in SHELLS)
            or any(word.arg == "shell" for word in node.keywords)
        )
    ]
    assert not shells


@pytest.mark.req("V2-403")
def test_a_test_has_one_try_and_a_minute() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    options = settings["tool"]["pytest"]["ini_options"]
    assert options["timeout"] == 60
    assert not [word for word in options["addopts"] if "rerun" in word]
    lock = (ROOT / "requirements" / "dev.lock").read_text(encoding="utf-8")
    assert re.search(r"^pytest-timeout==", lock, re.MULTILINE)
    assert not re.search(r"^(pytest-rerunfailures|flaky|pytest-retry)==", lock, re.MULTILINE)


@pytest.mark.req("V2-405")
def test_properties_of_parsers_names_and_paths_are_tried_with_a_hundred_examples() -> None:
    few = [
        f"{path}: {found}"
        for path in sorted((ROOT / "tests").rglob("*.py"))
        for found in re.findall(r"max_examples=(\d+)", path.read_text(encoding="utf-8"))
        if int(found) < 100 and path.name not in SLOW
    ]
    assert not few
    subjects = {path.name for path in (ROOT / "tests").rglob("*.py") if "@given" in path.read_text("utf-8")}
    assert subjects >= {
        "test_appspec_parser.py",
        "test_archive_safety.py",
        "test_journal_properties.py",
        "test_locations.py",
        "test_command_contract.py",
    }


SLOW = {
    "test_install_sequences.py",
    "test_drift_properties.py",
    "test_adoption_sequences.py",
    "test_registration_model.py",
}
"""Whole installs into real folders, or a database of its own for each: an example is many."""


WITH_PACKAGES = {
    # Installers, updates and the unit.
    "AG-H22",
    "AG-H25",
    "AG-H30",
    "AG-H33",
}
"""Rows about parts that come with the packages; one that gets its test leaves this list."""


@pytest.mark.req("AG-547", "AG-C31")
def test_each_lesson_of_the_original_s_history_has_a_regression_test() -> None:
    spec = (ROOT / "docs" / "spec" / "agent.md").read_text(encoding="utf-8")
    rows = set(re.findall(r"^\| (AG-H\d\d) \|", spec, re.MULTILINE))
    assert len(rows) == 35
    marked = {
        word.value
        for path in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("pytest.mark.req", "row", "retired")
        for word in ast.walk(node)
        if isinstance(word, ast.Constant)
    }
    assert rows - marked == WITH_PACKAGES
