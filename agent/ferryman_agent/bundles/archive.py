"""From a whole bundle to `deployment-archive`: unpacked beside it, its AppSpec file read, renamed into place."""

from __future__ import annotations

import contextlib
import os
import stat
import threading
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import IO

from ferryman.appspec import JUNK, similar_names
from ferryman_agent.bundles.building import Build, Built
from ferryman_agent.bundles.directory_source import DirectorySource
from ferryman_agent.bundles.entries import shown
from ferryman_agent.bundles.formats import Format, check_declared, detect
from ferryman_agent.bundles.limits import BundleLimits
from ferryman_agent.bundles.sources import Source
from ferryman_agent.bundles.unpack import Unpacked, unpack
from ferryman_agent.core.messages import BundleType
from ferryman_agent.errors import BundleError
from ferryman_agent.files.appspec_file import load_appspec, missing_appspec
from ferryman_agent.files.collector import no_search_for_cycles
from ferryman_agent.files.digests import Digests
from ferryman_agent.files.layout import ARCHIVE_MODE, DeploymentDir
from ferryman_agent.files.shared_modes import save_shared_modes
from ferryman_agent.files.tree import Folders, remove_tree
from ferryman_agent.system import fs


def build(wanted: Build, stop: threading.Event) -> Built:
    """Does `build_archive` for what is asked for in plain values."""
    return build_archive(
        Path(wanted.bundle),
        BundleType(wanted.declared),
        DeploymentDir(Path(wanted.directory)),
        wanted_appspec=wanted.wanted_appspec,
        limits=wanted.limits,
        possible_events=wanted.possible_events,
        is_github=wanted.is_github,
        stop=stop,
    )


def build_archive(
    bundle: Path,
    declared: BundleType,
    directory: DeploymentDir,
    *,
    wanted_appspec: str,
    limits: BundleLimits,
    possible_events: Collection[str] = (),
    is_github: bool = False,
    stop: threading.Event | None = None,
) -> Built:
    """Unpacks a bundle, or copies a directory, and puts it into the place of the deployment's archive; blocks.

    An older archive is replaced only once the new one is complete and has a usable AppSpec file (AG-213, AG-214).
    Raises BundleError, OSError, Stopped; nothing of the new archive is left then.
    """
    folder = fs.open(directory.path, fs.O_RDONLY | fs.O_DIRECTORY)
    try:
        remove_tree(folder, directory.archive_temp.name)
        with no_search_for_cycles():
            unpacked, warnings = _unpacked(bundle, declared, directory, limits, stop)
        try:
            top = _top_folder(directory.archive_temp)
            digests = unpacked.digests.below(top) if top else unpacked.digests
            warnings += _check_appspec(directory, top, digests.rows, wanted_appspec, possible_events)
            if is_github:
                warnings += _left_out(unpacked, top)
            save_shared_modes(directory.archive_modes, _below(top, unpacked.withheld))
            _put_in_place(folder, directory, top, digests)
        finally:
            remove_tree(folder, directory.archive_temp.name)
    finally:
        os.close(folder)
    return Built(unpacked.files, unpacked.written_bytes, tuple(warnings))


def _unpacked(
    bundle: Path,
    declared: BundleType,
    directory: DeploymentDir,
    limits: BundleLimits,
    stop: threading.Event | None,
) -> tuple[Unpacked, list[str]]:
    if bundle.is_dir():
        _refuse_nesting(bundle, directory)
        source: Source = DirectorySource(bundle)
        return unpack(source, directory.archive_temp, limits, packed_bytes=0, stop=stop), []
    with bundle.open("rb") as file:
        size = fs.fstat(file.fileno()).st_size
        found = detect(file.fileno(), size)
        warning = check_declared(found, declared)
        source = _source(file, found)
        unpacked = unpack(source, directory.archive_temp, limits, packed_bytes=size, stop=stop)
    return unpacked, [warning] if warning else []


def _source(file: IO[bytes], found: Format) -> Source:
    """Only the reader that is needed is loaded, and none for a directory."""
    if found is Format.ZIP:
        from ferryman_agent.bundles.zip_source import ZipSource

        return ZipSource(file)
    from ferryman_agent.bundles.tar_source import TarSource

    return TarSource(file, found)


def _refuse_nesting(bundle: Path, directory: DeploymentDir) -> None:
    root = os.path.realpath(directory.path)
    real = os.path.realpath(bundle)
    if root == real or root.startswith(f"{real.rstrip(os.sep)}{os.sep}"):
        message = f"cannot copy {bundle}: it contains the agent's own files in {root}"
        raise BundleError("BUNDLE_NESTED", message)


def _top_folder(archive: Path) -> str:
    """Returns the one folder that everything is in, if it holds an AppSpec file; else "" (AG-253, V2-120)."""
    names = [name for name in fs.listdir(archive) if name not in JUNK]
    if len(names) != 1 or not stat.S_ISDIR(fs.lstat(archive / names[0]).st_mode):
        return ""
    return names[0] if any("appspec" in name.lower() for name in fs.listdir(archive / names[0])) else ""


def _check_appspec(
    directory: DeploymentDir, top: str, files: Collection[str], wanted: str, possible_events: Collection[str]
) -> list[str]:
    """Returns warnings; raises BundleError when the archive has no AppSpec file that a host can use."""
    unpacked = directory.archive_temp / top
    with Folders.below(unpacked) as archive:
        found = load_appspec(archive, files, wanted, possible_events)
    if found is None:
        similar = [f"{top}/{path}" if top else path for path in similar_names(files)]
        message = missing_appspec(directory.archive, wanted, similar, unpacked=unpacked)
        raise BundleError("APPSPEC_MISSING", message)
    if found.parsed.errors:
        message = f"the AppSpec file cannot be used: {found.mistakes}"
        raise BundleError(found.parsed.errors[0].code, message)
    warnings = [finding.describe(found.name) for finding in found.parsed.warnings]
    both = [one for one in ("appspec.yml", "appspec.yaml") if one in files]
    if len(both) == 2:
        warnings.append(f"the revision has both {both[0]} and {both[1]}; {found.name} is used")
    return warnings


def _left_out(unpacked: Unpacked, top: str) -> list[str]:
    """Says what GitHub's archives do not have in them (AG-240)."""
    warnings = []
    if (f"{top}/.gitmodules" if top else ".gitmodules") in unpacked.digests.rows:
        warnings.append("the repository has submodules, which archives of GitHub leave out")
    if unpacked.pointers:
        count, first = len(unpacked.pointers), unpacked.pointers[0]
        warnings.append(
            f"{count} files are pointers to Git LFS and not the files themselves, {shown(first)} for one"
        )
    return warnings


def _below(top: str, withheld: Mapping[str, int]) -> Mapping[str, int]:
    start = f"{top}/" if top else ""
    return {path[len(start) :]: bits for path, bits in withheld.items() if path.startswith(start)}


def _put_in_place(folder: int, directory: DeploymentDir, top: str, digests: Digests) -> None:
    new = directory.archive_temp / top
    new.chmod(ARCHIVE_MODE)
    old = f"{directory.archive.name}-old"
    remove_tree(folder, old)
    with contextlib.suppress(FileNotFoundError):
        fs.rename(directory.archive.name, old, src_dir_fd=folder, dst_dir_fd=folder)
    try:
        new.rename(directory.archive)
    except OSError:
        with contextlib.suppress(OSError):
            fs.rename(old, directory.archive.name, src_dir_fd=folder, dst_dir_fd=folder)
        raise
    digests.save(directory.archive_digests)
    remove_tree(folder, old)
