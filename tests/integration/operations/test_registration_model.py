"""Random sequences of registrations, tokens, enrolments and ends against a simple model of who holds which name."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ferryman_coordinator.core.tags import Tag
from ferryman_coordinator.errors import Refused, Unauthenticated
from ferryman_coordinator.operations.newcomers import EnrolOrder
from ferryman_coordinator.store.cursors import PageRequest
from ferryman_coordinator.store.store import Store
from tests.support.desk import Desk

NAMES = st.sampled_from(["a", "b", "c"])
USERS = st.sampled_from(["", "arn:aws:iam::123456789012:user/u1", "arn:aws:iam::123456789012:user/u2"])
GENERAL = ""

Answer = TypeVar("Answer")


@dataclass
class Held:
    """Who has a name, as the model sees it."""

    instance_id: str
    user: str
    serial: str | None = None
    tags: set[Tag] = field(default_factory=set)


def assert_explained(refused: Refused) -> None:
    """Every refusal says what it is about."""
    assert refused.reason
    assert len(refused.message) > 20


class Registrations(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        path = Path(self.folder.name) / "ferryman.db"
        self.store = self.runner.run(Store.open(f"sqlite+aiosqlite:///{path}"))
        self.desk = Desk(self.store)
        self.held: dict[str, Held] = {}
        self.ended: set[str] = set()
        self.ids: set[str] = set()

    def teardown(self) -> None:
        if hasattr(self, "runner"):
            self.runner.run(self.store.close())
            self.runner.close()
            self.folder.cleanup()

    def granted(self, call: Coroutine[Any, Any, Answer], may: bool) -> Answer | None:
        """What it answers, None when it is refused; fails when that should have been the other way round."""
        try:
            answer = self.runner.run(call)
        except Refused as refused:
            if may:
                raise
            assert_explained(refused)
            return None
        assert may, answer
        return answer

    @rule(name=NAMES, user=USERS)
    def register(self, name: str, user: str) -> None:
        call = self.desk.registration.register(name, iam_user_arn=user, by_certificate=not user)
        is_free = name not in self.held and (not user or user not in {one.user for one in self.held.values()})
        made = self.granted(call, is_free)
        if made is None:
            return
        assert made.instance_id not in self.ids
        assert made.tags == ()
        self.ids.add(made.instance_id)
        self.held[name] = Held(made.instance_id, user)

    @rule(name=NAMES, token_for=st.sampled_from([GENERAL, "a", "b"]), replaces=st.booleans())
    def enrol(self, name: str, token_for: str, replaces: bool) -> None:
        text, token = self.runner.run(
            self.desk.tokens.create(
                instance_name=token_for, replaces_identity=replaces and bool(token_for), tags=[Tag("t", name)]
            )
        )
        holder = self.held.get(name)
        is_meant = token_for == name
        if token_for not in (GENERAL, name):
            may = False
        elif holder is None:
            may = True
        else:
            may = is_meant and (holder.serial is None or token.replaces_identity)
        order = EnrolOrder(join_token=text, instance_name=name)
        enrolled = self.granted(self.desk.enrolment.enrol(order, self.desk.certify), may)
        if enrolled is None:
            return
        if holder is None:
            assert enrolled.instance_id not in self.ids
            self.ids.add(enrolled.instance_id)
            holder = self.held[name] = Held(enrolled.instance_id, "")
        elif holder.serial is not None:
            self.ended.add(holder.serial)
        assert enrolled.instance_id == holder.instance_id
        holder.serial = f"{self.desk.serials:x}"
        holder.tags.add(Tag("t", name))

    @rule(names=st.lists(NAMES, min_size=1, max_size=3), tag=st.sampled_from([Tag("k", "1"), Tag("k", "2")]))
    def tag(self, names: list[str], tag: Tag) -> None:
        are_known = set(names) <= self.held.keys()
        if self.granted(self.desk.instances.tag_several(names, add=[tag]), are_known) is None:
            return
        for name in names:
            self.held[name].tags.add(tag)

    @rule(name=NAMES)
    def deregister(self, name: str) -> None:
        self.runner.run(self.desk.instances.deregister(name))
        gone = self.held.pop(name, None)
        if gone is not None and gone.serial is not None:
            self.ended.add(gone.serial)

    @invariant()
    def each_name_has_one_holder_and_each_certificate_one_instance(self) -> None:
        if not hasattr(self, "runner"):
            return
        page = self.runner.run(self.desk.instances.list(PageRequest(), status="Registered"))
        stored = {one.name: one for one in page.items}
        assert stored.keys() == self.held.keys()
        assert len(page.items) == len(stored)
        for name, held in self.held.items():
            assert stored[name].instance_id == held.instance_id
            assert set(stored[name].tags) == held.tags
            assert (stored[name].enrolled_at is not None) is (held.serial is not None)
            if held.serial is not None:
                assert self.runner.run(self.desk.enrolment.identify(held.serial)) == held.instance_id
        for serial in self.ended:
            try:
                found = self.runner.run(self.desk.enrolment.identify(serial))
            except Unauthenticated:
                continue
            raise AssertionError(f"a certificate that ended still lets {found} in")


Registrations.TestCase.settings = settings(
    max_examples=15,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
TestRegistrations = Registrations.TestCase
