"""A real coordinator and real agents as processes of this machine, for the end-to-end tests.

Each agent has its files, and what it installs, in a directory of its own. Hooks of the test bundles write down
that they ran, so that a test can say which ran where, and how often.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, TypeVar

import yaml

from ferryman.v1 import deployments_pb2, inventory_pb2, tokens_pb2, types_pb2
from ferryman_client.bundle import build_bundle
from ferryman_client.cli.progress import Progress
from ferryman_client.client import FINAL_STATUSES, Client
from ferryman_client.profiles import Profile

Answer = TypeVar("Answer")

COMMANDS = Path(sys.executable).parent
PATIENCE_SECONDS = 60.0
SEGMENT = (
    "ApplicationStop",
    "DownloadBundle",
    "BeforeInstall",
    "Install",
    "AfterInstall",
    "ApplicationStart",
    "ValidateService",
)
HOOK_EVENTS = tuple(event for event in SEGMENT if event not in ("DownloadBundle", "Install"))
# What every test hook does before its own part: note that it ran.
_HOOK_HEAD = '#!/bin/sh\necho "$DEPLOYMENT_ID $LIFECYCLE_EVENT" >> "${FERRYMAN_INSTALL_ROOT%/}/story"\n'


class CoordinatorProcess:
    """`ferryman-coordinator serve`, which can be killed and started again on the same ports."""

    def __init__(self, home: Path, config: Mapping[str, Any] | None = None) -> None:
        self.home = home
        self.data_dir = home / "data"
        self.log = home / "coordinator.log"
        self.ready: dict[str, Any] = {}
        self.process: subprocess.Popen[str] | None = None
        self._config = home / "coordinator.yml"
        self._config.write_text(yaml.safe_dump(dict(config or {})))

    def start(self) -> None:
        """Returns when it is ready. After the first start it keeps its ports."""
        options = ["--data-dir", str(self.data_dir), "--config", str(self._config)]
        for kind in ("grpc", "http", "agents"):
            address = str(self.ready.get(kind, "127.0.0.1:0")).removeprefix("http://")
            options += [f"--{kind}-listen", address]
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [COMMANDS / "ferryman-coordinator", "serve", *options],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(f"the coordinator did not start:\n{self.log.read_text()[-4000:]}")
        self.ready = json.loads(line)

    def kill(self) -> None:
        """Ends it without a warning."""
        assert self.process is not None
        self.process.kill()
        self._gone()

    def stop(self) -> int:
        """Ends it gracefully; returns its exit code."""
        assert self.process is not None
        self.process.terminate()
        return self._gone()

    def _gone(self) -> int:
        assert self.process is not None
        code = self.process.wait(PATIENCE_SECONDS)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code

    @property
    def profile(self) -> Profile:
        return Profile(
            coordinator=self.ready["grpc"],
            ca_file=str(self.data_dir / "ca.pem"),
            token_file=str(self.data_dir / "admin.token"),
        )


class AgentProcess:
    """`ferryman-agent run` with all its files, and all that it installs, under one directory."""

    def __init__(self, home: Path, name: str) -> None:
        self.home = home
        self.name = name
        self.install_root = home / "install"
        self.story_file = self.install_root / "story"
        self.config = home / "agent.yml"
        self.log = home / "agent-process.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.environ = {**os.environ, "FERRYMAN_AGENT_HOME": str(home)}
        self.install_root.mkdir(parents=True)
        self.config.write_text(yaml.safe_dump({"install": {"root": str(self.install_root)}}))

    def enroll(self, coordinator: str, token: str, *options: str) -> subprocess.CompletedProcess[str]:
        """Runs `ferryman-agent enroll`."""
        command = [str(COMMANDS / "ferryman-agent"), "enroll", "--coordinator", coordinator, "--token", token]
        command += ["--instance-name", self.name, "--config", str(self.config), *options]
        return subprocess.run(command, env=self.environ, capture_output=True, text=True)

    def start(self) -> None:
        """Starts it, and does not wait."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [COMMANDS / "ferryman-agent", "run", "--config", self.config],
                env=self.environ,
                stdout=log,
                stderr=log,
            )

    def kill(self) -> None:
        """Ends it without a warning; hooks that it started go on."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(PATIENCE_SECONDS)

    def stop(self) -> None:
        """Ends it gracefully, or else by force."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def story(self) -> list[tuple[str, str]]:
        """Returns (deployment, lifecycle event) for each hook that ran, in order."""
        if not self.story_file.exists():
            return []
        return [
            (words[0], words[1])
            for line in self.story_file.read_text().splitlines()
            if (words := line.split())
        ]


class Fleet:
    """One coordinator, some agents, and the application `app` with the group `all` that holds them."""

    def __init__(self, home: Path, *, agents: int, config: Mapping[str, Any] | None = None) -> None:
        self.home = home
        (home / "coordinator").mkdir(parents=True)
        self.coordinator = CoordinatorProcess(home / "coordinator", config)
        self.agents = [AgentProcess(home / f"agent-{n}", f"agent-{n}") for n in range(agents)]
        self._bundles = 0

    def start(self) -> None:
        """Starts everything; returns when all agents are connected."""
        self.coordinator.start()
        request = tokens_pb2.CreateJoinTokenRequest(uses=len(self.agents), ttl_seconds=3600)
        token = self.ask(lambda client: client.call(client.tokens.CreateJoinToken, request)).token
        enrolments = [
            threading.Thread(target=self._enroll_and_start, args=(agent, token)) for agent in self.agents
        ]
        for enrolment in enrolments:
            enrolment.start()
        for enrolment in enrolments:
            enrolment.join()
        self.wait_connected(len(self.agents))
        self.ask(
            lambda client: client.call(
                client.inventory.CreateApplication, inventory_pb2.CreateApplicationRequest(name="app")
            )
        )
        self.create_group("all")

    def stop(self) -> None:
        """Ends every process."""
        for agent in self.agents:
            agent.stop()
        if self.coordinator.process is not None and self.coordinator.process.poll() is None:
            self.coordinator.stop()

    def _enroll_and_start(self, agent: AgentProcess, token: str) -> None:
        done = agent.enroll(
            self.coordinator.ready["grpc"], token, "--tag", "fleet=all", "--tag", f"me={agent.name}"
        )
        if done.returncode == 0:
            agent.start()
        else:
            agent.log.write_text(done.stderr)

    def ask(self, action: Callable[[Client], Awaitable[Answer]]) -> Answer:
        """Returns what `action` returns with a client of its own."""

        async def run() -> Answer:
            async with Client(self.coordinator.profile) as client:
                return await action(client)

        return asyncio.run(run())

    def instances(self) -> dict[str, inventory_pb2.Instance]:
        """Returns the registered instances by name."""
        request = inventory_pb2.ListInstancesRequest(
            registration_status=inventory_pb2.REGISTRATION_STATUS_REGISTERED, page=types_pb2.Page(size=1000)
        )
        found = self.ask(lambda client: client.call(client.inventory.ListInstances, request))
        return {instance.name: instance for instance in found.instances}

    def wait_connected(self, wanted: int) -> None:
        """Returns when so many agents are connected."""
        self.wait_until(
            lambda: sum(instance.is_connected for instance in self.instances().values()) == wanted,
            f"{wanted} agents to be connected",
        )

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        """Returns when the condition holds; fails the test with `what` and the logs when it does not in time."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"waited {PATIENCE_SECONDS:.0f} s for {what}\n{self.logs()}")
            time.sleep(0.05)

    def create_group(
        self, name: str, *, tag: str = "fleet=all", rollback: Sequence[types_pb2.RollbackEvent.ValueType] = ()
    ) -> None:
        """Makes a deployment group of `app` that holds the instances with the tag."""
        key, _, value = tag.partition("=")
        request = inventory_pb2.CreateDeploymentGroupRequest(
            application_name="app",
            name=name,
            selection=inventory_pb2.Selection(tag_filters=[inventory_pb2.TagFilter(key=key, value=value)]),
            auto_rollback=inventory_pb2.AutoRollback(enabled=bool(rollback), events=rollback),
        )
        self.ask(lambda client: client.call(client.inventory.CreateDeploymentGroup, request))

    def push(
        self,
        hooks: Mapping[str, str] | None = None,
        files: Mapping[str, str] | None = None,
        events: Sequence[str] = HOOK_EVENTS,
    ) -> types_pb2.RevisionLocation:
        """Registers a revision with a hook for each of `events`, which notes that it ran and then does what `hooks`
        says for its event.

        `files` (name -> content) are installed to /srv/app.
        """
        self._bundles += 1
        source = self.home / f"source-{self._bundles}"
        content = files if files is not None else {"version": str(self._bundles)}
        write_bundle(source, hooks or {}, content, events)
        bundle = build_bundle(source, self.home / f"bundle-{self._bundles}.tgz")
        shutil.rmtree(source)
        return self.ask(lambda client: client.push("app", bundle)).location

    def deploy(
        self,
        revision: types_pb2.RevisionLocation,
        *,
        group: str = "all",
        config: str = "CodeDeployDefault.AllAtOnce",
        **options: Any,
    ) -> str:
        """Creates a deployment and returns its id at once."""
        request = deployments_pb2.CreateDeploymentRequest(
            options=deployments_pb2.DeploymentOptions(
                application_name="app",
                deployment_group_name=group,
                revision=revision,
                deployment_config_name=config,
                **options,
            )
        )
        return self.ask(
            lambda client: client.call(client.deployments.CreateDeployment, request)
        ).deployment_id

    def wait(self, deployment_id: str) -> Progress:
        """Returns the deployment and its targets once it is final; fails the test when it takes too long."""
        progress = Progress()

        async def follow(client: Client) -> None:
            async with asyncio.timeout(PATIENCE_SECONDS):
                async for change in client.watch(deployment_id):
                    progress.apply(change)
                    if progress.deployment.status in FINAL_STATUSES:
                        return

        try:
            self.ask(follow)
        except TimeoutError:
            raise AssertionError(
                f"{deployment_id} did not end:\n{progress.deployment}\n{self.logs()}"
            ) from None
        return progress

    def see(self, deployment_id: str, count: int, *, after: int) -> int:
        """Returns the number of the newest change once `count` more than `after` are stored, or it is over."""

        async def follow(client: Client) -> int:
            newest = after
            async with asyncio.timeout(PATIENCE_SECONDS):
                async for change in client.watch(deployment_id, after):
                    newest = max(newest, change.sequence)
                    if newest >= after + count:
                        break
            return newest

        return self.ask(follow)

    def run(self, revision: types_pb2.RevisionLocation, **options: Any) -> Progress:
        """Deploys and waits for the end."""
        return self.wait(self.deploy(revision, **options))

    def cli(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Runs the `ferryman` command against this fleet's coordinator."""
        profile = self.coordinator.profile
        settings = {
            **os.environ,
            "FERRYMAN_COORDINATOR": profile.coordinator,
            "FERRYMAN_CA": profile.ca_file,
            "FERRYMAN_TOKEN": profile.token(),
            "XDG_CONFIG_HOME": str(self.home / "config"),
            **environ,
        }
        return subprocess.run(
            [COMMANDS / "ferryman", *arguments], env=settings, capture_output=True, text=True
        )

    def hook_runs(self, deployment_id: str) -> Counter[tuple[str, str]]:
        """Returns how often each hook ran: (agent, lifecycle event) -> times."""
        return Counter(
            (agent.name, event)
            for agent in self.agents
            for deployment, event in agent.story()
            if deployment == deployment_id
        )

    def logs(self) -> str:
        """Returns the ends of all process logs."""
        files: list[Path] = [self.coordinator.log, *(agent.log for agent in self.agents)]
        return "\n".join(f"--- {file}\n{_tail(file)}" for file in files if file.exists())


def write_bundle(
    source: Path,
    hooks: Mapping[str, str],
    files: Mapping[str, str],
    events: Sequence[str] = HOOK_EVENTS,
    destination: str = "/srv/app",
) -> None:
    """Writes the directory of a bundle: a noting hook for each event, with `hooks` as what it does next."""
    (source / "hooks").mkdir(parents=True)
    (source / "files").mkdir()
    for name, content in files.items():
        (source / "files" / name).write_text(content)
    for event in events:
        script = source / "hooks" / event
        script.write_text(_HOOK_HEAD + hooks.get(event, "") + "\n")
        script.chmod(0o755)
    appspec = {
        "version": 0.0,
        "os": "linux",
        "files": [{"source": "files", "destination": destination}],
        "hooks": {event: [{"location": f"hooks/{event}", "timeout": 60}] for event in events},
    }
    (source / "appspec.yml").write_text(yaml.safe_dump(appspec, sort_keys=False))


def end_process(pid: int) -> None:
    """Kills a process that a test left behind, if it is there."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _tail(file: Path) -> str:
    with file.open("rb") as content:
        _seek_tail(content)
        return content.read().decode("utf-8", "replace")


def _seek_tail(content: IO[bytes]) -> None:
    size = content.seek(0, os.SEEK_END)
    content.seek(max(0, size - 3000))
