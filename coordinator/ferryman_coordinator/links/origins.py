"""Tells two machines that use one identity from one machine that was started anew (AG-083).

A machine that boots has a boot id that it never had before. So an origin that comes back after another one took its
place is a second machine: one was copied from the other, identity file and all.
"""

from __future__ import annotations

from dataclasses import dataclass

from ferryman_coordinator.core.model import InstanceId


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a stream comes from, as its Hello says."""

    host_name: str
    boot_id: str


class Origins:
    """The two newest origins of each instance, in memory: some 300 bytes for each."""

    def __init__(self) -> None:
        self._current: dict[InstanceId, Origin] = {}
        self._former: dict[InstanceId, Origin] = {}

    def meet(self, instance_id: InstanceId, origin: Origin, *, is_connected: bool) -> Origin | None:
        """Takes in a Hello; returns the other machine that uses this identity, None where there is none.

        `is_connected`: a stream of the instance stands. Where two take turns, the one that stands keeps its place, and
        is what the other is told of. Once it is gone, whoever comes is the instance.
        """
        current = self._current.get(instance_id)
        if current == origin or not origin.boot_id:
            return None
        if is_connected and current is not None and self._former.get(instance_id) == origin:
            return current
        self._current[instance_id] = origin
        if current is not None:
            self._former[instance_id] = current
        return None
