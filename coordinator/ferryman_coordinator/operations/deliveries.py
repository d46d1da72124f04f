"""Messages of triggers and rules: which wait, which were put aside, and sending those again."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ferryman_coordinator.clock import Clock
from ferryman_coordinator.errors import Invalid, NotFound
from ferryman_coordinator.notices.herald import Herald
from ferryman_coordinator.operations import names
from ferryman_coordinator.store import tables
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.cursors import Key, Page, PageRequest
from ferryman_coordinator.store.event_records import Delivery, DeliveryState
from ferryman_coordinator.store.queries import events as queries
from ferryman_coordinator.store.queries.events import DeliveryFilter
from ferryman_coordinator.store.store import Store

_MOST_IDS = 1_000


class Deliveries:
    """What operators can do about them."""

    def __init__(self, store: Store, clock: Clock, herald: Herald, hurry: Callable[[], None]) -> None:
        """`hurry` lets sinks be tried again at once."""
        self._store = store
        self._clock = clock
        self._herald = herald
        self._hurry = hurry

    async def list(self, request: PageRequest, wanted: DeliveryFilter) -> Page[Delivery]:
        """In the order of their events; raises Invalid for a bad page."""

        async def fetch(after: Key | None, limit: int) -> Sequence[Delivery]:
            async with self._store.reading() as connection:
                return await queries.deliveries_after(connection, wanted, after or (), limit)

        scope = ["deliveries", wanted.states, wanted.target, wanted.application_name, wanted.group_name]
        return await self._store.cursors.page(
            [*scope, wanted.deployment_id], request, fetch, lambda one: (one.position, one.delivery_id)
        )

    async def replay(self, delivery_ids: Sequence[str]) -> int:
        """Send these again, whatever became of them; returns how many do not wait already.

        Raises Invalid, NotFound (DeliveryDoesNotExist).
        """
        asked = list(dict.fromkeys(delivery_ids))
        if not asked:
            raise Invalid("InvalidInputException", "which messages? Give their ids, or ask for all dead ones")
        if len(asked) > _MOST_IDS:
            raise Invalid("InvalidInputException", f"at most {_MOST_IDS} ids at once, not {len(asked)}")
        async with self._store.reading() as connection:
            known = await queries.known(connection, asked)
        unknown = [one for one in asked if one not in known]
        if unknown:
            raise NotFound(
                "DeliveryDoesNotExist",
                f"there is no message {names.listed(unknown)}: `ferryman trigger dead` lists those put aside",
            )
        return await self._replay(DeliveryFilter(states=_ENDED), asked)

    async def replay_dead(self, *, target: str = "", application_name: str = "", group_name: str = "") -> int:
        """Send all that were put aside again, or those of a target, application or group; returns how many."""
        return await self._replay(
            DeliveryFilter(
                states=(DeliveryState.DEAD,),
                target=target,
                application_name=application_name,
                group_name=group_name,
            )
        )

    async def test(self, target: str) -> str:
        """Send one test message there; returns why it was not taken, or nothing. Raises Invalid."""
        if not target:
            raise Invalid("InvalidInputException", "which target? Give an ARN, or the name of a sink")
        return await self._herald.test(target)

    async def _replay(self, wanted: DeliveryFilter, delivery_ids: Sequence[str] = ()) -> int:
        conditions = wanted.conditions()
        table = tables.deliveries.c
        if delivery_ids:
            conditions.append(table.delivery_id.in_(delivery_ids))
        now = self._clock.now()
        values = {
            "state": DeliveryState.WAITING.value,
            "attempts": 0,
            "waiting_since": now,
            "next_at": now,
            "ended_at": None,
        }
        async with self._store.reading() as connection:
            count = await queries.count(connection, wanted, delivery_ids)
        batch = Batch()
        batch.update(tables.deliveries, {}, values, where=conditions)
        await self._store.write(batch)
        self._hurry()
        return count


_ENDED = (DeliveryState.DELIVERED, DeliveryState.DEAD)
