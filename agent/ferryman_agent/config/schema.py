"""Every setting of the agent: its name, its default, its limits, and what it is for.

The descriptions are for operators: the reference and the sample file are generated from them (`reference.py`).
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from ferryman_agent.config.values import ByteSize, Duration
from ferryman_agent.hooks.contract import OutputsLeftOpen, ScriptCwd

_MIB = 1 << 20


def _span(description: str, least: str, most: str) -> Meta:
    return Meta(description=description, extra={"least": least, "most": most})


class LogStyle(StrEnum):
    TEXT = "text"
    JSON = "json"
    JOURNAL = "journal"


class MissingPrevious(StrEnum):
    SKIP = "skip"
    FAIL = "fail"


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """A group of settings about one subject; its docstring heads it in the reference."""


class Coordinator(Section, frozen=True, kw_only=True):
    """Where this agent belongs."""

    address: Annotated[
        str,
        Meta(
            description="`host:port` to enroll at. Written by `ferryman-agent enroll`; the standing connection goes"
            " where the enrolment said."
        ),
    ] = ""


class Commands(Section, frozen=True, kw_only=True):
    """What runs at the same time, and how the agent ends."""

    max_concurrent: Annotated[
        int,
        Meta(
            description="Deployment groups that this instance works for at once; commands of one group always run"
            " one after another. 1 is strictly one after another.",
            ge=1,
            le=64,
        ),
    ] = 16
    drain_timeout: Annotated[
        Duration,
        _span(
            "How long an ending agent waits for lifecycle events that run; then it ends them.", "0s", "24h"
        ),
    ] = Duration(7_200_000)


class Hooks(Section, frozen=True, kw_only=True):
    """How scripts run."""

    kill_grace: Annotated[
        Duration, _span("Between TERM and KILL, for a script that must end.", "0s", "10m")
    ] = Duration(5_000)
    outputs_left_open: Annotated[
        OutputsLeftOpen,
        Meta(
            description="A script that ended well while a child of its holds its output open: `detach` leaves the"
            " child alone, `fail` fails the event with code 6."
        ),
    ] = OutputsLeftOpen.DETACH
    outputs_grace: Annotated[
        Duration, _span("How long to wait for such an output to be closed.", "0s", "10m")
    ] = Duration(10_000)
    cwd: Annotated[
        ScriptCwd,
        Meta(description="The directory that scripts start in: `/`, the agent's own, or their `archive`."),
    ] = ScriptCwd.ROOT
    pass_agent_env: Annotated[
        bool,
        Meta(
            description="Scripts inherit the agent's environment without its secrets, as with the original, instead"
            " of a clean one."
        ),
    ] = False
    strip_loader_variables: Annotated[
        bool, Meta(description="LD_*, PYTHON*, BASH_ENV and their like never reach a script.")
    ] = True
    output_cap: Annotated[
        ByteSize,
        _span("Of one script's output on disk; what follows is counted and left out.", "1MiB", "1TiB"),
    ] = ByteSize(128 * _MIB)


class Bundles(Section, frozen=True, kw_only=True):
    """Archives of revisions: how many are kept, and what is refused."""

    max_revisions: Annotated[
        int,
        Meta(
            description="Revisions kept for each deployment group; the last successful one is always kept.",
            ge=1,
            le=1_000,
        ),
    ] = 5
    max_extracted_size: Annotated[
        ByteSize | None,
        _span("What an archive may grow to when it is unpacked. Default: 64GiB.", "1MiB", "64TiB"),
    ] = None
    min_free_disk: Annotated[
        ByteSize, _span("A bundle is refused when less than this would be left on the disk.", "0", "64TiB")
    ] = ByteSize(100 * _MIB)


class Install(Section, frozen=True, kw_only=True):
    """Where and how revisions are installed."""

    root: Annotated[
        str,
        Meta(
            description="Put before every destination of an AppSpec file; scripts see it as FERRYMAN_INSTALL_ROOT."
            " For several agents on one machine, and for trials."
        ),
    ] = "/"
    missing_previous_revision: Annotated[
        MissingPrevious,
        Meta(
            description="When an event needs the scripts of the previous revision and its files are gone: `skip`"
            " goes on with a warning, `fail` fails the event, as the original does."
        ),
    ] = MissingPrevious.SKIP


class Log(Section, frozen=True, kw_only=True):
    """The agent's own log, and the combined log of all deployments."""

    verbose: Annotated[bool, Meta(description="Log at debug level.")] = False
    style: Annotated[
        LogStyle,
        Meta(
            description="`text` as the original wrote it or `json`, both in `log_dir`; `journal` for systemd, on"
            " standard error."
        ),
    ] = LogStyle.TEXT
    deployments_log: Annotated[
        bool, Meta(description="Keep the combined log of all scripts under `<root_dir>/deployment-logs`.")
    ] = True


class Config(Section, frozen=True, kw_only=True):
    """Where the agent keeps its files. Defaults depend on whether it runs as root, and on FERRYMAN_AGENT_HOME."""

    root_dir: Annotated[str, Meta(description="Revisions, their logs and the deployment history.")] = ""
    log_dir: Annotated[str, Meta(description="The agent's log.")] = ""
    pid_dir: Annotated[str, Meta(description="PID file and lock: one agent runs for each.")] = ""
    state_dir: Annotated[
        str, Meta(description="Identity and journal. Private; losing it means to enroll again.")
    ] = ""
    program_name: Annotated[
        str,
        Meta(
            description="Begins the names of the log and PID files.",
            pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        ),
    ] = "codedeploy-agent"
    core_dumps: Annotated[bool, Meta(description="The agent may leave core dumps, which hold its key.")] = (
        False
    )
    coordinator: Coordinator = Coordinator()
    commands: Commands = Commands()
    hooks: Hooks = Hooks()
    bundles: Bundles = Bundles()
    install: Install = Install()
    log: Log = Log()

    @property
    def root(self) -> Path:
        return Path(self.root_dir)

    @property
    def identity_path(self) -> Path:
        return Path(self.state_dir) / "identity.json"

    @property
    def journal_path(self) -> Path:
        return Path(self.state_dir) / "journal"

    @property
    def status_path(self) -> Path:
        return Path(self.state_dir) / "status.json"

    @property
    def pid_path(self) -> Path:
        return Path(self.pid_dir) / f"{self.program_name}.pid"
