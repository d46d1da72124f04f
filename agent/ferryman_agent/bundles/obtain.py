"""Gets a bundle: it is there already, an earlier deployment has it, it is a local file, or it comes by HTTP."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import structlog

from ferryman_agent.bundles.address import shown_url
from ferryman_agent.bundles.hands import Hands
from ferryman_agent.bundles.limits import BundleLimits
from ferryman_agent.bundles.part import Part
from ferryman_agent.bundles.space import require_space
from ferryman_agent.bundles.transport import Transport
from ferryman_agent.bundles.uses import Uses
from ferryman_agent.bundles.verify import check_digest, check_size, normal_digest, verify
from ferryman_agent.core.messages import DeploymentDescription, RevisionSource
from ferryman_agent.errors import BundleError
from ferryman_agent.files.atomic import write_atomic
from ferryman_agent.files.hashing import blocks
from ferryman_agent.files.layout import STATE_FILE_MODE, DeploymentDir
from ferryman_agent.system import fs, own
from ferryman_agent.threads import in_thread

if TYPE_CHECKING:
    from ferryman_agent.bundles.wanted import Progress

log = structlog.get_logger(__name__)

DOWNLOADED = "downloaded"
REUSED = "archive-reuse"


@dataclass(frozen=True, slots=True)
class Obtained:
    """A bundle that is whole. `path` is a regular file or, for a local directory, that directory."""

    path: Path
    origin: str
    size_bytes: int
    sha256: str | None

    @property
    def is_directory(self) -> bool:
        return self.path.is_dir()


async def obtain(
    deployment: DeploymentDescription,
    directory: DeploymentDir,
    *,
    hands: Hands,
    transport: Transport,
    limits: BundleLimits,
    on_progress: Progress,
) -> Obtained:
    """Returns the verified bundle of a deployment's revision. Raises BundleError."""
    source = deployment.revision
    sha256 = normal_digest(source.sha256)
    local = local_path(source.url)
    if local is not None and sha256 is None:
        return await in_thread(lambda: _link(local, directory, source.size_bytes))
    # Only now: a local deployment of a directory shall not wait for the libraries of a download.
    from ferryman_agent.bundles.fetch import fetch
    from ferryman_agent.bundles.origins import identity_of, pauses_of, request_for

    if sha256 is None and limits.require_digest:
        message = f"the revision at {shown_url(source.url)} has no SHA-256, which this agent demands"
        raise BundleError("BUNDLE_UNVERIFIED", message)
    found = await in_thread(lambda: _reuse(directory, source, sha256, limits, transport.uses))
    if found is not None:
        on_progress(found.size_bytes, found.size_bytes)
        return found
    if local is not None and sha256 is not None:
        digest = sha256
        return await in_thread(lambda: _copy(local, directory, digest, source.size_bytes, limits))
    wanted = request_for(deployment, directory.bundle, transport.route, limits, sha256)
    with transport.rate.share(hands):
        fetched = await fetch(
            wanted,
            hands=hands,
            transport=transport,
            retry_pauses=pauses_of(source, limits),
            on_progress=on_progress,
        )
    identity = identity_of(source)
    await in_thread(lambda: _describe(directory, DOWNLOADED, fetched.sha256, fetched.etag, identity))
    return Obtained(directory.bundle, DOWNLOADED, fetched.size_bytes, fetched.sha256)


def local_path(url: str) -> Path | None:
    """Returns the path of a file: address, None for others. Raises BundleError for one of another host."""
    parts = urlsplit(url)
    if parts.scheme != "file":
        return None
    path = unquote(parts.path, errors="surrogateescape")
    if parts.netloc not in ("", "localhost") or not path.startswith("/") or "\0" in path:
        message = f"cannot use {shown_url(url)}: a file address is file:///ABSOLUTE/PATH"
        raise BundleError("BUNDLE_URL", message)
    return Path(own.local_path(path))


def _link(path: Path, directory: DeploymentDir, size_bytes: int | None) -> Obtained:
    """Takes a local file or directory where it is, whatever is in it."""
    status = _status(path)
    _clear(directory.bundle)
    if stat.S_ISDIR(status.st_mode):
        _describe(directory, DOWNLOADED, None, "")
        return Obtained(path, DOWNLOADED, 0, None)
    check_size(size_bytes, status.st_size, str(path))
    # A link, so that a bundle of gigabytes is not stored twice (AG-241).
    own.refer(directory.bundle, path)
    _describe(directory, DOWNLOADED, None, "")
    return Obtained(path, DOWNLOADED, status.st_size, None)


def _copy(
    path: Path, directory: DeploymentDir, sha256: str, size_bytes: int | None, limits: BundleLimits
) -> Obtained:
    """Takes a copy of a local file and verifies that: the file itself may be another one when it is unpacked."""
    size = _status(path).st_size
    if path.is_dir():
        message = f"the bundle {path} is a directory, which cannot have a SHA-256"
        raise BundleError("BUNDLE_DIGEST", message)
    check_size(size_bytes, size, str(path))
    require_space(directory.path, size, limits, f"copy the bundle {path}")
    part = Part(directory.bundle.with_name(f"{directory.bundle.name}.part"))
    try:
        part.restart()
        with path.open("rb") as file:
            for block in blocks(file.fileno()):
                part.append([block])
        check_size(size_bytes, part.size, str(path))
        check_digest(sha256, part.sha256(), str(path))
        part.finish(directory.bundle)
    except BaseException:
        part.discard()
        raise
    finally:
        part.close()
    _describe(directory, DOWNLOADED, sha256, "")
    return Obtained(directory.bundle, DOWNLOADED, part.size, sha256)


def _status(path: Path) -> os.stat_result:
    try:
        status = path.stat()
    except OSError as problem:
        code = "BUNDLE_NOT_FOUND" if isinstance(problem, FileNotFoundError) else "BUNDLE_FORBIDDEN"
        raise BundleError(code, f"cannot read the bundle {path}: {problem.strerror}") from problem
    if not stat.S_ISDIR(status.st_mode) and not stat.S_ISREG(status.st_mode):
        raise BundleError("BUNDLE_NOT_AN_ARCHIVE", f"the bundle {path} is neither a file nor a directory")
    return status


def _reuse(
    directory: DeploymentDir, source: RevisionSource, sha256: str | None, limits: BundleLimits, uses: Uses
) -> Obtained | None:
    """Takes what a prefetch or an earlier deployment of the group has left, if its bytes are still right (D7).

    It is recognised by its digest or, where none was registered, by what names its content for good: the version of an
    object, a commit. Either way every byte is compared with the digest that it had when it came (V2-090).
    """
    from ferryman_agent.bundles.origins import identity_of

    identity = identity_of(source)
    for candidate in (directory, *(_siblings(directory) if limits.reuse_archives else ())):
        with uses.of(candidate.path.name):
            digest = _text(candidate.bundle_digest)
            is_it = digest == sha256 if sha256 else identity and _text(candidate.bundle_identity) == identity
            if not digest or not is_it:
                continue
            try:
                size = _taken(candidate, directory, digest, source.size_bytes)
            except (OSError, BundleError) as problem:
                # Never a reason to fail: the bundle can still be downloaded (V2-081).
                log.warning("bundle.not_reusable", path=str(candidate.bundle), reason=str(problem))
                continue
            # What a prefetch fetched for this very deployment counts as downloaded.
            origin = DOWNLOADED if candidate.path == directory.path else REUSED
            _describe(directory, origin, digest, _text(candidate.bundle_etag), identity)
            return Obtained(directory.bundle, origin, size, digest)
    return None


def _taken(candidate: DeploymentDir, directory: DeploymentDir, digest: str, size_bytes: int | None) -> int:
    descriptor = fs.open(candidate.bundle, fs.O_RDONLY | fs.O_NOFOLLOW)
    with os.fdopen(descriptor, "rb"):
        verify(descriptor, digest, size_bytes, str(candidate.bundle))
        if candidate.path != directory.path:
            _adopt(candidate, directory)
        return fs.fstat(descriptor).st_size


def _siblings(directory: DeploymentDir) -> Iterator[DeploymentDir]:
    with contextlib.suppress(OSError):
        found = [
            entry.path for entry in fs.scandir(directory.path.parent) if entry.is_dir(follow_symlinks=False)
        ]
        for path in sorted(found, key=lambda path: fs.stat(path).st_mtime_ns, reverse=True):
            if path != str(directory.path):
                yield DeploymentDir(Path(path))


def _adopt(candidate: DeploymentDir, directory: DeploymentDir) -> None:
    _clear(directory.bundle)
    try:
        fs.link(candidate.bundle, directory.bundle, follow_symlinks=False)
    except OSError:
        # File systems without hard links, or with too many of them.
        with candidate.bundle.open("rb") as old, directory.bundle.open("xb") as new:
            fs.fchmod(new.fileno(), STATE_FILE_MODE)
            shutil.copyfileobj(old, new, 1024 * 1024)


def _clear(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        path.unlink()


def _describe(
    directory: DeploymentDir, origin: str, sha256: str | None, etag: str, identity: str = ""
) -> None:
    """Notes beside the bundle what it is (V2-067, V2-068)."""
    notes = (
        (directory.bundle_source, origin),
        (directory.bundle_digest, sha256 or ""),
        (directory.bundle_etag, etag.removeprefix("W/").strip('"')),
        (directory.bundle_identity, identity),
    )
    for path, text in notes:
        if text:
            write_atomic(path, text.encode("utf-8", "replace"), STATE_FILE_MODE)
        else:
            _clear(path)


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")[:4096].strip()
    except (OSError, UnicodeError):
        return ""
