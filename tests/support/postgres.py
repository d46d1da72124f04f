"""A PostgreSQL server of our own for the test session: temporary folder, Unix socket only.

Fixtures: `postgres_server` (one a session) and `postgres_url` (an empty database for each test that asks).
"""

import getpass
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

from tests.support.components import require_component

OWNER = "ferryman"
SETTINGS = ("listen_addresses=''",)
_QUICK = (
    *SETTINGS,
    "fsync=off",  # durability of the server is PostgreSQL's own matter; speed is ours
    "synchronous_commit=off",
    "full_page_writes=off",
    "max_connections=200",
)


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """A running server and where its programs, data and socket are."""

    programs: Path
    home: Path
    user: str | None  # whom its programs run as; None: whoever runs the tests

    def run(self, program: str, *arguments: str) -> None:
        """Run one of the server's programs to its end; AssertionError with its output when it fails."""
        command = [str(self.programs / program), *arguments]
        done = subprocess.run(
            command,
            user=self.user,
            group=pwd.getpwnam(self.user).pw_gid if self.user else None,
            extra_groups=[] if self.user else None,
            cwd=self.home,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "HOME": str(self.home)},
            stdin=subprocess.DEVNULL,
            # A file, not a pipe: the server that pg_ctl leaves running would keep the pipe open.
            stdout=(log := (self.home / "programs.log").open("ab+")),
            stderr=subprocess.STDOUT,
            check=False,
        )
        log.seek(0)
        output = log.read().decode(errors="replace")
        log.close()
        assert done.returncode == 0, f"{' '.join(command)} exited with {done.returncode}:\n{output[-2000:]}"

    def url(self, database: str) -> str:
        """The SQLAlchemy address of one database."""
        return f"postgresql+asyncpg://{OWNER}@/{database}?host={self.home}"

    def create(self, database: str) -> None:
        """Make an empty database."""
        self.run("createdb", "-h", str(self.home), "-U", OWNER, database)

    def drop(self, database: str) -> None:
        """Remove a database, whoever may still be connected to it."""
        self.run("dropdb", "-h", str(self.home), "-U", OWNER, "--force", database)


@contextmanager
def serve(programs: Path, settings: Sequence[str]) -> Iterator[PostgresServer]:
    """Run a server, with these `name=value` settings, from the folder that holds its programs."""
    # Short, because the path of a Unix socket has 107 characters at most.
    home = Path(tempfile.mkdtemp(prefix="fm-pg-"))
    user = "postgres" if os.geteuid() == 0 else None
    if user:
        shutil.chown(home, user)
    server = PostgresServer(programs, home, user)
    data = str(home / "data")
    try:
        server.run("initdb", "-D", data, "-U", OWNER, "-A", "trust", "-E", "UTF8", "--no-sync")
        options = " ".join(f"-c {setting}" for setting in settings) + f" -k {home}"
        server.run("pg_ctl", "-D", data, "-w", "-l", str(home / "server.log"), "-o", options, "start")
        try:
            yield server
        finally:
            server.run("pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """Start the server; skips where PostgreSQL is not installed."""
    with serve(require_component("postgresql"), _QUICK) as server:
        yield server


_numbers = count(1)


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """The address of an empty database that is gone after the test."""
    database = f"test_{getpass.getuser().replace('-', '_')}_{next(_numbers)}"
    postgres_server.create(database)
    yield postgres_server.url(database)
    postgres_server.drop(database)
