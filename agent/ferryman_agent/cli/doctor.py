"""`ferryman-agent doctor`: looks at everything that a deployment needs, without changing anything (AG-543)."""

from __future__ import annotations

import contextlib
import json
import shutil
import stat
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ferryman_agent.config import Config, Loaded, load, parse
from ferryman_agent.core.checkup import (
    DirectoryFacts,
    DiskFacts,
    Finding,
    IdentityFacts,
    MachineFacts,
    ToolFacts,
    Verdict,
    findings,
)
from ferryman_agent.errors import ConfigError, IdentityError
from ferryman_agent.host import external_identity, identity, instance, privileges, reach, told, trust
from ferryman_agent.host.identity import Identity
from ferryman_agent.runtime.proxies import to_coordinator
from ferryman_agent.system import fs, own, pwd

_WIDEST = {"root_dir": 0o755, "log_dir": 0o755, "pid_dir": 0o755, "state_dir": 0o700}


def examine(path: Path | None, environment: Mapping[str, str]) -> tuple[Finding, ...]:
    """Returns what was found, whatever is broken or missing."""
    try:
        loaded, problem = load(path, environment), ""
        # What the agent may do is what counts, not what root may.
        privileges.become(loaded.config.user, loaded.config.group, [])
    except ConfigError as error:
        loaded, problem = parse(b"", "defaults", environment), str(error)
    return findings(_facts(loaded, problem))


def is_well(found: Iterable[Finding]) -> bool:
    """Whether nothing keeps the agent from its work; warnings do not."""
    return all(finding.verdict is not Verdict.FAIL for finding in found)


def as_json(found: tuple[Finding, ...]) -> str:
    """Stable names: `ok`, and `checks` with `check`, `verdict`, `message` and `fix`."""
    checks = [
        {"check": each.check, "verdict": each.verdict.value, "message": each.message, "fix": each.fix or None}
        for each in found
    ]
    return json.dumps({"ok": is_well(found), "checks": checks}, indent=2)


def as_text(found: tuple[Finding, ...]) -> str:
    """One line for each finding, and what to do below those that are not well."""
    return "\n".join(_lines(found))


def _lines(found: tuple[Finding, ...]) -> Iterator[str]:
    for each in found:
        first, *rest = each.message.splitlines()
        yield f"{each.verdict:<5} {each.check:<14} {first}"
        yield from (f"{'':<21}{line}" for line in rest)
        if each.fix:
            yield f"{'':<20} -> {each.fix}"


def _facts(loaded: Loaded, problem: str) -> MachineFacts:
    config = loaded.config
    known, who = _identity(config.identity_path)
    external = external_identity.look(Path(config.coordinator.on_premises_file))
    is_running, told = _agent(config)
    downloads = config.proxy.downloads
    return MachineFacts(
        now=round(time.time() * 1000),
        config=str(loaded.path or ""),
        config_problem=problem,
        config_warnings=loaded.warnings,
        identity=who,
        identity_file=_about(external),
        identity_file_problem=external.problem or "",
        reach=reach.try_coordinator(known, to_coordinator(config, known.host)) if known else None,
        downloads_proxy=reach.try_proxy(downloads) if downloads else None,
        clock_skew_ms=(told.get("link") or {}).get("clock_skew_ms"),
        is_running=is_running,
        runs_as_user=_user_name(),
        directories=tuple(_directories(config)),
        disks=tuple(_disks(config)),
        tools=tuple(_tools()),
    )


def _identity(path: Path) -> tuple[Identity | None, IdentityFacts]:
    try:
        known = identity.load(path)
    except IdentityError as error:
        return None, IdentityFacts(problem=str(error))
    return known, IdentityFacts(
        name=known.instance_name,
        instance_id=known.instance_id,
        address=known.address,
        issued_at=known.issued_at,
        expires_at=known.expires_at,
    )


def _about(external: external_identity.ExternalIdentity) -> str:
    if external.found is None:
        return ""
    return f"{external.path}: {external.host_identifier or external.name}"


def _agent(config: Config) -> tuple[bool | None, dict[str, Any]]:
    try:
        holder = instance.find(config.pid_path)
        return holder is not None, told.read(config.status_path, holder.pid if holder else 0)
    except OSError:
        return None, {}


def _directories(config: Config) -> Iterator[DirectoryFacts]:
    for setting, widest in _WIDEST.items():
        path = Path(getattr(config, setting))
        remark = next(iter(trust.remarks([(setting, path)])), "")
        try:
            found = fs.stat(path)
        except FileNotFoundError:
            above = next(folder for folder in path.parents if folder.exists())
            can_be_made = above.is_dir() and fs.access(above, fs.W_OK | fs.X_OK)
            problem = "" if can_be_made else f"is not there, and {above} does not let it be made"
            yield DirectoryFacts(setting=setting, path=str(path), problem=problem, remark=remark)
            continue
        except OSError as error:
            yield DirectoryFacts(setting=setting, path=str(path), problem=error.strerror or str(error))
            continue
        yield DirectoryFacts(
            setting=setting,
            path=str(path),
            mode=stat.S_IMODE(found.st_mode),
            widest_mode=widest,
            is_writable=fs.access(path, fs.W_OK | fs.X_OK),
            problem="" if stat.S_ISDIR(found.st_mode) else "is no directory",
            remark=remark,
        )


def _disks(config: Config) -> Iterator[DiskFacts]:
    seen = set()
    wanted = {
        config.root_dir: int(config.bundles.min_free_disk),
        config.state_dir: 16 << 20,
        config.log_dir: 16 << 20,
    }
    for name, bytes_wanted in wanted.items():
        path = next(folder for folder in (Path(name), *Path(name).parents) if folder.exists())
        try:
            device, found = fs.stat(path).st_dev, fs.statvfs(path)
        except OSError:
            continue
        if device not in seen:
            seen.add(device)
            yield DiskFacts(
                path=str(path),
                free_bytes=found.f_bavail * found.f_frsize,
                wanted_bytes=bytes_wanted,
                inodes_free=found.f_favail,
                inodes_total=found.f_files,
                is_read_only=bool(found.f_flag & fs.ST_RDONLY),
            )


def _tools() -> Iterator[ToolFacts]:
    if not own.HAS_POSIX_TOOLS:
        return
    has_selinux = Path("/sys/fs/selinux/enforce").exists()
    yield ToolFacts(
        name="semanage",
        is_there=shutil.which("semanage") is not None,
        is_wanted=has_selinux,
        purpose="contexts in an AppSpec's permissions cannot be set",
    )
    yield ToolFacts(
        name="setpriv",
        is_there=shutil.which("setpriv") is not None,
        is_wanted=fs.geteuid() == 0,
        purpose="scripts with runas start a little slower",
    )
    yield ToolFacts(
        name="cgroup v2",
        is_there=_is_in_a_control_group(),
        is_wanted=True,
        purpose="limits of scripts and what they use cannot be had",
    )


def _is_in_a_control_group() -> bool:
    """Whether there is version 2, beside version 1 or alone; it may be mounted anywhere."""
    with contextlib.suppress(OSError):
        return "\n0::" in "\n" + Path("/proc/self/cgroup").read_text(encoding="utf-8", errors="replace")
    return False


def _user_name() -> str:
    try:
        return pwd.getpwuid(fs.geteuid()).pw_name
    except KeyError:
        return str(fs.geteuid())
