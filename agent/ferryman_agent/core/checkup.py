"""What `doctor` makes of the facts of a machine: one finding for each subject, and what to do about it (AG-543)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from ferryman_agent.core import clocks

_DAY_MS = 86_400_000
_MIB = 1 << 20
_FEW_INODES = 1_000


class Verdict(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Hurdle(StrEnum):
    """Where the way to the coordinator ends."""

    NONE = ""
    NAME = "name"
    PROXY = "proxy"
    CONNECTION = "connection"
    TRUST = "trust"
    IDENTITY = "identity"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """`fix` is what to do; empty where all is well."""

    check: str
    verdict: Verdict
    message: str
    fix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityFacts:
    """Who the agent is. Times are milliseconds since the epoch."""

    problem: str = ""
    name: str = ""
    instance_id: str = ""
    address: str = ""
    issued_at: int = 0
    expires_at: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReachFacts:
    """One try to get to the coordinator; `proxy` is shown without its password, and empty where there is none."""

    address: str
    hurdle: Hurdle = Hurdle.NONE
    detail: str = ""
    tls_version: str = ""
    proxy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryFacts:
    """One of the agent's directories. `remark` says who else could put another one in its place."""

    setting: str
    path: str
    mode: int | None = None
    widest_mode: int = 0o755
    is_writable: bool = True
    problem: str = ""
    remark: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskFacts:
    """The file system that holds `path`. `inodes_total` is 0 where there is no such limit."""

    path: str
    free_bytes: int
    wanted_bytes: int
    inodes_free: int = 0
    inodes_total: int = 0
    is_read_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolFacts:
    """A program or a part of the system that some deployments need."""

    name: str
    is_there: bool
    is_wanted: bool
    purpose: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineFacts:
    """Everything that is looked at. `config_problem` leaves the defaults in the other facts."""

    now: int
    config: str = ""
    config_problem: str = ""
    config_warnings: tuple[str, ...] = ()
    identity: IdentityFacts = IdentityFacts()
    identity_file: str = ""
    identity_file_problem: str = ""
    reach: ReachFacts | None = None
    downloads_proxy: ReachFacts | None = None
    clock_skew_ms: int | None = None
    is_running: bool | None = None
    runs_as_user: str = ""
    directories: tuple[DirectoryFacts, ...] = ()
    disks: tuple[DiskFacts, ...] = ()
    tools: tuple[ToolFacts, ...] = ()


def findings(facts: MachineFacts) -> tuple[Finding, ...]:
    """Returns what was found, in the order in which it is best put right."""
    checks = (
        _configuration,
        _directories,
        _disks,
        _clock,
        _identity,
        _identity_file,
        _reach,
        _proxy,
        _agent,
        _tools,
    )
    return tuple(finding for check in checks for finding in check(facts))


def _configuration(facts: MachineFacts) -> Iterator[Finding]:
    if facts.config_problem:
        yield _fail(
            "configuration",
            facts.config_problem,
            "correct the lines that are named; the agent does not start",
        )
        return
    for warning in facts.config_warnings:
        yield _warn("configuration", warning, "correct or remove it")
    if not facts.config_warnings:
        yield _ok("configuration", facts.config or "there is no file, so all settings have their defaults")


def _directories(facts: MachineFacts) -> Iterator[Finding]:
    for each in facts.directories:
        check, place = "directories", f"{each.setting} {each.path}"
        if each.problem:
            yield _fail(
                check, f"{place}: {each.problem}", f"make it, or set {each.setting} to one that can be made"
            )
        elif not each.is_writable:
            fix = f"run `chown {facts.runs_as_user} {each.path}`, or this command as the agent's user"
            yield _fail(check, f"{place} cannot be written to", fix)
        elif each.remark:
            yield _warn(check, each.remark, "take the right to write there away from others")
        elif each.mode is not None and each.mode & ~each.widest_mode:
            fix = f"run `chmod {each.widest_mode:04o} {each.path}`"
            yield _warn(check, f"{place} is open to others (mode {each.mode:04o})", fix)
        elif each.mode is None:
            yield _ok(check, f"{place} is not there yet and can be made")
        else:
            yield _ok(check, f"{place} (mode {each.mode:04o})")


def _disks(facts: MachineFacts) -> Iterator[Finding]:
    for each in facts.disks:
        free = f"{each.free_bytes // _MIB} MiB free at {each.path}"
        if each.is_read_only:
            yield _fail(
                "disk", f"{each.path} is mounted read-only", "look for disk errors in the kernel's log"
            )
        elif each.free_bytes < each.wanted_bytes:
            fix = f"free some space, or lower bundles.min_free_disk or bundles.max_revisions; {_WHERE_SPACE_GOES}"
            yield _fail(
                "disk", f"{free}, less than the {each.wanted_bytes // _MIB} MiB that a deployment leaves", fix
            )
        elif each.inodes_total and each.inodes_free < _FEW_INODES:
            yield _fail(
                "disk", f"{each.inodes_free} files can still be made at {each.path}", "remove small files"
            )
        elif each.free_bytes < 4 * each.wanted_bytes:
            yield _warn("disk", free, _WHERE_SPACE_GOES)
        else:
            yield _ok("disk", free)


_WHERE_SPACE_GOES = "`ferryman-agent history` shows what the kept revisions take"


def _clock(facts: MachineFacts) -> Iterator[Finding]:
    fix = "set the clock by a time service, such as chrony"
    remark = clocks.remark(facts.clock_skew_ms)
    issued = facts.identity.issued_at
    if remark:
        is_wrong = clocks.Clocks.of(facts.clock_skew_ms) is clocks.Clocks.CONTRADICT
        yield (_fail if is_wrong else _warn)("clock", remark, fix)
    elif issued and facts.now < issued - clocks.WARN_MS:
        yield _fail("clock", "this machine's clock is before the day on which its certificate was made", fix)
    elif facts.clock_skew_ms is None:
        yield _ok("clock", "plausible; it is compared with the coordinator's once the agent is connected")
    else:
        yield _ok("clock", f"{abs(facts.clock_skew_ms)} ms from the coordinator's")


def _identity(facts: MachineFacts) -> Iterator[Finding]:
    known = facts.identity
    if known.problem:
        fix = "run `ferryman-agent enroll` with a token from `ferryman token create --join`"
        yield _fail("identity", known.problem, fix)
        return
    yield _ok("identity", f"{known.name} ({known.instance_id}) at {known.address}")
    left = known.expires_at - facts.now
    if left <= 0:
        yield _fail(
            "certificate",
            "it has expired, so no coordinator accepts it",
            "enroll again with a new join token",
        )
    elif facts.now > known.issued_at + (known.expires_at - known.issued_at) * 5 // 6:
        message = f"it ends in {left // 3_600_000} h and should have been renewed long ago"
        yield _warn("certificate", message, "start the agent, and see why it is not connected")
    else:
        yield _ok("certificate", f"good for another {left // _DAY_MS} days")


def _identity_file(facts: MachineFacts) -> Iterator[Finding]:
    if facts.identity_file_problem:
        yield _fail("identity file", facts.identity_file_problem, "correct or remove it")
    elif facts.identity_file:
        yield _ok("identity file", facts.identity_file)


_WAYS_OUT = {
    Hurdle.NAME: "check the name, /etc/resolv.conf and that the name server answers",
    Hurdle.PROXY: "check proxy.coordinator and proxy.no_proxy, and that the proxy lets CONNECT through to this port",
    Hurdle.CONNECTION: "check that the coordinator runs and that firewalls let this machine through to that port",
    Hurdle.TRUST: (
        "check the clock, and that nothing in between opens TLS; a coordinator with a new CA needs `enroll --force`"
    ),
    Hurdle.IDENTITY: "see `ferryman instance show`: a deregistered instance enrolls again, with `enroll --force`",
}


def _reach(facts: MachineFacts) -> Iterator[Finding]:
    reach = facts.reach
    if reach is None:
        yield _warn(
            "coordinator", "no address is known, so none was tried", "enroll, or set coordinator.address"
        )
        return
    through = f" through the proxy {reach.proxy}" if reach.proxy else ""
    if reach.hurdle in (Hurdle.NONE, Hurdle.TRUST, Hurdle.IDENTITY):
        yield _ok("coordinator", f"{reach.address} answers{through}")
    else:
        yield _fail("coordinator", f"{reach.address}{through}: {reach.detail}", _WAYS_OUT[reach.hurdle])
        return
    if reach.hurdle is Hurdle.NONE:
        yield _ok("tls", f"{reach.tls_version}, and both sides accept each other")
    else:
        yield _fail("tls", f"{reach.address}: {reach.detail}", _WAYS_OUT[reach.hurdle])


def _proxy(facts: MachineFacts) -> Iterator[Finding]:
    proxy = facts.downloads_proxy
    if proxy is None:
        return
    if proxy.hurdle is Hurdle.NONE:
        yield _ok("proxy", f"{proxy.proxy}, for downloads, answers")
    else:
        fix = "check proxy.downloads; hosts that need no proxy go into proxy.no_proxy"
        yield _fail("proxy", f"{proxy.proxy}, for downloads: {proxy.detail}", fix)


def _agent(facts: MachineFacts) -> Iterator[Finding]:
    if facts.is_running:
        yield _ok("agent", "is running")
    elif facts.is_running is None:
        yield _warn("agent", "cannot tell whether it is running", "run this command as root")
    else:
        yield _warn("agent", "is not running", "run `ferryman-agent start`, or start its service")


def _tools(facts: MachineFacts) -> Iterator[Finding]:
    for tool in facts.tools:
        if tool.is_there:
            yield _ok("tools", f"{tool.name} is there")
        elif tool.is_wanted:
            yield _warn(
                "tools", f"{tool.name} is missing: {tool.purpose}", f"install what brings {tool.name}"
            )
        else:
            yield _ok("tools", f"{tool.name} is not there and not needed here")


def _ok(check: str, message: str) -> Finding:
    return Finding(check=check, verdict=Verdict.OK, message=message)


def _warn(check: str, message: str, fix: str) -> Finding:
    return Finding(check=check, verdict=Verdict.WARN, message=message, fix=fix)


def _fail(check: str, message: str, fix: str) -> Finding:
    return Finding(check=check, verdict=Verdict.FAIL, message=message, fix=fix)
