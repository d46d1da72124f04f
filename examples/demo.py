#!/usr/bin/env python3
"""Shows Ferryman at work on this machine: a coordinator, three agents, a good version, a broken one, a rollback.

Everything lives in one temporary directory and ends with the demo. With `--keep` it goes on running until Ctrl-C.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
COMMANDS = Path(sys.executable).parent
EXAMPLE = REPOSITORY / "examples" / "web"
AGENTS = ("web-1", "web-2", "web-3")
READY_SECONDS = 60


class DemoFailed(Exception):
    """Something did not go as it should; the message says what."""


class Demo:
    """The processes of the demo and the directory that they live in."""

    def __init__(self, home: Path, processes: contextlib.ExitStack) -> None:
        self.home = home
        self.processes = processes
        self.environ: dict[str, str] = {**os.environ, "XDG_CONFIG_HOME": str(home / "config")}

    def start_coordinator(self) -> None:
        """Starts it on free ports and points the command line at it."""
        command = ["ferryman-coordinator", "serve", "--data-dir", str(self.home / "coordinator")]
        command += ["--grpc-listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"]
        ready = json.loads(self._start("coordinator", command, first_line=True))
        data = Path(ready["data_dir"])
        self.environ |= {
            "FERRYMAN_COORDINATOR": ready["grpc"],
            "FERRYMAN_CA": str(data / "ca.pem"),
            "FERRYMAN_TOKEN": (data / "admin.token").read_text().strip(),
        }

    def start_agent(self, name: str, token: str) -> None:
        """Enrols an agent with files and an install root of its own, and starts it."""
        home = self.home / name
        home.mkdir()
        (home / "install").mkdir()
        config = home / "agent.yml"
        config.write_text(f"install:\n  root: {home / 'install'}\n")
        environ = {"FERRYMAN_AGENT_HOME": str(home)}
        enroll = ["ferryman-agent", "enroll", "--coordinator", self.environ["FERRYMAN_COORDINATOR"]]
        enroll += ["--token", token, "--instance-name", name, "--tag", "app=web", "--config", str(config)]
        self._run(enroll, environ)
        self._start(name, ["ferryman-agent", "run", "--config", str(config)], environ)

    def ferryman(self, *arguments: str, expect: int = 0) -> None:
        """Runs the command line where everybody can see it; raises DemoFailed at another exit code."""
        shown = [argument.replace(str(REPOSITORY) + "/", "") for argument in arguments]
        print(f"\n\033[1m$ ferryman {' '.join(shown)}\033[0m", flush=True)
        code = subprocess.call([COMMANDS / "ferryman", *arguments], env=self.environ)
        if code != expect:
            raise DemoFailed(f"`ferryman {' '.join(shown)}` ended with {code}, not {expect}")

    def ask(self, *arguments: str) -> Any:
        """Returns the JSON answer of a command."""
        return json.loads(self._run(["ferryman", *arguments, "--json"], {}))

    def wait_for_instances(self) -> None:
        """Returns once every agent is connected; raises DemoFailed after a while."""
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            if sum(instance["isConnected"] for instance in self.ask("instance", "list")) == len(AGENTS):
                return
            time.sleep(0.1)
        raise DemoFailed(
            f"not all of {', '.join(AGENTS)} connected within {READY_SECONDS} s; see {self.home}"
        )

    def pages(self) -> Mapping[str, str]:
        """Returns the heading that each instance's web server shows."""
        headings = {}
        for name in AGENTS:
            port = (self.home / name / "install/srv/web/port").read_text()
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
                body = answer.read().decode()
            headings[name] = body.partition("<h1>")[2].partition("</h1>")[0]
            print(f"  {name}  http://127.0.0.1:{port}/  {headings[name]}")
        return headings

    def _run(self, command: list[str], environ: Mapping[str, str]) -> str:
        done = subprocess.run(
            [COMMANDS / command[0], *command[1:]],
            env={**self.environ, **environ},
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            raise DemoFailed(
                f"`{' '.join(command[:3])}` ended with {done.returncode}: {done.stderr or done.stdout}"
            )
        return done.stdout

    def _start(
        self,
        name: str,
        command: list[str],
        environ: Mapping[str, str] | None = None,
        *,
        first_line: bool = False,
    ) -> str:
        log = (self.home / f"{name}.log").open("w")
        process: subprocess.Popen[str] = subprocess.Popen(
            [COMMANDS / command[0], *command[1:]],
            env={**self.environ, **(environ or {})},
            stdout=subprocess.PIPE if first_line else log,
            stderr=log,
            text=True,
        )
        log.close()
        self.processes.callback(_end, process)
        if not first_line:
            return ""
        assert process.stdout is not None
        if line := process.stdout.readline():
            return line
        raise DemoFailed(f"{name} did not start: {(self.home / f'{name}.log').read_text()}")


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _end_web_servers(home: Path) -> None:
    for file in home.glob("*/install/srv/web/pid"):
        with contextlib.suppress(ProcessLookupError, ValueError):
            os.kill(int(file.read_text()), signal.SIGTERM)


def _check(found: Mapping[str, str], wanted: str) -> None:
    if set(found.values()) != {wanted}:
        raise DemoFailed(f"every instance should show '{wanted}'")


def _say(text: str) -> None:
    print(f"\n\033[36m# {text}\033[0m", flush=True)


@contextlib.contextmanager
def _home() -> Iterator[Demo]:
    with (
        tempfile.TemporaryDirectory(prefix="ferryman-demo-") as directory,
        contextlib.ExitStack() as processes,
    ):
        processes.callback(_end_web_servers, Path(directory))
        yield Demo(Path(directory), processes)


def show(demo: Demo) -> None:
    """Goes through the story; raises DemoFailed where it does not go as it should."""
    _say("A coordinator and three agents start on this machine.")
    demo.start_coordinator()
    token = demo.ask("token", "create", "--join", "--uses", str(len(AGENTS)))["token"]
    for name in AGENTS:
        demo.start_agent(name, token)
    demo.wait_for_instances()
    demo.ferryman("instance", "list")

    _say("A web application, deployed one instance at a time; a failure is rolled back.")
    where = ("--application", "web", "--group", "production")
    demo.ferryman("application", "create", "web")
    options = ("--tag", "app=web", "--config", "CodeDeployDefault.OneAtATime", "--rollback-on", "failure")
    demo.ferryman("group", "create", "production", "--application", "web", *options)
    demo.ferryman("deploy", *where, "--source", str(EXAMPLE / "app"), "--description", "version 1", "--wait")
    _check(demo.pages(), "Version 1")

    _say("The next version has a mistake in its page. ValidateService finds it on the first instance.")
    broken = demo.home / "broken"
    shutil.copytree(EXAMPLE / "app", broken)
    shutil.copy(EXAMPLE / "broken" / "page.html", broken)
    demo.ferryman("deploy", *where, "--source", str(broken), "--description", "version 2", "--wait", expect=1)

    _say("The rollback has started by itself. It ends with every instance on the last good version.")
    newest = demo.ask("deployment", "list", "--application", "web", "--group", "production")[0]
    demo.ferryman("deployment", "watch", newest["deploymentId"])
    demo.ferryman("deployment", "list", "--application", "web", "--group", "production")
    _check(demo.pages(), "Version 1")


def main() -> int:
    """Returns 0 when all went as it should."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave everything running until Ctrl-C")
    keep = parser.parse_args().keep
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with _home() as demo:
        try:
            show(demo)
            if keep:
                _say("Everything runs. Use it with these, and end it with Ctrl-C:")
                for name in ("FERRYMAN_COORDINATOR", "FERRYMAN_CA", "FERRYMAN_TOKEN"):
                    print(f"export {name}={demo.environ[name]}")
                signal.pause()
        except DemoFailed as problem:
            print(f"\nThe demo failed: {problem}", file=sys.stderr)
            for log in sorted(demo.home.glob("*.log")):
                print(f"--- {log.name}\n{log.read_text()[-4000:]}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            pass
    print("\nAll processes have ended and all files are gone.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
