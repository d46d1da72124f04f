"""What a deployment group can say beyond its members and its configuration (CP sections 8.1 and 8.3).

Pure values, stored whole with the group, and with each of its deployments as they were when it was created (CP-224).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ferryman_coordinator.core.tags import NO_SELECTION, Selection


class DeploymentType(StrEnum):
    """API:DeploymentType."""

    IN_PLACE = "IN_PLACE"
    BLUE_GREEN = "BLUE_GREEN"


class DeploymentOption(StrEnum):
    """API:DeploymentOption."""

    WITH_TRAFFIC_CONTROL = "WITH_TRAFFIC_CONTROL"
    WITHOUT_TRAFFIC_CONTROL = "WITHOUT_TRAFFIC_CONTROL"


class InstanceLabel(StrEnum):
    """API:TargetLabel: which of the two fleets of a blue/green deployment an instance belongs to."""

    BLUE = "Blue"
    GREEN = "Green"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentStyle:
    """CP-161; the defaults are those of the Server platform."""

    type: DeploymentType = DeploymentType.IN_PLACE
    option: DeploymentOption = DeploymentOption.WITHOUT_TRAFFIC_CONTROL


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadBalancers:
    """Names of classic load balancers and of target groups (CP-163)."""

    classic: tuple[str, ...] = ()
    target_groups: tuple[str, ...] = ()


class GreenProvisioning(StrEnum):
    """API:GreenFleetProvisioningAction."""

    DISCOVER_EXISTING = "DISCOVER_EXISTING"
    COPY_AUTO_SCALING_GROUP = "COPY_AUTO_SCALING_GROUP"


class ReadyAction(StrEnum):
    """API:DeploymentReadyAction."""

    CONTINUE_DEPLOYMENT = "CONTINUE_DEPLOYMENT"
    STOP_DEPLOYMENT = "STOP_DEPLOYMENT"


class WaitType(StrEnum):
    """API:DeploymentWaitType: the two waits of a blue/green deployment that somebody can end."""

    READY_WAIT = "READY_WAIT"
    TERMINATION_WAIT = "TERMINATION_WAIT"


class BlueTermination(StrEnum):
    """API:InstanceAction."""

    TERMINATE = "TERMINATE"
    KEEP_ALIVE = "KEEP_ALIVE"


@dataclass(frozen=True, slots=True, kw_only=True)
class BlueGreen:
    """`blueGreenDeploymentConfiguration`; waits in minutes (CP-165, CP-166)."""

    green_provisioning: GreenProvisioning = GreenProvisioning.DISCOVER_EXISTING
    ready_action: ReadyAction = ReadyAction.CONTINUE_DEPLOYMENT
    ready_wait_minutes: int = 0
    blue_termination: BlueTermination = BlueTermination.KEEP_ALIVE
    termination_wait_minutes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmConfiguration:
    """Which alarms stop a deployment (CP section 17). Switched off it keeps its list (CP-187)."""

    enabled: bool = False
    # Go on when an alarm's state cannot be read (CP-359).
    ignore_poll_alarm_failure: bool = False
    alarms: tuple[str, ...] = ()


class TriggerEventType(StrEnum):
    """CP section 18.1."""

    DEPLOYMENT_START = "DeploymentStart"
    DEPLOYMENT_SUCCESS = "DeploymentSuccess"
    DEPLOYMENT_FAILURE = "DeploymentFailure"
    DEPLOYMENT_STOP = "DeploymentStop"
    DEPLOYMENT_ROLLBACK = "DeploymentRollback"
    DEPLOYMENT_READY = "DeploymentReady"
    INSTANCE_START = "InstanceStart"
    INSTANCE_SUCCESS = "InstanceSuccess"
    INSTANCE_FAILURE = "InstanceFailure"
    INSTANCE_READY = "InstanceReady"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """Events of one name go to one target (CP-368, CP-369). `target_arn` names a topic that the settings know."""

    name: str
    target_arn: str
    events: tuple[TriggerEventType, ...]


class OutdatedInstancesStrategy(StrEnum):
    """Whether instances that joined during a deployment get its revision afterwards (CP-410, CP-411)."""

    UPDATE = "UPDATE"
    IGNORE = "IGNORE"


class QueueMode(StrEnum):
    """What becomes of a deployment while another one of its group is unfinished (CP-419)."""

    REFUSE = "REFUSE"
    FIFO = "FIFO"
    NEWEST = "NEWEST"


class AgentUpdates(StrEnum):
    """How agents of the group's instances are installed and kept up (CP-170)."""

    NEVER = "NEVER"
    ONCE = "ONCE"
    SCHEDULED = "SCHEDULED"


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupOptions:
    """Every option with its default: a group that says nothing is deployed to in place and tells nobody."""

    service_role_arn: str = ""
    style: DeploymentStyle = DeploymentStyle()
    load_balancers: LoadBalancers = LoadBalancers()
    blue_green: BlueGreen | None = None
    # Members besides those of the group's own selection, by kind: `ec2TagFilters` and `onPremisesInstanceTagFilters`
    # with their sets (CP-043, CP-050).
    cloud_selection: Selection = NO_SELECTION
    on_premises_selection: Selection = NO_SELECTION
    auto_scaling_groups: tuple[str, ...] = ()
    termination_hook: bool = False
    alarms: AlarmConfiguration = AlarmConfiguration()
    triggers: tuple[Trigger, ...] = ()
    outdated_instances: OutdatedInstancesStrategy = OutdatedInstancesStrategy.UPDATE
    # On-premises members that missed a deployment are caught up like those that a provider launched (CP-414).
    catch_up_on_premises: bool = False
    queue: QueueMode = QueueMode.REFUSE
    # One failed target fails the deployment, whatever the configuration says (K6).
    require_all: bool = False
    # A percentage of a fleet of one would let nothing start (A7).
    single_as_one_at_a_time: bool = False
    agent_updates: AgentUpdates = AgentUpdates.NEVER


DEFAULT_OPTIONS = GroupOptions()
