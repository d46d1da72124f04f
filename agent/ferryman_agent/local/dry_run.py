"""What a local deployment would do: events with their scripts, variables, files (PF-337, AG-287).

The bundle is really fetched and unpacked, by the engine's own hands, into a folder that is removed again; nothing else
is touched.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from ferryman_agent.clock import SystemClock
from ferryman_agent.config import Config
from ferryman_agent.core.install_facts import Attributes, InstallPlan
from ferryman_agent.core.lifecycle import Work, work_of
from ferryman_agent.core.messages import DeploymentDescription, Segment
from ferryman_agent.files.layout import DeploymentDir, Layout
from ferryman_agent.files.preview import preview
from ferryman_agent.hooks.contract import HookRun, Script
from ferryman_agent.hooks.environment import Refusal, account_for, variables
from ferryman_agent.local.screen import Screen
from ferryman_agent.log import LogSettings, set_up
from ferryman_agent.runtime import scripts
from ferryman_agent.runtime.downloads import Downloads
from ferryman_agent.runtime.installs import Installs
from ferryman_agent.system import grp, pwd
from ferryman_agent.wiring import work_settings

Entry = dict[str, object]


def dry_run(config: Config, layout: Layout, segment: Segment, shown: str, screen: Screen) -> int:
    """Prints the plan; returns 0. Raises EventError for what would fail."""
    with tempfile.TemporaryDirectory(prefix="ferryman-dry-run-") as folder:
        scratch = Layout(Path(folder) / "root", state_dir=Path(folder) / "state")
        handler = set_up(LogSettings(log_dir=Path(folder)), SystemClock())
        try:
            document = _Preview(config, layout, scratch, segment).document(shown)
        finally:
            handler.close()
    screen.document(document)
    for line in _lines(document):
        screen.text(line)
    return 0


class _Preview:
    def __init__(self, config: Config, layout: Layout, scratch: Layout, segment: Segment) -> None:
        self._config = config
        self._layout = layout
        self._scratch = scratch
        self._segment = segment
        self._deployment = segment.deployment
        self._settings = work_settings(config).hooks
        self._variables: dict[str, str] = {}
        self._warnings: list[str] = []

    def document(self, shown: str) -> Entry:
        """Goes through the events in order; the names are those of `--json`."""
        installs: Entry = {}
        events, layout = [], self._layout
        for name in self._segment.lifecycle_events:
            entry: Entry = {"lifecycleEvent": name}
            match work_of(name):
                case Work.DOWNLOAD:
                    asyncio.run(self._download())
                    layout = self._scratch
                case Work.INSTALL:
                    installs = self._install()
                case Work.SCRIPTS:
                    entry["scripts"] = list(self._scripts(name, layout))
                case Work.NOT_OURS:
                    entry["simulated"] = True
            events.append(entry)
        return {
            "dryRun": True,
            "deploymentGroupId": self._deployment.deployment_group_id,
            "revision": shown,
            "events": events,
            "variables": self._variables,
            **installs,
            "warnings": self._warnings,
        }

    async def _download(self) -> None:
        self._scratch.prepare()
        downloads = Downloads(self._config, self._scratch, lambda: None, frozenset, may_spawn=False)
        await downloads.download(downloads.learn(self._deployment), lambda received, total: None)

    def _install(self) -> Entry:
        settings = Installs(self._config, self._layout, SystemClock()).settings()
        directory = self._directory(self._scratch)
        plan, warnings = preview(
            self._deployment, layout=self._layout, directory=directory, settings=settings
        )
        self._warnings += warnings
        return _files(plan)

    def _scripts(self, name: str, layout: Layout) -> Iterator[Entry]:
        chosen = scripts.choose(name, self._deployment, layout, fail_on_missing=False)
        self._warnings += [text for text in (chosen.warning, chosen.remark) if text]
        for script in chosen.scripts:
            account = account_for(script)
            if isinstance(account, Refusal):
                self._warnings.append(f"{name}: {account.message}")
            elif chosen.archive is not None:
                run = self._run(name, chosen.archive, script)
                found = variables(run, account, self._settings)
                self._variables = found if isinstance(found, dict) else self._variables
            user = (script.runas or "").strip() if isinstance(account, Refusal) else account.name
            yield {"script": script.location, "timeoutSeconds": script.timeout_seconds, "user": user}

    def _run(self, name: str, archive: Path, script: Script) -> HookRun:
        place = self._directory(self._layout)
        is_scratch = archive.is_relative_to(self._scratch.root)
        return HookRun(
            deployment=self._deployment,
            lifecycle_event=name,
            archive=place.archive if is_scratch else archive,
            scripts=(script,),
            deployment_dir=place,
            root=self._layout.root,
        )

    def _directory(self, layout: Layout) -> DeploymentDir:
        deployment: DeploymentDescription = self._deployment
        return layout.deployment(deployment.deployment_group_id, deployment.deployment_id)


def _files(plan: InstallPlan) -> Entry:
    directories = [
        {"path": one.path, "action": "keep" if one.exists else "make", **_attributes(one.attributes)}
        for one in plan.directories
    ]
    files = [
        {"path": one.path, "action": one.action.value, "source": one.source, **_attributes(one.attributes)}
        for one in plan.files
    ]
    obsolete = [path for path, _ in plan.obsolete]
    return {"directories": directories, "files": files, "removed": obsolete, "retained": list(plan.retained)}


def _attributes(found: Attributes) -> Entry:
    """What is laid down; the rest is as it comes."""
    entry: Entry = {}
    if found.mode is not None:
        entry["mode"] = f"{found.mode:04o}"
    if found.uid is not None:
        entry["owner"] = _name(lambda: pwd.getpwuid(found.uid or 0).pw_name, found.uid)
    if found.gid is not None:
        entry["group"] = _name(lambda: grp.getgrgid(found.gid or 0).gr_name, found.gid)
    if found.acl is not None:
        entry["acl"] = True
    if found.label is not None:
        entry["context"] = found.label
    return entry


def _name(look_up: Callable[[], str], number: int) -> str:
    try:
        return look_up()
    except KeyError:
        return str(number)


def _lines(document: Entry) -> Iterator[str]:
    """The same for people."""
    yield f"Dry run of {document['revision']} in deployment group {document['deploymentGroupId']}: nothing is changed"
    for event in _entries(document, "events"):
        yield str(event["lifecycleEvent"])
        for script in _entries(event, "scripts"):
            yield f"  {script['script']} as {script['user']}, at most {script['timeoutSeconds']} s"
        if event["lifecycleEvent"] == "Install":
            yield from _install_lines(document)
    yield "Variables of the scripts:"
    variables = document["variables"]
    if isinstance(variables, dict):
        yield from (f"  {name}={value}" for name, value in sorted(variables.items()))
    for warning in document["warnings"] if isinstance(document["warnings"], list) else ():
        yield f"Warning: {warning}"


def _install_lines(document: Entry) -> Iterator[str]:
    for kind in ("directories", "files"):
        for one in _entries(document, kind):
            more = [f"{name} {one[name]}" for name in ("mode", "owner", "group", "context") if name in one]
            yield f"  {one['action']} {one['path']}" + (f" ({', '.join(more)})" if more else "")
    for kind, word in (("removed", "remove"), ("retained", "retain")):
        found = document.get(kind)
        yield from (f"  {word} {path}" for path in (found if isinstance(found, list) else ()))


def _entries(document: Entry, name: str) -> list[Entry]:
    found = document.get(name)
    return found if isinstance(found, list) else []
