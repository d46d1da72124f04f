"""Every setting of the agent: its name, its default, its limits, and what it is for.

The descriptions are for operators: the reference and the sample file are generated from them (`reference.py`).
A setting that is marked RELOADABLE takes effect with `ferryman-agent reload`; the others with a restart (AG-067).
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from ferryman_agent.config.values import ByteSize, Duration, Pattern, ProxyAddress
from ferryman_agent.hooks.contract import OutputsLeftOpen, ScriptCwd

_MIB = 1 << 20
_FILE_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"

RELOADABLE = Meta(extra={"reloadable": True})
"""Beside the Meta that describes the setting: msgspec keeps both."""


def _span(description: str, least: str, most: str) -> Meta:
    return Meta(description=description, extra={"least": least, "most": most})


class Profile(StrEnum):
    """A set of defaults (`profiles.py`)."""

    DEFAULT = "default"
    COMPAT = "compat"
    STRICT = "strict"


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
    on_premises_file: Annotated[
        str,
        Meta(
            description="The original's `codedeploy.onpremises.yml`, or one of our own shape. Default:"
            " `ferryman.onpremises.yml` beside the configuration; as root also"
            " `/etc/codedeploy-agent/conf/codedeploy.onpremises.yml`. See [on-premises.md](on-premises.md)."
        ),
    ] = ""
    call_timeout: Annotated[
        Duration, _span("How long a single call, such as a renewal, waits for its answer.", "1s", "10m")
    ] = Duration(80_000)
    throttle_wait: Annotated[
        Duration,
        _span(
            "The least pause after the coordinator said that it has too much to do; back-off goes on from"
            " there.",
            "1s",
            "1h",
        ),
    ] = Duration(60_000)


class Proxy(Section, frozen=True, kw_only=True):
    """Ways out. A proxy is told the address only: TLS goes through it, end to end."""

    coordinator: Annotated[
        ProxyAddress | None,
        Meta(description="`http://[user:password@]host:port` for everything to the coordinator's gRPC."),
        RELOADABLE,
    ] = None
    downloads: Annotated[
        ProxyAddress | None, Meta(description="The same for bundles, wherever they come from."), RELOADABLE
    ] = None
    no_proxy: Annotated[
        tuple[str, ...],
        Meta(
            description="Hosts that need no proxy: names (with all names below them), addresses, networks such as"
            " 10.0.0.0/8, or `*`. This machine never needs one."
        ),
        RELOADABLE,
    ] = ()


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
    ongoing_directory: Annotated[
        str,
        Meta(description="Below `root_dir`: markers of deployments in progress.", pattern=_FILE_NAME),
    ] = "ongoing-deployment"


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
    powershell_profile: Annotated[
        bool,
        Meta(
            description="Windows: PowerShell scripts run with the profile of the agent's user, may ask questions, and"
            " get the PowerShell of 32 bits, as with the original."
        ),
    ] = False
    output_cap: Annotated[
        ByteSize,
        _span("Of one script's output on disk; what follows is counted and left out.", "1MiB", "1TiB"),
    ] = ByteSize(128 * _MIB)
    masks: Annotated[
        tuple[Pattern, ...],
        Meta(
            description="Regular expressions; what they match in a line of output is sent to the coordinator as `***`,"
            " live and with the result. The log on this machine has it as it was printed."
        ),
    ] = ()
    memory_max: Annotated[
        ByteSize | None,
        _span(
            "What one script may use with all that it starts, swap included; one that needs more is ended. Takes a"
            " systemd host with cgroup v2, as do the next two. Default: no limit.",
            "16MiB",
            "64TiB",
        ),
    ] = None
    cpu_max: Annotated[
        float,
        Meta(
            description="Processors that one script may use with all that it starts: 0.5 is half of one, 0 no limit.",
            ge=0,
            le=1024,
        ),
    ] = 0.0
    tasks_max: Annotated[
        int,
        Meta(
            description="Processes and threads of one script; 0 is no limit. Without control groups it holds for"
            " scripts of other users than root, and for all that their user runs.",
            ge=0,
            le=4_000_000,
        ),
    ] = 0
    open_files_max: Annotated[
        int,
        Meta(
            description="Files that one process of a script may have open; 0 is what the agent may, and never more.",
            ge=0,
            le=1_000_000,
        ),
    ] = 0
    core_dumps: Annotated[
        bool,
        Meta(
            description="Scripts, and what they start, may leave core dumps; `false` forbids it for good, also to"
            " services that they start in the background."
        ),
    ] = True


class Bundles(Section, frozen=True, kw_only=True):
    """Archives of revisions: how many are kept, and what is refused."""

    max_revisions: Annotated[
        int,
        Meta(
            description="Revisions kept for each deployment group; the last successful one is always kept.",
            ge=1,
            le=1_000,
        ),
        RELOADABLE,
    ] = 5
    max_revisions_size: Annotated[
        ByteSize | None,
        _span("Of all revisions of one deployment group together. Default: no limit.", "1MiB", "1024TiB"),
    ] = None
    max_extracted_size: Annotated[
        ByteSize | None,
        _span("What an archive may grow to when it is unpacked. Default: 64GiB.", "1MiB", "64TiB"),
    ] = None
    min_free_disk: Annotated[
        ByteSize, _span("A bundle is refused when less than this would be left on the disk.", "0", "64TiB")
    ] = ByteSize(100 * _MIB)
    download_rate: Annotated[
        ByteSize | None,
        _span("Bytes per second of all downloads together. Default: no limit.", "1KiB", "1TiB"),
    ] = None
    archive_reuse: Annotated[
        bool,
        Meta(
            description="Take an archive that is on the disk and proven whole instead of fetching it again."
        ),
    ] = True
    require_digest: Annotated[
        bool, Meta(description="Refuse revisions that were registered without a SHA-256.")
    ] = False
    reject_links: Annotated[
        bool,
        Meta(description="Refuse every symbolic link in a bundle; those that leave it are refused anyway."),
    ] = False
    reject_hard_links: Annotated[
        bool, Meta(description="Refuse hard links in a bundle; otherwise they become copies.")
    ] = True
    reject_set_id: Annotated[
        bool,
        Meta(
            description="Refuse set-user-id and set-group-id files in a bundle; otherwise the bits are dropped."
        ),
    ] = True


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
    preserve_directory_modes: Annotated[
        bool,
        Meta(
            description="New directories get the mode of those in the bundle, instead of the system's default."
        ),
    ] = True
    allow_set_id: Annotated[
        bool,
        Meta(description="Accept modes with set-user-id and set-group-id in an AppSpec's permissions."),
    ] = False
    reject_unconfined: Annotated[
        bool,
        Meta(description="Refuse the SELinux types unconfined_t, kernel_t and init_t in an AppSpec."),
    ] = True
    require_selinux: Annotated[
        bool,
        Meta(
            description="An AppSpec that asks for an SELinux context is refused where the host has no SELinux;"
            " otherwise that is a warning."
        ),
    ] = False


class Drift(Section, frozen=True, kw_only=True):
    """How often installed files are compared with what was installed."""

    stat_every: Annotated[
        Duration,
        _span(
            "Between looks at size, times, mode and owner of every installed file, at the start and after each"
            " deployment as well; a file that these cannot vouch for is read. 0s: only when somebody asks.",
            "0s",
            "30d",
        ),
    ] = Duration(900_000)
    digests_every: Annotated[
        Duration,
        _span(
            "Between checks that read every installed file, and the archive that a rollback would use. 0s: only when"
            " somebody asks.",
            "0s",
            "365d",
        ),
    ] = Duration(86_400_000)
    bytes_per_second: Annotated[
        ByteSize,
        _span("What such a check reads in a second at most; 0 for any.", "0", "1TiB"),
    ] = ByteSize(32 * _MIB)


class Log(Section, frozen=True, kw_only=True):
    """The agent's own log, and the combined log of all deployments."""

    verbose: Annotated[bool, Meta(description="Log at debug level."), RELOADABLE] = False
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
    private: Annotated[
        bool,
        Meta(description="The agent's log is for its own user and group only, instead of for everybody."),
    ] = True
    downloads_wire: Annotated[
        bool,
        Meta(
            description="Trace the requests and answers of downloads into `<program_name>.aws_wire.log`. It grows"
            " fast and may hold contents of bundles."
        ),
        RELOADABLE,
    ] = False
    coordinator_wire: Annotated[
        bool,
        Meta(description="Trace the messages of the coordinator's stream into the agent's log, by kind."),
        RELOADABLE,
    ] = False


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
            pattern=_FILE_NAME,
        ),
    ] = "codedeploy-agent"
    profile: Annotated[
        Profile,
        Meta(
            description="`compat`: the defaults that the original has, where ours are safer; `strict`: safer still."
            " The table below has them; what the file says wins over a profile."
        ),
    ] = Profile.DEFAULT
    user: Annotated[
        str,
        Meta(description="The account that an agent started as root becomes. Default: it stays root."),
    ] = ""
    group: Annotated[
        str, Meta(description="The group that it becomes, with `user`. Default: the user's own.")
    ] = ""
    private_directories: Annotated[
        bool,
        Meta(description="`root_dir` can be passed through but not listed by others, instead of read."),
    ] = True
    metrics_file: Annotated[
        str,
        Meta(
            description="Counts and durations of lifecycle events for node-exporter's textfile collector; a name that"
            " ends in `.prom`. Default: none are kept."
        ),
    ] = ""
    core_dumps: Annotated[bool, Meta(description="The agent may leave core dumps, which hold its key.")] = (
        False
    )
    coordinator: Coordinator = Coordinator()
    proxy: Proxy = Proxy()
    commands: Commands = Commands()
    hooks: Hooks = Hooks()
    bundles: Bundles = Bundles()
    install: Install = Install()
    drift: Drift = Drift()
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
    def wire_log_path(self) -> Path:
        """The trace of downloads, by the original's name (AG-C14)."""
        return Path(self.log_dir) / f"{self.program_name}.aws_wire.log"

    @property
    def pid_path(self) -> Path:
        return Path(self.pid_dir) / f"{self.program_name}.pid"

    @property
    def supervisor_pid_path(self) -> Path:
        """Of what `ferryman-agent start` leaves behind."""
        return Path(self.pid_dir) / f"{self.program_name}.supervisor.pid"
