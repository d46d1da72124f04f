"""What agents find of what is installed, in words: which files changed, when somebody looked, how to mend it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich.text import Text

from ferryman.v1 import agents_pb2, inventory_pb2
from ferryman_client.cli import render
from ferryman_client.cli.words import iso_time, revision_label

_NAMED = 10

_WORDS = {
    agents_pb2.FILE_DRIFT_MISSING: "is missing",
    agents_pb2.FILE_DRIFT_CONTENT: "has another content",
    agents_pb2.FILE_DRIFT_ATTRIBUTES: "has another mode, owner or group",
    agents_pb2.FILE_DRIFT_KIND: "is another kind of thing",
}


def print_installed(health: Iterable[inventory_pb2.InstanceDeploymentHealth]) -> None:
    """Prints what each deployment group has installed on an instance, and what has changed of it."""
    for one in health:
        for line in _lines(one):
            render.out.print(line)


def instances_text(group: inventory_pb2.DeploymentGroup) -> Text | str:
    """Returns how many instances of a group have changed files; empty where nobody has looked."""
    checked, drifted = group.checked_instances, group.drifted_instances
    if not checked:
        return ""
    if not drifted:
        return f"none of {checked} instances has changed files"
    has = "has" if drifted == 1 else "have"
    text = f"{drifted} of {checked} instances {has} changed files"
    return Text.assemble((text, "yellow"), "; `ferryman instance show` names them")


def _lines(health: inventory_pb2.InstanceDeploymentHealth) -> Iterator[Text]:
    group = f"{health.application_name}/{health.deployment_group_name}"
    if not health.HasField("installed"):
        yield Text(f"{group}: nobody has looked at what deployment {health.last_deployment_id} installed")
        return
    state = health.installed
    # After a failure it is not known here which revision the files are of.
    has_revision = health.HasField("installed_revision")
    runs = f"runs revision {revision_label(health.installed_revision)} of {group}" if has_revision else group
    yield Text.assemble(f"{runs} (deployment {state.deployment_id}), ", _verdict(state))
    for file in state.drifted[:_NAMED]:
        yield Text(f"  {file.path} {_WORDS.get(file.drift, 'has changed')}")
    if (more := state.files_drifted - min(len(state.drifted), _NAMED)) > 0:
        yield Text(f"  and {more} more" + (" (--json names some)" if len(state.drifted) > _NAMED else ""))
    how = "contents read" if state.with_digests else "by size, times, mode and owner"
    yield Text(f"  as of {iso_time(state.checked_at)}, {state.files_checked} looked at, {how}", "dim")
    if not state.archive_whole:
        is_bundle_whole = state.HasField("bundle_whole") and state.bundle_whole
        yield Text(
            "  its unpacked archive here is gone or damaged, its bundle is whole: a rollback to this revision fetches"
            " nothing, and the next deployment may miss the scripts that stop it"
            if is_bundle_whole
            else "  its archive here is gone or damaged: a rollback to this revision may have to fetch it",
            "yellow",
        )
    if state.files_drifted and has_revision:
        yield Text(
            f"  to mend it: ferryman deploy -a {health.application_name} -g {health.deployment_group_name}"
            f" --revision {revision_label(health.installed_revision)}"
        )


def _verdict(state: agents_pb2.InstalledGroup) -> Text:
    if state.error:
        return Text(f"could not be looked at: {state.error}", "yellow")
    if not state.files_drifted:
        return Text("no file changed", "green")
    files = "file" if state.files_drifted == 1 else "files"
    return Text(f"{state.files_drifted} {files} changed:", "yellow")
