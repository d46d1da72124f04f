"""Enumerations of the wire and of the model, matched by the names of their members."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import TYPE_CHECKING, Generic, TypeVar

from ferryman.v1 import agents_pb2, deployments_pb2, inventory_pb2, types_pb2
from ferryman_coordinator.core.drift import FileDrift
from ferryman_coordinator.core.group_options import (
    AgentUpdates,
    BlueTermination,
    DeploymentOption,
    DeploymentType,
    GreenProvisioning,
    InstanceLabel,
    OutdatedInstancesStrategy,
    QueueMode,
    ReadyAction,
    WaitType,
)
from ferryman_coordinator.core.inventory import ComputePlatform, InstanceKind, TrafficRoutingType
from ferryman_coordinator.core.messages import Disposition
from ferryman_coordinator.core.model import (
    BundleType,
    DeploymentStatus,
    EventStatus,
    FileExistsBehavior,
    HealthyHostsType,
    InstanceHealth,
    LifecycleErrorCode,
    RevisionHealth,
    RollbackEvent,
    TargetStatus,
)
from ferryman_coordinator.core.tags import TagFilterType
from ferryman_coordinator.errors import Invalid
from ferryman_coordinator.store.queries.revisions import RevisionSort, RevisionSource, TargetFilter

if TYPE_CHECKING:
    from google.protobuf.internal.enum_type_wrapper import _EnumTypeWrapper

Word = TypeVar("Word", bound=Enum)
Number = TypeVar("Number", bound=int)


class Words(Generic[Word, Number]):
    """One enumeration in both forms. On the wire 0 means that nothing was said."""

    def __init__(
        self,
        words: type[Word],
        wire: _EnumTypeWrapper[Number],
        prefix: str,
        refusal: str,
        names: Mapping[Word, str] | None = None,
    ) -> None:
        """`refusal` is the reason given for what is no such word; `names` where a member is called otherwise."""
        self._refusal = refusal
        self._what = words.__name__
        self._wire = {word: wire.Value(f"{prefix}_{(names or {}).get(word, word.name)}") for word in words}
        self._words = {int(number): word for word, number in self._wire.items()}

    def wire(self, word: Word) -> Number:
        return self._wire[word]

    def __contains__(self, number: int) -> bool:
        return number in self._words

    def word(self, number: int) -> Word:
        """Raises Invalid when nothing was said, or nothing that is known here."""
        try:
            return self._words[number]
        except KeyError:
            known = ", ".join(str(word.value) for word in self._wire)
            what = "is missing" if number == 0 else f"has the unknown number {number}"
            raise Invalid(self._refusal, f"a {self._what} {what}: use one of {known}") from None

    def word_or(self, number: int, default: Word) -> Word:
        return self.word(number) if number else default

    def words(self, numbers: Iterable[int]) -> frozenset[Word]:
        return frozenset(self.word(number) for number in numbers)


_BLUE_GREEN = "InvalidBlueGreenDeploymentConfigurationException"

file_drifts = Words(FileDrift, agents_pb2.FileDrift, "FILE_DRIFT", "InvalidFileDrift")
platforms = Words(
    ComputePlatform, types_pb2.ComputePlatform, "COMPUTE_PLATFORM", "InvalidComputePlatformException"
)
bundle_types = Words(BundleType, types_pb2.BundleType, "BUNDLE_TYPE", "InvalidRevisionException")
file_exists = Words(
    FileExistsBehavior,
    types_pb2.FileExistsBehavior,
    "FILE_EXISTS_BEHAVIOR",
    "InvalidFileExistsBehaviorException",
)
deployment_statuses = Words(
    DeploymentStatus, types_pb2.DeploymentStatus, "DEPLOYMENT_STATUS", "InvalidDeploymentStatusException"
)
target_statuses = Words(
    TargetStatus, types_pb2.TargetStatus, "TARGET_STATUS", "InvalidInstanceStatusException"
)
event_statuses = Words(
    EventStatus, types_pb2.LifecycleEventStatus, "LIFECYCLE_EVENT_STATUS", "InvalidLifecycleEventStatus"
)
error_codes = Words(
    LifecycleErrorCode, types_pb2.LifecycleErrorCode, "LIFECYCLE_ERROR_CODE", "InvalidLifecycleErrorCode"
)
rollback_events = Words(
    RollbackEvent, types_pb2.RollbackEvent, "ROLLBACK_EVENT", "InvalidAutoRollbackConfigException"
)
instance_health = Words(InstanceHealth, types_pb2.InstanceHealth, "INSTANCE_HEALTH", "InvalidInstanceHealth")
revision_health = Words(RevisionHealth, types_pb2.RevisionHealth, "REVISION_HEALTH", "InvalidRevisionHealth")
healthy_hosts = Words(
    HealthyHostsType,
    inventory_pb2.MinimumHealthyHostsType,
    "MINIMUM_HEALTHY_HOSTS_TYPE",
    "InvalidMinimumHealthyHostValueException",
)
traffic_routing = Words(
    TrafficRoutingType,
    inventory_pb2.TrafficRoutingType,
    "TRAFFIC_ROUTING_TYPE",
    "InvalidTrafficRoutingConfigurationException",
    {TrafficRoutingType.CANARY: "TIME_BASED_CANARY", TrafficRoutingType.LINEAR: "TIME_BASED_LINEAR"},
)
instance_kinds = Words(InstanceKind, inventory_pb2.InstanceKind, "INSTANCE_KIND", "InvalidInstanceKind")
revision_sorts = Words(RevisionSort, inventory_pb2.RevisionSort, "REVISION_SORT", "InvalidSortByException")
revision_sources = Words(
    RevisionSource, inventory_pb2.RevisionSource, "REVISION_SOURCE", "InvalidRevisionException"
)
target_filters = Words(
    TargetFilter,
    inventory_pb2.RevisionTargetFilter,
    "REVISION_TARGET_FILTER",
    "InvalidDeployedStateFilterException",
)
tag_filter_types = Words(
    TagFilterType, inventory_pb2.TagFilterType, "TAG_FILTER_TYPE", "InvalidTagFilterException"
)
dispositions = Words(
    Disposition, agents_pb2.CommandDisposition, "COMMAND_DISPOSITION", "InvalidCommandDisposition"
)
deployment_types = Words(
    DeploymentType, inventory_pb2.DeploymentType, "DEPLOYMENT_TYPE", "InvalidDeploymentStyleException"
)
deployment_options = Words(
    DeploymentOption, inventory_pb2.DeploymentOption, "DEPLOYMENT_OPTION", "InvalidDeploymentStyleException"
)
green_provisionings = Words(
    GreenProvisioning, inventory_pb2.GreenProvisioning, "GREEN_PROVISIONING", _BLUE_GREEN
)
wait_types = Words(
    WaitType,
    deployments_pb2.DeploymentWaitType,
    "DEPLOYMENT_WAIT_TYPE",
    "InvalidDeploymentWaitTypeException",
)
ready_actions = Words(ReadyAction, inventory_pb2.ReadyAction, "READY_ACTION", _BLUE_GREEN)
blue_terminations = Words(BlueTermination, inventory_pb2.BlueTermination, "BLUE_TERMINATION", _BLUE_GREEN)
outdated_strategies = Words(
    OutdatedInstancesStrategy,
    inventory_pb2.OutdatedInstancesStrategy,
    "OUTDATED_INSTANCES_STRATEGY",
    "InvalidInputException",
)
instance_labels = Words(
    InstanceLabel,
    deployments_pb2.InstanceLabel,
    "INSTANCE_LABEL",
    "InvalidDeploymentInstanceTypeException",
)
queue_modes = Words(QueueMode, inventory_pb2.QueueMode, "QUEUE_MODE", "InvalidInputException")
agent_updates = Words(AgentUpdates, inventory_pb2.AgentUpdates, "AGENT_UPDATES", "InvalidInputException")
