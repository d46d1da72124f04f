"""System components that some tests need, and what happens where one is missing.

A test calls `require_component("postgresql")`: it goes on with the component's path, or is skipped with the
way to install it. With FERRYMAN_REQUIRE_ALL=1 it fails instead. Either way the end of the run counts them.
"""

import importlib.util
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

REQUIRE_ALL = "FERRYMAN_REQUIRE_ALL"
_PREFIX = "missing component "


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """How to find a component on this machine, and what to tell people who do not have it.

    An optional one is for what only few machines can show: without it tests are skipped even where all is required.
    """

    find: Callable[[], Path | None]
    install: str
    is_optional: bool = False


def _postgresql() -> Path | None:
    """The folder of the newest PostgreSQL server programs: Debian keeps them out of PATH, others do not."""
    folders = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if folders:
        return max(folders, key=lambda folder: int(re.sub(r"\D", "", folder.parent.name) or 0))
    return _program("initdb", parent=True)


def _program(name: str, *, parent: bool = False) -> Path | None:
    found = shutil.which(name)
    if found is None:
        return None
    return Path(found).resolve().parent if parent else Path(found)


def _module(name: str) -> Path | None:
    spec = importlib.util.find_spec(name)
    return None if spec is None or spec.origin is None else Path(spec.origin).parent


def _wine() -> Path | None:
    """Debian keeps the loader out of PATH where only the 64-bit package is installed."""
    loader = Path("/usr/lib/wine/wine64")
    return loader if loader.exists() else _program("wine64") or _program("wine")


def _windows_python() -> Path | None:
    named = os.environ.get("FERRYMAN_WINDOWS_PYTHON", "")
    return Path(named) if named and Path(named).is_file() else None


COMPONENTS = {
    "postgresql": Component(find=_postgresql, install="apt install postgresql"),
    "git": Component(find=lambda: _program("git"), install="apt install git"),
    "moto": Component(find=lambda: _module("moto"), install="make setup (pip: 'moto[s3]' flask flask-cors)"),
    "wine": Component(find=_wine, install="apt install wine64", is_optional=True),
    "windows-python": Component(
        find=_windows_python,
        install="FERRYMAN_WINDOWS_PYTHON=…/python.exe, an embeddable Python with the libraries of the agent",
        is_optional=True,
    ),
    "setpriv": Component(find=lambda: _program("setpriv"), install="apt install util-linux"),
}


def require_component(name: str) -> Path:
    """The path of the program or program folder; ends the calling test when the machine does not have it.

    Raises KeyError for a component that is not in the table above.
    """
    component = COMPONENTS[name]
    found = component.find()
    if found is not None:
        return found
    message = f"{_PREFIX}{name}: {component.install}"
    if not component.is_optional and os.environ.get(REQUIRE_ALL, "") not in ("", "0"):
        pytest.fail(message, pytrace=False)
    pytest.skip(message)


def require_root() -> None:
    """Skip the calling test where it may not change users, owners or mounts."""
    if os.geteuid() != 0:
        pytest.skip("needs root: run it as root, as CI does")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Count, at the end of a run, the tests that a missing component kept from showing anything."""
    counted: Counter[str] = Counter()
    for outcome in ("skipped", "failed", "error"):
        for report in terminalreporter.getreports(outcome):
            if match := re.search(rf"{_PREFIX}([^\n']+)", str(report.longrepr)):
                counted[match[1]] += 1
    if counted:
        terminalreporter.section("missing components")
        for what, tests in sorted(counted.items()):
            terminalreporter.line(f"{tests} test(s) need {what}")
        terminalreporter.line(f"Set {REQUIRE_ALL}=1 to make this a failure.")
