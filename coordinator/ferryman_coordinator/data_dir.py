"""The data directory: the only module that knows what is where in it."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from ferryman_coordinator.config import Config
from ferryman_coordinator.errors import SetupError
from ferryman_coordinator.keyfiles import SECRET, make_private_folder, read_file, write_file

_SQLITE = "sqlite+aiosqlite"
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True, slots=True)
class DataDirectory:
    """Only its owner can enter it."""

    root: Path

    def make(self) -> None:
        """Raises SetupError."""
        self.make_for_restore()
        if self.unfinished_restore.exists():
            raise SetupError(
                f"a restore into {self.root} did not come to its end: run `ferryman-coordinator restore` again, with"
                " --force"
            )

    def make_for_restore(self) -> None:
        """The same where a restore may have been cut short. Raises SetupError."""
        self._check_ours()
        make_private_folder(self.root)

    @property
    def unfinished_restore(self) -> Path:
        """Where a restore puts things together; gone when it is done."""
        return self.root / ".restoring"

    def _check_ours(self) -> None:
        """Nobody's /tmp or /etc becomes private because of a slip in --data-dir."""
        try:
            mode = self.root.stat().st_mode
            is_open = bool(mode & _OTHERS)
            if not stat.S_ISDIR(mode):
                raise SetupError(f"{self.root} is no directory: choose another --data-dir")
            is_foreign = is_open and any(self.root.iterdir()) and not self.authority.is_dir()
        except FileNotFoundError:
            return
        except OSError as error:
            raise SetupError(f"cannot use the directory {self.root}: {error.strerror}") from error
        if is_foreign:
            raise SetupError(
                f"the directory {self.root} is open to others and holds files that are not Ferryman's: give the"
                " coordinator a directory of its own, or make this one private first"
            )

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
    def access_key_seal(self) -> Path:
        """What the secrets of access keys are sealed with."""
        return self.root / "access-keys.key"

    @property
    def audit_seal(self) -> Path:
        """What checkpoints of the audit log are sealed with."""
        return self.root / "audit.key"

    @property
    def audit_anchor(self) -> Path:
        """Where the audit log had come to, outside of the database."""
        return self.root / "audit.anchor"

    @property
    def github_tokens(self) -> Path:
        return self.root / "github-tokens.json"

    @property
    def database(self) -> Path:
        return self.root / "ferryman.db"

    def check_authority(self) -> None:
        """A lost authority is not replaced in silence: no agent would trust the new one. Raises SetupError."""
        is_gone = not any((self.authority / name).exists() for name in ("ca.pem", "ca.key"))
        if is_gone and self.ca_certificate.exists():
            raise SetupError(
                f"the certificate authority in {self.authority} is gone, but {self.ca_certificate} shows that there"
                f" was one: restore it from a backup. To begin anew, with every agent enrolling again, remove"
                f" {self.ca_certificate} as well"
            )

    def read_admin_token(self) -> str | None:
        """None when there is no file. Raises SetupError."""
        content = read_file(self.admin_token)
        return None if content is None else content.decode("ascii", "replace").strip()

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
