"""When a deployment has failed, and the sentences that say why (CP section 13.2, CP-286, CP-393, CP-394).

The cause is put into words at the moment that it decides; who failed, at what, and what to do next are added when
the deployment is final, since targets in progress may still fail after the decision.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ferryman_coordinator.core.alarms import ALARM_ACTIVE
from ferryman_coordinator.core.model import DeploymentId, ErrorInformation
from ferryman_coordinator.core.schedule import Schedule, Tally
from ferryman_coordinator.core.target import Target

HEALTH_CONSTRAINTS = "HEALTH_CONSTRAINTS"
HEALTH_CONSTRAINTS_INVALID = "HEALTH_CONSTRAINTS_INVALID"
AGENT_ISSUE = "AGENT_ISSUE"
TIMEOUT = "TIMEOUT"
MANUAL_STOP = "MANUAL_STOP"
NO_INSTANCES = "NO_INSTANCES"
OVER_MAX_INSTANCES = "OVER_MAX_INSTANCES"
APPLICATION_MISSING = "APPLICATION_MISSING"
DEPLOYMENT_GROUP_MISSING = "DEPLOYMENT_GROUP_MISSING"

ALARM_ADVICE = (
    "Next: look after what the alarm is about (`ferryman alarm test NAME`), then deploy again; a revision that is known"
    " to be good goes out with --no-alarms."
)

_IDS_SHOWN = 100
"""Failed instances that a message lists; of more it says how many."""


def abort_cause(schedule: Schedule, zones: Sequence[str], failed: Target) -> str | None:
    """Why the deployment must be given up after this failure, None if it may go on (CP-281, CP-292)."""
    if schedule.fleet.is_exhausted and schedule.fleet.is_spoilt:
        return _spoilt(schedule.fleet)
    if schedule.fleet.is_exhausted:
        return _exhausted("", schedule.fleet)
    if schedule.zones and schedule.zones[failed.zone_index].is_exhausted:
        return _exhausted(f" of zone {zones[failed.zone_index]}", schedule.zones[failed.zone_index])
    return None


def zone_cause(tally: Tally, zone: str) -> str | None:
    """Why a finished zone fails the deployment, None if it does not (CP-292, CP-298)."""
    if not tally.is_kept:
        return f"Zone {zone} ended with too few healthy instances {_numbers(tally)}."
    if not tally.succeeded:
        return f"Zone {zone} ended without a single success {_numbers(tally)}."
    return None


def final_cause(schedule: Schedule) -> str | None:
    """Why a deployment that has nothing left to do has failed, None if it has succeeded (CP-271, CP-284)."""
    if not schedule.fleet.succeeded:
        return f"Not a single instance succeeded {_numbers(schedule.fleet)}."
    if schedule.fleet.is_spoilt:
        return _spoilt(schedule.fleet)
    if not schedule.fleet.is_kept:
        return f"Too few instances are healthy at the end {_numbers(schedule.fleet)}."
    return None


def stuck_cause(schedule: Schedule) -> str:
    """Nothing is in progress, work is left, and nothing may start (CP section 13.2, step 3)."""
    candidate = schedule.first_pending()
    is_free = candidate is not None and schedule.fleet.may_start(candidate.was_healthy)
    tally = schedule.zones[schedule.zone] if schedule.zones and is_free else schedule.fleet
    return f"No further instance can be taken out without too few staying healthy {_numbers(tally)}."


def explain(
    cause: ErrorInformation, failed: Iterable[Target], deployment_id: DeploymentId
) -> ErrorInformation:
    """The final error: the cause, who failed at which event and why, and the next step (CP-286, CP-393, CP-394)."""
    ended = _by_end(failed)
    code = cause.code
    if code == HEALTH_CONSTRAINTS and ended and all(target.failed_by_silence for target in ended):
        code = AGENT_ISSUE
    sentences = [cause.message, *_first(ended), *_groups(ended), _next_step(code, deployment_id)]
    return ErrorInformation(code=code, message=" ".join(sentences))


def note(failed: Sequence[Target]) -> str:
    """For a deployment that succeeded although some of its targets failed (CP-240)."""
    ended = _by_end(failed)
    return " ".join([f"Succeeded although {instances(len(ended))} failed.", *_first(ended), *_groups(ended)])


def instances(number: int) -> str:
    """A number of instances in words."""
    return f"{number} instance" if number == 1 else f"{number} instances"


def _by_end(failed: Iterable[Target]) -> list[Target]:
    """In an order that a restored rollout finds again."""
    return sorted(failed, key=lambda target: (target.completed_at or 0, target.ordinal))


def _spoilt(tally: Tally) -> str:
    return f"The group requires every instance to succeed, and not all of them did {_numbers(tally)}."


def _exhausted(where: str, tally: Tally) -> str:
    return (
        f"Too many instances{where} failed: with {tally.pending} left to deploy to,"
        f" one more failure could leave fewer than {tally.minimum} healthy {_numbers(tally)}."
    )


def _numbers(tally: Tally) -> str:
    """N, M, F and avail (CP-286)."""
    return f"(counted N={tally.counted}, minimum M={tally.minimum}, failed F={tally.failed}, avail={tally.available})"


def _first(ended: Sequence[Target]) -> Iterable[str]:
    """The first failing target, event and script (CP-239)."""
    for target in ended:
        if target.failure is not None:
            failure = target.failure
            script = f" in script {failure.script_name}" if failure.script_name else ""
            text = f": {failure.message}" if failure.message else ""
            yield (
                f"First failure: {target.label} at {failure.lifecycle_event}{script}, {failure.error_code}"
                f"{text.rstrip('.')}."
            )
            return


def _groups(ended: Sequence[Target]) -> Iterable[str]:
    """All failed instances, by what they failed at."""
    groups: dict[str, list[str]] = {}
    for target in ended[:_IDS_SHOWN]:
        failure = target.failure
        if failure is None:
            kind = "Ended before their last event"
        else:
            kind = f"Failed at {failure.lifecycle_event} with {failure.error_code}"
        groups.setdefault(kind, []).append(target.instance_id)
    for kind, ids in groups.items():
        yield f"{kind}: {', '.join(ids)}."
    if len(ended) > _IDS_SHOWN:
        yield f"Failed besides: {instances(len(ended) - _IDS_SHOWN)}."


def _next_step(code: str, deployment_id: DeploymentId) -> str:
    if code == AGENT_ISSUE:
        return (
            "Next: check that ferryman-agent runs on these instances and reaches the coordinator"
            " (`ferryman-agent status` there), then deploy again."
        )
    if code == MANUAL_STOP:
        return "Next: deploy again to bring all instances to one revision."
    if code == ALARM_ACTIVE:
        return ALARM_ADVICE
    if code in (APPLICATION_MISSING, DEPLOYMENT_GROUP_MISSING):
        return "Next: instances keep what they have; create it again to deploy to them."
    return (
        f"Next: read `ferryman deployment logs {deployment_id}`,"
        " put right what failed in the revision or on the instances, then deploy again."
    )
