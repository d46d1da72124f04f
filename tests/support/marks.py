"""pytest plugin for the `req` mark: refuses ids that docs/spec does not know, and records what passed.

`--req-results FILE` writes {requirement id: {test id: "passed" | "failed" | "skipped"}} as JSON.
"""

import json
from pathlib import Path

import pytest

from tests.support import requirements

PROPERTY = "req"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --req-results."""
    parser.addoption("--req-results", metavar="FILE", help="write which requirement each test shows, as JSON")


def pytest_configure(config: pytest.Config) -> None:
    """Start a recorder in the process that sees all reports: the only one, or xdist's controller."""
    target = config.getoption("--req-results")
    if target and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Recorder(Path(config.invocation_params.dir, target)), "req-recorder")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put each test's requirement ids into its reports.

    Raises pytest.UsageError that names every test with an unknown id.
    """
    known = requirements.load()
    unknown = []
    for item in items:
        for mark in item.iter_markers("req"):
            for name in mark.args:
                if name not in known:
                    unknown.append(f"{item.nodeid}: no requirement {name!r} in docs/spec")
                item.user_properties.append((PROPERTY, name))
    if unknown:
        raise pytest.UsageError("\n".join(unknown))


class Recorder:
    """Collects the outcome of each test for each requirement it is marked with."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._outcomes: dict[str, dict[str, str]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the worst of set-up, call and teardown."""
        for key, value in report.user_properties:
            if key == PROPERTY:
                tests = self._outcomes.setdefault(str(value), {})
                if report.outcome != "passed" or (report.when == "call" and report.nodeid not in tests):
                    tests[report.nodeid] = report.outcome

    def pytest_sessionfinish(self) -> None:
        """Write the file, also after a run with failures."""
        self._target.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self._outcomes, indent=1, sort_keys=True)
        self._target.write_text(text + "\n", encoding="utf-8")
