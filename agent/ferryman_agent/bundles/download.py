"""The DownloadBundle event, and the prefetch that makes it short (AG section 8.1, D7)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from ferryman_agent.bundles.building import Build, Built
from ferryman_agent.bundles.call_hands import CallHands
from ferryman_agent.bundles.hands import Hands, ThreadHands
from ferryman_agent.bundles.limits import BundleLimits
from ferryman_agent.bundles.obtain import Obtained, local_path, obtain
from ferryman_agent.bundles.space import disk_full, is_disk_full
from ferryman_agent.bundles.transport import Transport
from ferryman_agent.core.messages import DeploymentDescription
from ferryman_agent.errors import BundleError
from ferryman_agent.files.atomic import remove_leftovers
from ferryman_agent.files.layout import DeploymentDir, Layout
from ferryman_agent.files.prune import PruneReport, prune
from ferryman_agent.threads import in_thread

if TYPE_CHECKING:
    from ferryman_agent.bundles.wanted import Progress

log = structlog.get_logger(__name__)

_SPOILT = frozenset(
    {"BUNDLE_UNSAFE_ENTRY", "BUNDLE_LIMIT", "BUNDLE_DAMAGED", "BUNDLE_NOT_AN_ARCHIVE", "BUNDLE_EMPTY"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadReport:
    """How DownloadBundle ended well. `warnings` are sentences for the diagnostics."""

    origin: str
    bundle_bytes: int
    files: int
    unpacked_bytes: int
    pruned: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def message(self) -> str:
        """The completion message (V2-068)."""
        text = f"Succeeded: BundleSource={self.origin}"
        return f"{text} ({'; '.join(self.warnings)})" if self.warnings else text


async def download_bundle(
    deployment: DeploymentDescription,
    *,
    layout: Layout,
    limits: BundleLimits,
    max_revisions: int,
    on_progress: Progress,
    transport: Transport | None = None,
    in_use: frozenset[str] = frozenset(),
) -> DownloadReport:
    """Brings a revision onto the host: old ones pruned, bundle had and verified, unpacked, its AppSpec file checked.

    `in_use` names deployments that must survive the pruning because something of theirs runs (AG-175).

    Run again for the same deployment it gives the same result (AG-212). Raises BundleError; then the pointer to the
    most recent install is as it was, and no half archive is there.
    """
    group, ident = deployment.deployment_group_id, deployment.deployment_id
    transport = transport or Transport()

    def tidy() -> PruneReport:
        with transport.uses.standing_still() as used:
            return prune(
                layout,
                group,
                current=ident,
                max_revisions=max_revisions,
                max_bytes=limits.max_revisions_bytes,
                in_use=in_use | used,
            )

    directory = await _place(deployment, layout)
    pruned = await in_thread(tidy)
    async with _hands_for(deployment, transport) as hands:
        obtained = await _obtained(deployment, directory, hands, transport, limits, on_progress)
        built = await _built(deployment, directory, obtained, hands, limits)
    try:
        await in_thread(lambda: layout.set_most_recent(group, directory.path))
    except OSError as problem:
        raise _io_error("record the most recent install", directory, problem) from problem
    # The revision that the pointer protected until now may be one too many (AG-171 against AG-175).
    again = await in_thread(tidy)
    log.info("bundle.ready", deployment=ident, origin=obtained.origin, files=built.files)
    return DownloadReport(
        origin=obtained.origin,
        bundle_bytes=obtained.size_bytes,
        files=built.files,
        unpacked_bytes=built.written_bytes,
        pruned=pruned.removed + again.removed,
        warnings=tuple(dict.fromkeys(built.warnings + pruned.problems + again.problems)),
    )


async def prefetch_bundle(
    deployment: DeploymentDescription,
    *,
    layout: Layout,
    limits: BundleLimits,
    transport: Transport | None = None,
    on_progress: Progress = lambda received, total: None,
) -> int:
    """Fetches and verifies the bundle of a deployment that waits for its turn; returns its size. Raises BundleError."""
    transport = transport or Transport()
    uses, name = transport.uses, deployment.deployment_id
    await in_thread(lambda: uses.take(name))
    try:
        directory = await _place(deployment, layout)
        async with _hands_for(deployment, transport) as hands:
            obtained = await _obtained(deployment, directory, hands, transport, limits, on_progress)
    finally:
        uses.give(name)
    return obtained.size_bytes


@asynccontextmanager
async def _hands_for(deployment: DeploymentDescription, transport: Transport) -> AsyncIterator[Hands]:
    """A thread for a bundle that is known to be small, a process for every other one."""
    size = deployment.revision.size_bytes
    local = local_path(deployment.revision.url)
    if local is not None:
        size = await in_thread(lambda: local.stat().st_size if local.is_file() else None)
    hands: Hands
    if transport.may_spawn and (size is None or size > transport.small_bytes):
        from ferryman_agent.bundles.child_hands import ChildHands

        hands = ChildHands()
    else:
        hands = ThreadHands() if transport.ask is None else CallHands(transport.ask)
    try:
        yield hands
    finally:
        await hands.close()


async def _place(deployment: DeploymentDescription, layout: Layout) -> DeploymentDir:
    group, ident = deployment.deployment_group_id, deployment.deployment_id

    def place() -> DeploymentDir:
        directory = layout.create_deployment(group, ident)
        # Notes that a killed agent had half written; nothing else writes any here now.
        remove_leftovers(directory.path)
        return directory

    try:
        return await in_thread(place)
    except OSError as problem:
        raise _io_error("make room for the deployment", layout.deployment(group, ident), problem) from problem


async def _obtained(
    deployment: DeploymentDescription,
    directory: DeploymentDir,
    hands: Hands,
    transport: Transport,
    limits: BundleLimits,
    on_progress: Progress,
) -> Obtained:
    try:
        return await obtain(
            deployment,
            directory,
            hands=hands,
            transport=transport,
            limits=limits,
            on_progress=on_progress,
        )
    except OSError as problem:
        raise _io_error("store the bundle", directory, problem) from problem


async def _built(
    deployment: DeploymentDescription,
    directory: DeploymentDir,
    obtained: Obtained,
    hands: Hands,
    limits: BundleLimits,
) -> Built:
    wanted = Build(
        bundle=str(obtained.path),
        declared=deployment.revision.bundle_type,
        directory=str(directory.path),
        wanted_appspec=deployment.app_spec_file_name,
        possible_events=deployment.possible_lifecycle_events,
        limits=limits,
        is_github=deployment.revision.github is not None,
    )
    try:
        return await hands.build(wanted)
    except BundleError as problem:
        if problem.detail_code in _SPOILT:
            # It will never be right: the next try shall fetch it anew (V2-103).
            await in_thread(lambda: _forget_bundle(directory))
        raise
    except OSError as problem:
        raise _io_error("unpack the bundle", directory, problem) from problem


def _io_error(purpose: str, directory: DeploymentDir, problem: OSError) -> BundleError:
    if is_disk_full(problem):
        existing = next(path for path in (directory.path, *directory.path.parents) if path.is_dir())
        return disk_full(purpose, existing)
    where = problem.filename if isinstance(problem.filename, str) else directory.path
    return BundleError("BUNDLE_IO", f"cannot {purpose}: {problem.strerror or problem} ({where})")


def _forget_bundle(directory: DeploymentDir) -> None:
    for path in (directory.bundle, directory.bundle_digest):
        path.unlink(missing_ok=True)
