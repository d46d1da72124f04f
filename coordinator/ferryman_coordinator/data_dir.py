"""The data directory: the only module that knows what is where in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from ferryman_coordinator.config import Config
from ferryman_coordinator.errors import SetupError
from ferryman_coordinator.keyfiles import SECRET, make_private_folder, read_file, write_file

_SQLITE = "sqlite+aiosqlite"


@dataclass(frozen=True, slots=True)
class DataDirectory:
    """Only its owner can enter it."""

    root: Path

    def make(self) -> None:
        """Raises SetupError."""
        make_private_folder(self.root)

    @property
    def authority(self) -> Path:
        """Keys and certificates."""
        return self.root / "ca"

    @property
    def ca_certificate(self) -> Path:
        """A copy for operators to hand out."""
        return self.root / "ca.pem"

    @property
    def admin_token(self) -> Path:
        return self.root / "admin.token"

    @property
    def bundles(self) -> Path:
        return self.root / "bundles"

    @property
    def url_key(self) -> Path:
        return self.root / "bundle-urls.key"

    @property
    def database(self) -> Path:
        return self.root / "ferryman.db"

    def keep_admin_token(self, text: str) -> None:
        """Raises SetupError."""
        write_file(self.admin_token, text.encode() + b"\n", SECRET)


def database_url(config: Config, directory: DataDirectory) -> str:
    """The address of the database, with its password if there is one. Raises SetupError."""
    if not config.database.url:
        return sa.URL.create(_SQLITE, database=str(directory.database)).render_as_string(hide_password=False)
    try:
        url = sa.make_url(config.database.url)
    except sa.exc.ArgumentError as error:
        # Without the address itself: it may hold a password.
        raise SetupError(
            "cannot read database.url: write postgresql://user@host/name, or leave it out"
        ) from error
    if config.database.password_file:
        path = Path(config.database.password_file)
        password = read_file(path)
        if password is None:
            raise SetupError(f"there is no file {path}, which database.password_file names")
        url = url.set(password=password.decode("utf-8", "replace").strip())
    return url.render_as_string(hide_password=False)
