"""Whatever people, agents, alarms, clocks and the database do in whatever order, the coordinator keeps its promises.

The real operations, engine, store, notices and audit log, beside a model of who exists, who belongs, and what must be
refused. After each step everything comes to rest, and `whole_judge` recounts what is stored: among other things, a
coordinator that is restored from it must equal the one that never stopped.

Everyday runs are short; FERRYMAN_DEEP=1 (`make simulate`) takes many and longer ones. What fails is printed as a
sequence of steps, with the line that runs it again.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Coroutine
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ferryman_coordinator.core.group_options import (
    AlarmConfiguration,
    GroupOptions,
    OutdatedInstancesStrategy,
    QueueMode,
    Trigger,
    TriggerEventType,
)
from ferryman_coordinator.core.model import (
    AlarmState,
    AutoRollback,
    Diagnostics,
    HealthyHostsType,
    InstanceId,
    Instant,
    MinimumHealthyHosts,
    RollbackEvent,
)
from ferryman_coordinator.core.tags import Selection, Tag, TagFilter
from ferryman_coordinator.errors import Refused
from ferryman_coordinator.links.orders import SegmentOrder
from ferryman_coordinator.operations.deployment_options import DeploymentOptions
from ferryman_coordinator.store.queries import deployments as queries
from tests.support.alarm_sources import FakeSource
from tests.support.clock import ManualClock
from tests.support.coordinator_records import bundle
from tests.support.fake_agent import SUCCESS, failed
from tests.support.virtual_coordinator import (
    TARGET,
    TalkativeAgent,
    VirtualCoordinator,
    memory_directory,
    prepare_template,
)
from tests.support.whole_judge import Judge, judge_notices

Answer = TypeVar("Answer")

IS_DEEP = os.environ.get("FERRYMAN_DEEP", "") not in ("", "0")
STAGES = ("red", "blue")
FLEET = 5
ALARM = "too-slow"

applications = st.sampled_from(["web", "shop"])
groups = st.sampled_from(["one", "two"])
instances = st.integers(0, FLEET - 1)
stages = st.sampled_from(STAGES)
minima = st.one_of(
    st.integers(0, 3).map(lambda value: MinimumHealthyHosts(type=HealthyHostsType.HOST_COUNT, value=value)),
    st.integers(0, 99).map(
        lambda value: MinimumHealthyHosts(type=HealthyHostsType.FLEET_PERCENT, value=value)
    ),
)
rollbacks = st.builds(
    lambda events: AutoRollback(enabled=bool(events), events=frozenset(events)),
    st.sets(st.sampled_from(RollbackEvent)),
)
options = st.builds(
    GroupOptions,
    queue=st.sampled_from(QueueMode),
    require_all=st.booleans(),
    single_as_one_at_a_time=st.booleans(),
    outdated_instances=st.sampled_from(OutdatedInstancesStrategy),
    catch_up_on_premises=st.booleans(),
    alarms=st.builds(
        AlarmConfiguration,
        enabled=st.booleans(),
        ignore_poll_alarm_failure=st.booleans(),
        alarms=st.just((ALARM,)),
    ),
    triggers=st.sampled_from([(), (Trigger(name="all", target_arn=TARGET, events=tuple(TriggerEventType)),)]),
)


@dataclass
class GroupModel:
    stage: str
    queue: QueueMode
    sequence: int = 0
    keys: dict[str, str] = field(default_factory=dict)


@dataclass
class InstanceModel:
    instance_id: str
    name: str
    tags: set[str]
    is_registered: bool = True


class Puppet:
    """Hooks that stand still at each lifecycle event until a step lets them go on."""

    def __init__(self) -> None:
        self._standing: asyncio.Future[Diagnostics] | None = None

    async def __call__(self, _order: SegmentOrder, _event: str) -> Diagnostics:
        while self._standing is not None and not self._standing.done():
            await asyncio.wait([self._standing])
        self._standing = asyncio.get_running_loop().create_future()
        return await self._standing

    def go_on(self, diagnostics: Diagnostics) -> None:
        if self._standing is not None and not self._standing.done():
            self._standing.set_result(diagnostics)


class WholeMachine(RuleBasedStateMachine):
    """`model` says what exists; `world` is the thing itself."""

    def __init__(self) -> None:
        super().__init__()
        self._runner = asyncio.Runner()
        self._directory = memory_directory()
        self.source = FakeSource(**{ALARM: AlarmState.OK})
        self.judge = Judge()
        self.model: dict[str, dict[str, GroupModel]] = {}
        self.configs: set[str] = set()
        self.fleet: list[InstanceModel] = []
        self.numbers = 0
        self._do(prepare_template())
        self.world = VirtualCoordinator(Path(self._directory.name), sources=[self.source])

    @initialize(
        tags=st.lists(st.sets(stages), min_size=FLEET, max_size=FLEET), group=options, rollback=rollbacks
    )
    def begin(self, tags: list[set[str]], group: GroupOptions, rollback: AutoRollback) -> None:
        self._do(self.world.begin())
        for held in tags:
            self._enrol(held)
        self._connect(*(one.instance_id for one in self.fleet))
        self.create_application("web")
        self.create_group("web", "one", "red", group, rollback)

    # People -----------------------------------------------------------------------------------------------------------

    @rule(name=applications)
    def create_application(self, name: str) -> None:
        refused = self._ask(self.world.desk.applications.create(name))
        assert refused == ("ApplicationAlreadyExistsException" if name in self.model else "")
        self.model.setdefault(name, {})

    @rule(name=applications, new=applications)
    def rename_application(self, name: str, new: str) -> None:
        refused = self._ask(self.world.desk.applications.rename(name, new))
        if name not in self.model:
            assert refused == "ApplicationDoesNotExistException"
        elif new in self.model and new != name:
            assert refused == "ApplicationAlreadyExistsException"
        elif not refused:
            self.model[new] = self.model.pop(name)
        else:
            assert new == name

    @rule(name=applications, is_meant=st.integers(0, 3))
    def delete_application(self, name: str, is_meant: int) -> None:
        if is_meant:
            return
        assert self._ask(self.world.desk.applications.delete(name)) == ""
        self.model.pop(name, None)

    @rule(application=applications, name=groups, stage=stages, wanted=options, rollback=rollbacks)
    def create_group(
        self, application: str, name: str, stage: str, wanted: GroupOptions, rollback: AutoRollback
    ) -> None:
        refused = self._ask(
            self.world.desk.groups.create(
                application,
                name,
                config_name="CodeDeployDefault.AllAtOnce",
                selection=_selection(stage),
                auto_rollback=rollback,
                options=lambda _defaults: wanted,
            )
        )
        if application not in self.model:
            assert refused == "ApplicationDoesNotExistException"
        elif name in self.model[application]:
            assert refused == "DeploymentGroupAlreadyExistsException"
        else:
            assert refused == ""
            self.model[application][name] = GroupModel(stage, wanted.queue)

    @rule(application=applications, name=groups, stage=stages, queue=st.sampled_from(QueueMode))
    def update_group(self, application: str, name: str, stage: str, queue: QueueMode) -> None:
        refused = self._ask(
            self.world.desk.groups.update(
                application,
                name,
                selection=_selection(stage),
                options=lambda before: replace(before, queue=queue),
            )
        )
        found = self.model.get(application, {}).get(name)
        assert (refused == "") == (found is not None), refused
        if found is not None:
            found.stage, found.queue = stage, queue

    @rule(application=applications, name=groups, is_meant=st.integers(0, 3))
    def delete_group(self, application: str, name: str, is_meant: int) -> None:
        if is_meant or application not in self.model:
            return
        assert self._ask(self.world.desk.groups.delete(application, name)) == ""
        self.model[application].pop(name, None)

    @rule(name=st.sampled_from(["slow", "quick"]), minimum=minima)
    def create_config(self, name: str, minimum: MinimumHealthyHosts) -> None:
        refused = self._ask(self.world.desk.configurations.create(name, minimum=minimum))
        assert refused == ("DeploymentConfigAlreadyExistsException" if name in self.configs else "")
        self.configs.add(name)

    @rule(name=st.sampled_from(["slow", "quick"]))
    def delete_config(self, name: str) -> None:
        refused = self._ask(self.world.desk.configurations.delete(name))
        assert refused in ("", "DeploymentConfigInUseException")
        if not refused:
            self.configs.discard(name)

    @rule(
        application=applications,
        group=groups,
        config=st.sampled_from(["AllAtOnce", "OneAtATime", "HalfAtATime", "slow", "quick"]),
        revision=st.sampled_from("abcd"),
        outdated_only=st.booleans(),
        rollback=st.none() | rollbacks,
        override=st.sampled_from(
            [None, AlarmConfiguration(), AlarmConfiguration(enabled=True, alarms=(ALARM,))]
        ),
        sequence=st.sampled_from([0, 0, 0, 1, 2, 3]),
        request_key=st.sampled_from(["", "", "k1", "k2"]),
    )
    def deploy(
        self,
        application: str,
        group: str,
        config: str,
        revision: str,
        outdated_only: bool,
        rollback: AutoRollback | None,
        override: AlarmConfiguration | None,
        sequence: int,
        request_key: str,
    ) -> None:
        own = config in ("slow", "quick")
        wanted: dict[str, Any] = {
            "application_name": application,
            "group_name": group,
            "config_name": config if own else f"CodeDeployDefault.{config}",
            "revision": bundle(revision),
            "update_outdated_instances_only": outdated_only,
            "auto_rollback": rollback,
            "override_alarms": override,
            "sequence": sequence,
        }
        found = self.model.get(application, {}).get(group)
        unfinished = self._do(self._unfinished(application, group)) if found else 0
        refused = self._ask(self._create(request_key, wanted))
        if refused == "DeploymentLimitExceededException":
            assert found is not None
            assert found.queue is QueueMode.REFUSE
            assert unfinished
            assert request_key not in found.keys
            return
        if refused:
            expected = self._deploy_refusals(application, found, config, sequence, request_key, revision)
            assert refused in expected
            return
        assert found is not None
        if request_key in found.keys:
            assert found.keys[request_key] == revision
            return
        assert not unfinished or found.queue is not QueueMode.REFUSE
        assert not own or config in self.configs
        assert sequence == 0 or sequence > found.sequence
        found.sequence = max(found.sequence, sequence)
        if request_key:
            found.keys[request_key] = revision

    def _deploy_refusals(
        self, application: str, found: GroupModel | None, config: str, sequence: int, key: str, revision: str
    ) -> set[str]:
        if application not in self.model:
            return {"ApplicationDoesNotExistException"}
        if found is None:
            return {"DeploymentGroupDoesNotExistException"}
        expected = set()
        if found.keys.get(key, revision) != revision:
            expected.add("IdempotentParameterMismatchException")
        if config in ("slow", "quick") and config not in self.configs:
            expected.add("DeploymentConfigDoesNotExistException")
        if 0 < sequence <= found.sequence:
            expected.add("DeploymentSequenceTooLowException")
        return expected

    @rule(which=st.integers(0, 9), rollback=st.sampled_from([None, True, False]))
    def stop(self, which: int, rollback: bool | None) -> None:
        created = self._do(self.world.created())
        if not created:
            return
        deployment_id = created[which % len(created)]
        was_over = self._do(self.world.deployment(deployment_id)).record.status.is_terminal
        refused = self._ask(self.world.desk.deployments.stop(deployment_id, "eva", rollback))
        assert refused == ("DeploymentAlreadyCompletedException" if was_over else "")

    # Instances --------------------------------------------------------------------------------------------------------

    @rule(which=instances, stage=stages, adds=st.booleans())
    def tag(self, which: int, stage: str, adds: bool) -> None:
        one = self.fleet[which]
        tags = [Tag("stage", stage)]
        change = {"add": tags} if adds else {"remove": tags}
        refused = self._ask(self.world.instances.tag(one.instance_id, **change))
        assert refused == ("" if one.is_registered else "InstanceNotRegisteredException")
        if not refused:
            (one.tags.add if adds else one.tags.discard)(stage)

    @rule(which=instances, held=st.sets(stages))
    def replace_instance(self, which: int, held: set[str]) -> None:
        """It is deregistered, and another machine takes its name, and its place in this model."""
        one = self.fleet[which]
        assert self._ask(self.world.instances.deregister(one.instance_id)) == ""
        one.is_registered = False
        self._enrol(held, name=one.name, place=which)

    @rule(which=instances)
    def connect(self, which: int) -> None:
        if self._link(which) is None:
            self._connect(self.fleet[which].instance_id)

    @rule(which=instances)
    def connect_again(self, which: int) -> None:
        self._connect(self.fleet[which].instance_id)

    @rule(which=instances)
    def disconnect(self, which: int) -> None:
        self.world.disconnect(self.fleet[which].instance_id)
        self._do(self.world.settle())

    @rule(which=instances, times=st.integers(1, 8))
    def agent_goes_on(self, which: int, times: int) -> None:
        for _ in range(times):
            self._puppet(self.fleet[which].instance_id).go_on(SUCCESS)
            self._do(self.world.settle())

    @rule()
    def all_go_on(self) -> None:
        for agent in self.world.agents.values():
            self._puppet(agent.instance_id).go_on(SUCCESS)
        self._do(self.world.settle())

    @rule()
    def all_finish(self) -> None:
        for _ in range(8):
            self.all_go_on()

    @rule(which=instances)
    def agent_fails(self, which: int) -> None:
        self._puppet(self.fleet[which].instance_id).go_on(failed())
        self._do(self.world.settle())

    @rule(which=instances, old=st.integers(0, 500))
    def agent_repeats(self, which: int, old: int) -> None:
        """Anything that it ever said comes again: twice, late, out of order."""
        agent = self.world.agents[self.fleet[which].instance_id]
        assert isinstance(agent, TalkativeAgent)
        if agent.said and self._link(which) is not None:
            self._do(self.world.call(self.world.engine.deliver(agent.said[old % len(agent.said)])))

    # The world around -------------------------------------------------------------------------------------------------

    @rule(state=st.sampled_from([AlarmState.OK, AlarmState.OK, AlarmState.ALARM, None]))
    def alarm_changes(self, state: AlarmState | None) -> None:
        self.source.say(ALARM, state)
        self.time_passes(11_000)

    @rule(milliseconds=st.sampled_from([500, 11_000, 50_000, 300_000]))
    def time_passes(self, milliseconds: int) -> None:
        self._do(self.world.pass_time(milliseconds))

    @rule(is_down=st.booleans())
    def sink_changes(self, is_down: bool) -> None:
        self.world.sink.is_down = is_down

    @rule(faults=st.lists(st.booleans(), min_size=1, max_size=4))
    def database_goes_away(self, faults: list[bool]) -> None:
        """While agents report; some of what fails is stored all the same."""
        self.world.tally.faults = list(faults)
        for agent in self.world.agents.values():
            self._puppet(agent.instance_id).go_on(SUCCESS)
        for _ in range(20):
            self._do(self.world.pass_time(3_000))
            if not self.world.tally.faults:
                break
        self.world.tally.faults = []
        self._do(self.world.pass_time(4_000))

    @rule(back=st.sampled_from([0, 0, 0, 3_600_000]), connected=st.sets(instances))
    def coordinator_restarts(self, back: int, connected: set[int]) -> None:
        """Perhaps with a clock that was set back meanwhile: a running one never goes back."""
        old = self.world
        self._do(old.cease())
        new = VirtualCoordinator(
            old.directory, sources=[self.source], clock=ManualClock(Instant(old.clock.now() - back))
        )
        new.agents, new.ids, new.sink = old.agents, old.ids, old.sink
        self.world = new
        self._do(new.begin())
        self._connect(*(self.fleet[which].instance_id for which in sorted(connected)))

    # What must hold ---------------------------------------------------------------------------------------------------

    @invariant()
    def all_adds_up(self) -> None:
        if hasattr(self.world, "store"):
            self._do(self.judge.look(self.world))

    def teardown(self) -> None:
        """Let everybody do what he can: everything ends, is told, audited, and stays as it is."""
        try:
            # Not after a step that failed: what is wrong is known then.
            if hasattr(self.world, "store") and sys.exc_info()[0] is None:
                self._finish()
        finally:
            if hasattr(self.world, "store"):
                self._do(self.world.abandon())
            self._runner.close()
            self._directory.cleanup()

    def _finish(self) -> None:
        self.world.sink.is_down = False
        self.source.say(ALARM, AlarmState.OK)
        self._connect(*(one.instance_id for one in self.fleet))
        for _ in range(60):
            if not self.world.unfinished:
                break
            self.all_finish()
            self.time_passes(60_000)
        # The sum of the timers, for those who never come back.
        if self.world.unfinished:
            self.time_passes(13 * 3_600_000)
        assert not self.world.unfinished, "something never ends"
        self.time_passes(400_000)
        self._do(self.judge.look(self.world))
        self._do(judge_notices(self.world))
        check = self._do(self.world.audited())
        assert check.is_intact, check

    # How it is done ---------------------------------------------------------------------------------------------------

    def _do(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        return self._runner.run(work)

    def _ask(self, work: Coroutine[Any, Any, object]) -> str:
        """The reason of a refusal, or nothing."""
        try:
            self._do(self.world.call(work))
        except Refused as refused:
            return refused.reason
        return ""

    async def _create(self, request_key: str, wanted: dict[str, Any]) -> str:
        deployments = self.world.desk.deployments
        return (await deployments.create(DeploymentOptions(**wanted), request_key)).deployment_id

    async def _unfinished(self, application: str, group: str) -> int:
        found = await self.world.desk.groups.get(application, group)
        async with self.world.store.reading() as connection:
            return len(await queries.unfinished_of(connection, found.group_id))

    def _connect(self, *instance_ids: str) -> None:
        async def connect() -> None:
            if instance_ids:
                self.world.connect(*instance_ids)
            await self.world.settle()

        self._do(connect())

    def _enrol(self, held: set[str], name: str = "", place: int | None = None) -> None:
        self.numbers += 1
        name = name or f"web-{self.numbers}"
        tags = [Tag("stage", one) for one in sorted(held)]
        instance = self._do(self.world.call(self.world.enrol(name, tags)))
        self.world.agents[instance.instance_id].script = Puppet()
        model = InstanceModel(instance.instance_id, name, set(held))
        if place is None:
            self.fleet.append(model)
        else:
            self.fleet[place] = model

    def _puppet(self, instance_id: str) -> Puppet:
        script = self.world.agents[instance_id].script
        assert isinstance(script, Puppet)
        return script

    def _link(self, which: int) -> object:
        return self.world.links.get(InstanceId(self.fleet[which].instance_id))


def _selection(stage: str) -> Selection:
    return Selection(tag_filters=(TagFilter.of("stage", stage),))


TestWholeCoordinator = WholeMachine.TestCase
TestWholeCoordinator.settings = settings(
    max_examples=400 if IS_DEEP else 12,
    stateful_step_count=60 if IS_DEEP else 25,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate, *([Phase.shrink] if IS_DEEP else [])],
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)
