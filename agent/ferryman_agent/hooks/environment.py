"""Whom a script runs as, and the variables it sees (AG 11.2 and 11.4, V2-230 to V2-234).

`su` and `sudo` are never called. `sudo: true` in an AppSpec file therefore means what sudo would have brought: without
`runas` the script runs as root, which is the agent's own user already or refused; with `runas` it changes nothing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ferryman_agent.core.messages import RevisionSource, ScriptErrorCode
from ferryman_agent.hooks.contract import HookRun, HookSettings, Script, ScriptCwd
from ferryman_agent.system import fs, own, pwd

# Names the agent's service, its tools or a cloud's libraries may have in our environment and no script may see.
_SECRETS = re.compile(
    r"FERRYMAN_.*"
    r"|AWS_(ACCESS_KEY_ID|SECRET_ACCESS_KEY|SESSION_TOKEN|SECURITY_TOKEN|CREDENTIAL_FILE|SHARED_CREDENTIALS_FILE"
    r"|CONTAINER_.*|WEB_IDENTITY_TOKEN_FILE)"
    r"|NOTIFY_SOCKET|WATCHDOG_(PID|USEC)|LISTEN_(FDS|PID|FDNAMES)|CREDENTIALS_DIRECTORY|JOURNAL_STREAM|INVOCATION_ID"
    r"|.*(SECRET|TOKEN|PASSWORD|PASSWD|PRIVATE_KEY).*",
    re.IGNORECASE,
)
_AGENT_SECRETS = re.compile(
    r"AWS_(ACCESS_KEY_ID|SECRET_ACCESS_KEY|SESSION_TOKEN|SECURITY_TOKEN|CREDENTIAL_FILE)"
)
_LOADER = re.compile(r"(LD|DYLD)_.*|PYTHON.*|BASH_ENV|ENV|IFS|SHELLOPTS|BASHOPTS|BASH_FUNC_.*")
_ROOT = Path("/")
_URL_PASSWORD = re.compile(r"://[^/@\s]+@")


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a script is not started. `message` is the reason alone, to follow "because"."""

    error_code: ScriptErrorCode
    detail_code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A user of this machine. `is_switch` says that it is another one than the agent's."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str
    login_shell: str
    is_switch: bool


def account_for(script: Script) -> Account | Refusal:
    """Look up whom a script runs as; may ask a directory service, and block for it."""
    name = (script.runas or "").strip()
    own_uid = fs.geteuid()
    if not name:
        if script.sudo and own_uid != 0:
            return _refuse(
                "SUDO_NEEDS_ROOT",
                f"{script.location} asks for sudo, and the agent runs as user {own_account().name}, who is not root:"
                " Ferryman never calls sudo. Run the agent as root, or take 'sudo' out of the AppSpec file",
            )
        return own_account()
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return _refuse(
            "RUNAS_UNKNOWN_USER", f"{script.location} shall run as {name!r}, and there is no such user"
        )
    if own_uid not in (0, entry.pw_uid):
        return _refuse(
            "RUNAS_NEEDS_ROOT",
            f"{script.location} shall run as {name!r}, and only an agent that runs as root can change users:"
            f" this one runs as {own_account().name!r}",
        )
    return _account(entry, is_switch=entry.pw_uid != own_uid)


def variables(run: HookRun, account: Account, settings: HookSettings) -> dict[str, str] | Refusal:
    """The whole environment of one script.

    Refused when a value from the deployment holds a newline or NUL (AG-385): scripts would see another value.
    """
    deployment = run.deployment
    ours = {
        "APPLICATION_NAME": deployment.application_name,
        "DEPLOYMENT_ID": deployment.deployment_id,
        "DEPLOYMENT_GROUP_NAME": deployment.deployment_group_name,
        "DEPLOYMENT_GROUP_ID": deployment.deployment_group_id,
        "LIFECYCLE_EVENT": run.lifecycle_event,
        "FERRYMAN_REVISION_DIR": str(run.archive),
        "FERRYMAN_DEPLOYMENT_DIR": str(run.deployment_dir.path),
        "FERRYMAN_ROOT_DIR": str(run.root),
        "FERRYMAN_INSTALL_ROOT": settings.install_root,
        **_of_revision(deployment.revision),
    }
    if run.previous_archive is not None:
        ours["FERRYMAN_PREVIOUS_REVISION_DIR"] = str(run.previous_archive)
    for name, value in ours.items():
        if "\n" in value or "\0" in value:
            return Refusal(
                error_code=ScriptErrorCode.UNKNOWN_ERROR,
                detail_code="HOOK_VARIABLE_REFUSED",
                message=f"the value of {name} for the scripts holds a newline or NUL: {value!r}",
            )
    own_variables = own.script_variables((account.name, account.home, account.login_shell))
    found: dict[str, str] = {}
    if settings.pass_agent_env:
        found |= {name: value for name, value in os.environ.items() if not _is_secret(name, value)}
    found |= own_variables | ours
    return _without_forbidden(found, settings)


def _of_revision(source: RevisionSource) -> dict[str, str]:
    """What says which object or commit it is; what was not named has no variable (AG-380, AG-386, PF-295)."""
    found: dict[str, str] = {}
    if source.s3 is not None:
        found = {
            "BUNDLE_BUCKET": source.s3.bucket,
            "BUNDLE_KEY": source.s3.key,
            "BUNDLE_VERSION": source.s3.version,
            "BUNDLE_ETAG": source.s3.etag,
        }
    elif source.github is not None:
        found = {"BUNDLE_COMMIT": source.github.commit_id}
    return {name: value for name, value in found.items() if value}


def directory(run: HookRun, settings: HookSettings) -> Path:
    """Where a script starts (AG-387)."""
    match settings.script_cwd:
        case ScriptCwd.ROOT:
            return _ROOT
        case ScriptCwd.AGENT:
            return Path.cwd()
        case ScriptCwd.ARCHIVE:
            return run.archive


def _without_forbidden(found: Mapping[str, str], settings: HookSettings) -> dict[str, str]:
    # Last of all, whatever put them there (V2-231, V2-234).
    return {
        name: value
        for name, value in found.items()
        if not _AGENT_SECRETS.fullmatch(name)
        and not (settings.strip_loader_variables and _LOADER.fullmatch(name))
    }


def _is_secret(name: str, value: str) -> bool:
    is_proxy = name.lower().endswith("_proxy")
    return bool(_SECRETS.fullmatch(name)) or (is_proxy and bool(_URL_PASSWORD.search(value)))


def own_account() -> Account:
    """The user that the agent runs as."""
    uid = fs.geteuid()
    try:
        return _account(pwd.getpwuid(uid), is_switch=False)
    except KeyError:
        # Containers often run under a number without a name.
        home = os.environ.get("HOME") or "/"
        return Account(
            name=str(uid),
            uid=uid,
            gid=fs.getegid(),
            groups=(),
            home=home,
            login_shell="/bin/sh",
            is_switch=False,
        )


def _account(entry: pwd.struct_passwd, *, is_switch: bool) -> Account:
    groups = fs.getgrouplist(entry.pw_name, entry.pw_gid) if is_switch else fs.getgroups()
    return Account(
        name=entry.pw_name,
        uid=entry.pw_uid,
        gid=entry.pw_gid,
        groups=tuple(groups),
        home=entry.pw_dir or "/",
        login_shell=entry.pw_shell or "/bin/sh",
        is_switch=is_switch,
    )


def _refuse(detail_code: str, message: str) -> Refusal:
    return Refusal(error_code=ScriptErrorCode.SCRIPT_FAILED, detail_code=detail_code, message=message)
