"""What agents found installed, from the wire and to it. What an agent says is cut to what any honest one would say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

from ferryman.v1 import agents_pb2
from ferryman_coordinator.api.mapping import words
from ferryman_coordinator.core.drift import SHOWN, DriftedFile, InstalledState
from ferryman_coordinator.core.model import DeploymentId, GroupId, Instant

_GROUPS = 1_000
"""Of one message: far more than an instance has."""
_PATH = 4_096
_ERROR = 1_024
_CHECK_ID = 64
_MOST = 2**53
"""Of files: more than any machine holds, and as many as every reader of JSON can count."""
_LATEST = 253_402_300_799_999
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)


def check_id_from(message: agents_pb2.InstalledState) -> str:
    """The check that is answered; empty for one of the agent's own."""
    return message.check_id if len(message.check_id) <= _CHECK_ID else ""


def states_from(message: agents_pb2.InstalledState, now: Instant) -> tuple[InstalledState, ...]:
    """What can be understood of it; groups whose ids cannot be any are left out."""
    return tuple(_states(message, now))


def _states(message: agents_pb2.InstalledState, now: Instant) -> Iterator[InstalledState]:
    for group in islice(message.groups, _GROUPS):
        is_known = not group.deployment_id or _ID.fullmatch(group.deployment_id)
        if not is_known or not _ID.fullmatch(group.deployment_group_id):
            continue
        shown = tuple(_files(group))
        yield InstalledState(
            group_id=GroupId(group.deployment_group_id),
            deployment_id=DeploymentId(group.deployment_id),
            files_checked=min(group.files_checked, _MOST),
            files_drifted=min(max(group.files_drifted, len(shown)), _MOST),
            drifted=shown,
            checked_at=Instant(min(max(group.checked_at, 0), _LATEST)),
            received_at=now,
            with_digests=group.with_digests,
            archive_whole=group.archive_whole,
            bundle_whole=group.bundle_whole if group.HasField("bundle_whole") else None,
            error=_plain(group.error, _ERROR),
        )


def _files(group: agents_pb2.InstalledGroup) -> Iterator[DriftedFile]:
    for file in islice(group.drifted, SHOWN):
        if file.drift in words.file_drifts:
            yield DriftedFile(path=_plain(file.path, _PATH), drift=words.file_drifts.word(file.drift))


def _plain(text: str, most: int) -> str:
    """Its beginning, with what a terminal would obey made visible: names of files may hold anything."""
    text = text[:most]
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)[:most]


def installed_to(state: InstalledState) -> agents_pb2.InstalledGroup:
    """For people and tools."""
    return agents_pb2.InstalledGroup(
        deployment_group_id=state.group_id,
        deployment_id=state.deployment_id,
        files_checked=state.files_checked,
        files_drifted=state.files_drifted,
        drifted=[
            agents_pb2.DriftedFile(path=one.path, drift=words.file_drifts.wire(one.drift))
            for one in state.drifted
        ],
        checked_at=state.checked_at,
        with_digests=state.with_digests,
        archive_whole=state.archive_whole,
        bundle_whole=state.bundle_whole,
        error=state.error,
    )
