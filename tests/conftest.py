"""What every test has: the req mark, missing components, a PostgreSQL of its own. See tests/support."""

import sys
from collections.abc import Iterator

import hypothesis
import pytest

# How long an example takes says more of the machine than of the code: `make bench` measures.
hypothesis.settings.register_profile("house", deadline=None)
hypothesis.settings.load_profile("house")

pytest_plugins = [
    "tests.support.marks",
    "tests.support.components",
    "tests.support.postgres",
    "tests.support.s3",
    "tests.support.github",
]


@pytest.fixture(autouse=True)
def logs_as_they_come() -> Iterator[None]:
    """A command line that ran inside a test has set up logging for its own process: the next test is another one."""
    yield
    # Not there where only the client is installed.
    if (structlog := sys.modules.get("structlog")) is not None:
        structlog.reset_defaults()
