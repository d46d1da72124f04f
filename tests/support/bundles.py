"""Archives made to order, hostile ones too, and the deployments that bring them."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import tarfile
import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ferryman_agent.core.messages import (
    BundleType,
    DeploymentDescription,
    DeploymentId,
    GroupId,
    RevisionSource,
)
from ferryman_agent.files.layout import Layout

APPSPEC = b"version: 0.0\nos: linux\n"
GROUP = GroupId("group-1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One entry of an archive. `link` makes it a symbolic link, `hard` a hard link, `kind` any other tar type."""

    name: str
    content: bytes = b""
    mode: int = 0o644
    link: str | None = None
    hard: str | None = None
    kind: bytes | None = None
    modified: int = 1_700_000_000

    @property
    def is_directory(self) -> bool:
        return self.name.endswith("/")


def items(files: Mapping[str, bytes]) -> list[Item]:
    return [Item(name=name, content=content) for name, content in files.items()]


def make_tar(entries: Sequence[Item], compression: str = "") -> bytes:
    buffer = io.BytesIO()
    mode: Any = f"w:{compression}"
    with tarfile.open(
        fileobj=buffer, mode=mode, format=tarfile.GNU_FORMAT, encoding="utf-8", errors="surrogateescape"
    ) as tar:
        for entry in entries:
            info = tarfile.TarInfo(entry.name)
            info.mode, info.mtime = entry.mode, entry.modified
            if entry.kind is not None:
                info.type = entry.kind
            elif entry.link is not None:
                info.type, info.linkname = tarfile.SYMTYPE, entry.link
            elif entry.hard is not None:
                info.type, info.linkname = tarfile.LNKTYPE, entry.hard
            elif entry.is_directory:
                info.type = tarfile.DIRTYPE
            else:
                info.size = len(entry.content)
            tar.addfile(info, io.BytesIO(entry.content) if info.size else None)
    return buffer.getvalue()


def make_zip(entries: Sequence[Item], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", method) as archive:
        # Two entries of one name are meant.
        warnings.simplefilter("ignore", UserWarning)
        for entry in entries:
            info = zipfile.ZipInfo("x", (2023, 11, 14, 22, 13, 20))
            info.filename = info.orig_filename = entry.name
            info.create_system, info.compress_type = 3, method
            kind = (
                stat.S_IFLNK
                if entry.link is not None
                else stat.S_IFDIR
                if entry.is_directory
                else stat.S_IFREG
            )
            info.external_attr = (kind | entry.mode) << 16
            archive.writestr(info, os.fsencode(entry.link) if entry.link is not None else entry.content)
    return buffer.getvalue()


Maker = Callable[[Sequence[Item]], bytes]

MAKERS: dict[str, tuple[Maker, BundleType]] = {
    "zip": (make_zip, BundleType.ZIP),
    "tar": (make_tar, BundleType.TAR),
    "tgz": (lambda entries: make_tar(entries, "gz"), BundleType.TGZ),
}


def description(
    deployment_id: str = "d-1", *, url: str = "file:///nowhere", data: bytes | None = None, **given: Any
) -> DeploymentDescription:
    """A deployment; `data` gives the revision its digest and size."""
    revision = RevisionSource(
        url=url,
        bundle_type=given.pop("bundle_type", BundleType.TGZ),
        sha256=hashlib.sha256(data).hexdigest() if data is not None else None,
        size_bytes=len(data) if data is not None else None,
    )
    return DeploymentDescription(
        deployment_id=DeploymentId(deployment_id),
        deployment_group_id=given.pop("group", GROUP),
        deployment_group_name="Group",
        application_name="App",
        revision=given.pop("revision", revision),
        **given,
    )


def tree(path: Path) -> dict[str, str]:
    """Everything below a directory, with what makes it what it is: for comparing before and after."""
    found = {}
    for folder, folders, files in os.walk(path):
        for name in (*folders, *files):
            entry = Path(folder, name)
            status = entry.lstat()
            if stat.S_ISLNK(status.st_mode):
                what = f"-> {os.readlink(entry)}"
            elif stat.S_ISREG(status.st_mode):
                what = f"{status.st_mode:o} {hashlib.sha256(entry.read_bytes()).hexdigest()}"
            else:
                what = f"{status.st_mode:o}"
            found[os.fsencode(entry.relative_to(path)).decode("utf-8", "backslashreplace")] = what
    return found


def put_archive(
    layout: Layout, deployment_id: str, files: Mapping[str, bytes | str], group: str = GROUP
) -> Path:
    """Puts an unpacked revision in its place, as DownloadBundle leaves it. A text is a link; returns the archive."""
    archive = layout.create_deployment(group, deployment_id).archive
    archive.mkdir(exist_ok=True)
    for name, content in files.items():
        path = archive / name
        if name.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str):
            path.symlink_to(content)
        else:
            path.write_bytes(content)
    return archive
