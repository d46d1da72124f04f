"""What every test has: the req mark, missing components, a PostgreSQL of its own. See tests/support."""

pytest_plugins = [
    "tests.support.marks",
    "tests.support.components",
    "tests.support.postgres",
    "tests.support.s3",
    "tests.support.github",
]
