"""Which agents were turned away with the identity of an instance, and why: for those who look at that instance.

In memory, the newest of each instance: an agent that is turned away comes again and again.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from ferryman_coordinator.core.model import InstanceId, Instant

_MOST = 10_000
_KEPT_MS = 86_400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """`reason` is that of the refusal; `host_name` what the machine called itself, empty where it was not asked."""

    reason: str
    message: str
    host_name: str
    at: Instant


class Troubles:
    """The newest trouble of each instance, of the 10,000 that had one last."""

    def __init__(self) -> None:
        self._newest: OrderedDict[InstanceId, Trouble] = OrderedDict()

    def note(self, instance_id: InstanceId, trouble: Trouble) -> None:
        self._newest[instance_id] = trouble
        self._newest.move_to_end(instance_id)
        if len(self._newest) > _MOST:
            self._newest.popitem(last=False)

    def of(self, instance_id: InstanceId, now: Instant) -> Trouble | None:
        """None as well when it is more than a day ago."""
        found = self._newest.get(instance_id)
        return None if found is None or now - found.at > _KEPT_MS else found

    def forget(self, instance_id: InstanceId) -> None:
        """It has got another identity."""
        self._newest.pop(instance_id, None)
