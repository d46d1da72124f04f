"""What a watcher knows of a deployment: the changes of a watch, summed up. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from ferryman.v1 import deployments_pb2, types_pb2
from ferryman_client.client import FINAL_STATUSES

FINAL_TARGETS = frozenset(
    (types_pb2.TARGET_STATUS_SUCCEEDED, types_pb2.TARGET_STATUS_FAILED, types_pb2.TARGET_STATUS_SKIPPED)
)


@dataclass(slots=True)
class TargetProgress:
    """One target and its lifecycle events, newest knowledge."""

    target: deployments_pb2.Target
    events: dict[str, deployments_pb2.LifecycleEvent] = field(default_factory=dict)
    running_script: str = ""

    @property
    def is_final(self) -> bool:
        return self.target.status in FINAL_TARGETS

    @property
    def current_event(self) -> deployments_pb2.LifecycleEvent | None:
        """The lifecycle event that runs, else the last one that ended."""
        latest = None
        for event in self.events.values():
            if event.status == types_pb2.LIFECYCLE_EVENT_STATUS_IN_PROGRESS:
                return event
            if event.HasField("ended_at") and event.HasField("started_at"):
                latest = event
        return latest

    @property
    def failed_event(self) -> deployments_pb2.LifecycleEvent | None:
        """The lifecycle event that failed the target (the last failed one: earlier failures were ignorable)."""
        failed = [
            event for event in self.events.values() if event.status == types_pb2.LIFECYCLE_EVENT_STATUS_FAILED
        ]
        return failed[-1] if failed else None


@dataclass(slots=True)
class Progress:
    """The deployment and its targets. `apply` takes the answers of WatchDeployment in their order, repeats included."""

    deployment: deployments_pb2.Deployment = field(default_factory=deployments_pb2.Deployment)
    targets: dict[str, TargetProgress] = field(default_factory=dict)
    sequence: int = 0

    @property
    def is_final(self) -> bool:
        return self.deployment.status in FINAL_STATUSES

    def apply(self, change: deployments_pb2.WatchDeploymentResponse) -> TargetProgress | None:
        """Takes one change in; returns the target that it is about, None when it is about the deployment."""
        self.sequence = max(self.sequence, change.sequence)
        match change.WhichOneof("change"):
            case "snapshot":
                self.deployment = change.snapshot.deployment
                self.targets = {}
                for target in change.snapshot.targets:
                    self._set_target(target)
                return None
            case "deployment":
                self.deployment = change.deployment
                return None
            case "target":
                return self._set_target(change.target)
            case "target_event":
                return self._set_event(change.target_event)
            case _:
                return None

    def counts(self) -> dict[str, int]:
        """Returns how many targets are in each status, by the targets themselves."""
        counts = {"pending": 0, "in_progress": 0, "ready": 0, "succeeded": 0, "failed": 0, "skipped": 0}
        for progress in self.targets.values():
            name = types_pb2.TargetStatus.Name(progress.target.status).removeprefix("TARGET_STATUS_").lower()
            counts[name if name in counts else "in_progress"] += 1
        return counts

    def _set_target(self, target: deployments_pb2.Target) -> TargetProgress:
        progress = self.targets.get(target.instance_id)
        if progress is None:
            progress = self.targets[target.instance_id] = TargetProgress(target)
        progress.target = target
        for event in target.lifecycle_events:
            progress.events[event.name] = event
        return progress

    def _set_event(self, change: deployments_pb2.TargetEvent) -> TargetProgress | None:
        progress = self.targets.get(change.instance_id)
        if progress is None:
            return None
        progress.running_script = change.running_script
        if change.HasField("lifecycle_event"):
            progress.events[change.lifecycle_event.name] = change.lifecycle_event
        return progress
