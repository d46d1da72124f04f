"""ferryman-agent enroll | run | start | stop | …: arguments, exit codes, and the only place that prints.

What is heavy is imported inside the commands, so that `--version` answers at once.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, NoReturn

from ferryman_agent import lean
from ferryman_agent.errors import AgentError
from ferryman_agent.local.command import is_alias
from ferryman_agent.local.command import main as local_deployment
from ferryman_agent.system import fs

if TYPE_CHECKING:
    from ferryman_agent.cli.native_service import Service

USAGE = 2
NOT_RUNNING = 3
INTERRUPTED = 130
FROM_STDIN = "-"
FOLLOW_SECONDS = 0.5


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point. Ends with SystemExit: 0, 1 for what is refused, 2 for wrong usage; `status` has its own."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    # By its old name, or as a command: local deployments read their arguments themselves (V2-370).
    if is_alias(sys.argv[0]):
        local_deployment(given)
    if "deploy-local" in given[:3]:
        before, after = given[: given.index("deploy-local")], given[given.index("deploy-local") + 1 :]
        if not before or before[0].partition("=")[0] in ("--config", "--config_file"):
            local_deployment([*before, *after], program="ferryman-agent deploy-local")
    options = _read(given)
    if arguments is None and options.command is _run:
        lean.leave_texts_out()
    # gRPC's C core writes its own lines to standard error; what matters comes to us as errors.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    if options.command is not _run:
        _keep_stdout_clean()
    try:
        raise SystemExit(options.command(options))
    except AgentError as error:
        _fail(str(error), getattr(error, "code", 1))
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None


def _read(given: Sequence[str]) -> SimpleNamespace:
    # In a function of its own, since the agent lets go of the module.
    from ferryman_agent.cli import arguments

    return arguments.read(given, ACTIONS)


def _keep_stdout_clean() -> None:
    """What is logged before, or without, `set_up` goes to standard error: scripts read our output as JSON."""
    import structlog

    structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))


def _enroll(options: SimpleNamespace) -> int:
    """Make this machine an instance of a coordinator."""
    from ferryman_agent.cli import enrolling

    is_cloud = bool(options.instance_id or options.provider) or options.kind == "cloud"
    if options.kind == "on-premises" and is_cloud:
        _fail("--instance-id and --provider are for cloud instances: leave --kind on-premises out", USAGE)
    # Without an id, or without a token, only its provider can say who it is.
    is_asked = is_cloud and not (options.instance_id and options.token)
    wishes = enrolling.Wishes(
        token=sys.stdin.readline() if options.token == FROM_STDIN else options.token,
        coordinator=options.coordinator,
        ca_fingerprint=options.ca_fingerprint,
        ca_file=options.ca_file,
        instance_name=options.instance_name,
        tags=tuple(options.tag),
        zone=options.zone,
        provider_instance_id=options.instance_id,
        provider=options.provider or ("aws" if is_asked else ""),
        is_forced=options.force,
        config=options.config,
    )
    print(_plain(enrolling.enroll(wishes, os.environ)))
    return 0


def _run(options: SimpleNamespace) -> int:
    """Run the agent in the foreground until it is stopped."""
    lean.forget("ferryman_agent.cli.arguments", "argparse", "gettext")
    # Before anything that imports structlog, which imports asyncio.
    lean.leave_out()
    lean.load_asyncio_alone()
    _keep_stdout_clean()
    from ferryman_agent import process
    from ferryman_agent.config import Loaded, load

    def read() -> Loaded:
        return load(options.config, os.environ, profile=options.profile)

    loaded = read()
    process.run(loaded.config, loaded.warnings, load_again=read)
    return 0


def _start(options: SimpleNamespace) -> int:
    """Start the agent in the background, where no systemd does, and wait until it is ready."""
    print(_plain(_service(options).start()))
    return 0


def _status(options: SimpleNamespace) -> int:
    """Show what the agent does. Exit code 0: it runs, 3: it does not, 4: that cannot be told."""
    overview = _service(options).overview()
    print(overview.as_json() if options.as_json else _plain(overview.as_text()))
    return 0 if overview.is_running else NOT_RUNNING


def _stop(options: SimpleNamespace) -> int:
    """Stop the agent. Refused while a lifecycle event runs, unless --wait or --force is given."""
    print(_plain(_service(options).stop(wait=options.wait, force=options.force)))
    return 0


def _restart(options: SimpleNamespace) -> int:
    """Stop the agent, as `stop` does, and start it again."""
    print(_plain(_service(options).restart(wait=options.wait, force=options.force)))
    return 0


def _reload(options: SimpleNamespace) -> int:
    """Have the running agent read its configuration again, without a restart. Exit code 7: none is running."""
    print(_plain(_service(options).reload()))
    return 0


def _config(options: SimpleNamespace) -> int:
    """Check the configuration, and show what counts. Exit code 1: the agent would not start with it."""
    from ferryman_agent.cli import showing
    from ferryman_agent.config import load

    loaded = load(options.config, os.environ, profile=options.profile)
    if options.as_json:
        print(showing.as_json(loaded))
    elif options.show:
        print(_plain(showing.as_text(loaded)))
    else:
        place = loaded.path or "no file, so all settings have their defaults"
        print(_plain("\n".join([f"the configuration can be used: {place}", *loaded.warnings])))
    return 0


def _doctor(options: SimpleNamespace) -> int:
    """Look for what keeps this machine from deployments, and say what to do. Exit code 1: something does."""
    from ferryman_agent.cli import doctor

    found = doctor.examine(options.config, os.environ)
    print(doctor.as_json(found) if options.as_json else _plain(doctor.as_text(found)))
    return 0 if doctor.is_well(found) else 1


def _history(options: SimpleNamespace) -> int:
    """List the deployments whose files are on this machine."""
    from ferryman_agent.cli import history
    from ferryman_agent.config import load

    found = history.kept_deployments(load(options.config, os.environ).config)
    print(history.as_json(found) if options.as_json else _plain(history.as_text(found)))
    return 0


def _forget_revision(options: SimpleNamespace) -> int:
    """Forget which revision of a deployment group was the last successful one. Its scripts are not run any more: a way
    past an ApplicationStop that is broken.
    """
    from ferryman_agent.cli import forgetting
    from ferryman_agent.config import load

    print(_plain(forgetting.forget_revision(load(options.config, os.environ).config, options.group)))
    return 0


def _gc(options: SimpleNamespace) -> int:
    """List the deployment groups that have data on this machine, or remove that of one which it has left. The files
    that the group installed stay, unless --uninstall is given. Refused while the group is in use.
    """
    from ferryman_agent.cli import forgetting
    from ferryman_agent.config import load

    config = load(options.config, os.environ).config
    if options.uninstall and not options.group:
        _fail("gc --uninstall needs --remove GROUP, to know whose files", 2)
    if options.group:
        print(_plain(forgetting.remove_group(config, options.group, uninstalls=options.uninstall)))
    else:
        found = forgetting.groups_here(config)
        print(forgetting.as_json(found) if options.as_json else _plain(forgetting.as_text(found)))
    return 0


def _logs(options: SimpleNamespace) -> int:
    """Print what the scripts of a deployment printed."""
    from ferryman_agent.cli import script_logs
    from ferryman_agent.config import load

    def wait() -> bool:
        time.sleep(FOLLOW_SECONDS)
        return True

    path = script_logs.find(load(options.config, os.environ).config, options.deployment)
    try:
        for line in script_logs.lines(path, wait=wait if options.follow else None):
            print("\t".join(map(_plain, line.split("\t"))), flush=options.follow)
    except BrokenPipeError:
        # Whoever read has seen enough; what is left in the buffer must not be written at the end either.
        os.dup2(fs.open(os.devnull, fs.O_WRONLY), sys.stdout.fileno())
    return 0


def _service(options: SimpleNamespace) -> Service:
    from ferryman_agent.cli.native_service import Service

    return Service(options.config, os.environ)


def _fail(message: str, code: int = 1) -> NoReturn:
    print(f"ferryman-agent: {_plain(message)}", file=sys.stderr)
    raise SystemExit(code)


def _plain(text: str) -> str:
    """Control characters but line ends made visible: root reads here what a coordinator says, whoever that is."""
    return "".join(char if char.isprintable() or char == "\n" else repr(char)[1:-1] for char in text)


ACTIONS = {
    "enroll": _enroll,
    "run": _run,
    "start": _start,
    "status": _status,
    "stop": _stop,
    "restart": _restart,
    "reload": _reload,
    "config": _config,
    "doctor": _doctor,
    "history": _history,
    "forget-revision": _forget_revision,
    "gc": _gc,
    "logs": _logs,
}


if __name__ == "__main__":
    main()
