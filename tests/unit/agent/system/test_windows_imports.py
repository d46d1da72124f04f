"""The agent is loaded as on Windows, and only one place asks which system it is on."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import ferryman_agent

AGENT = Path(ferryman_agent.__file__).parent
CHOOSERS = {
    "hooks/native.py",
    "hooks/native_processes.py",
    "cli/native_service.py",
    "system/__init__.py",
    "system/posix.py",  # Linux among the POSIX systems
}

AS_ON_WINDOWS = """
import sys
# What a Windows Python does not have. The standard library and the libraries are loaded before, as on Linux.
import asyncio, argparse, concurrent.futures, contextlib, ctypes, email.message, getpass, http.client
import importlib.metadata, ipaddress, json, logging, multiprocessing, pathlib, platform, queue, random, shutil, signal
import socket, ssl, subprocess, tarfile, tempfile, threading, urllib.request, uuid, zipfile
import cryptography.x509, google.protobuf, grpc, grpc.aio, msgspec, structlog, yaml
import os
missing = ("fcntl", "grp", "pwd", "resource", "termios", "pty", "tty", "syslog", "uvloop")
for name in missing:
    sys.modules[name] = None
for name in (
    "O_NOFOLLOW O_DIRECTORY O_CLOEXEC O_NONBLOCK O_PATH ST_NOEXEC ST_RDONLY fork geteuid getegid getuid getgid"
    " getgroups getgrouplist statvfs fchmod fchown chown lchown uname sysconf pread pwrite mkfifo sync fdatasync"
    " setxattr getxattr listxattr removexattr copy_file_range memfd_create pidfd_open waitid wait4 killpg getpgrp"
    " setsid pipe2 setpriority initgroups setuid setgid P_PID WEXITED"
).split():
    if hasattr(os, name):
        delattr(os, name)
for name in ("SIGKILL", "SIGHUP", "SIGQUIT", "SIGCHLD"):
    delattr(signal, name)
sys.platform = "win32"
import importlib, pkgutil
import ferryman_agent.process, ferryman_agent.cli.main, ferryman_agent.local.run, ferryman_agent.bundles.child
from ferryman_agent import system
assert system.fs.__name__ == "ferryman_agent.system.windows_fs", system.fs
only_posix = {
    "ferryman_agent.hooks.ending", "ferryman_agent.hooks.follow", "ferryman_agent.hooks.posix",
    "ferryman_agent.host.supervisor", "ferryman_agent.system.posix",
}
for module in pkgutil.walk_packages(ferryman_agent.__path__, "ferryman_agent."):
    if module.name not in only_posix:
        importlib.import_module(module.name)
from ferryman_agent.hooks import native
from ferryman_agent.cli.native_service import Service
print(native.start.__module__, native.end.__module__, native.Follower.__module__, Service.__name__)
"""


def test_every_module_of_the_agent_loads_without_what_only_posix_has() -> None:
    done = subprocess.run(
        [sys.executable, "-c", AS_ON_WINDOWS],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        timeout=60,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == [
        "ferryman_agent.hooks.windows",
        "ferryman_agent.hooks.windows_ending",
        "ferryman_agent.hooks.windows_follow",
        "WindowsService",
    ]


def test_nobody_else_asks_which_system_it_is() -> None:
    asks = re.compile(r"sys\.platform|os\.name\b|platform\.system\(")
    found = {
        str(path.relative_to(AGENT)) for path in AGENT.rglob("*.py") if asks.search(path.read_text("utf-8"))
    }
    assert found == CHOOSERS


def _public(path: str) -> set[str]:
    source = (AGENT / path).read_text("utf-8")
    return set(re.findall(r"^(?:def|class) ([A-Za-z]\w*)", source, re.MULTILINE)) | set(
        re.findall(r"^([A-Z][A-Z_]+)(?:: [^=]+)? = ", source, re.MULTILINE)
    )


def test_both_systems_have_the_same_names() -> None:
    assert _public("system/posix.py") - {"DEFAULT_PATH"} == _public("system/windows.py") - {"deliver"}


def test_what_is_asked_of_the_system_is_there_on_windows() -> None:
    has = set(re.findall(r"\b(\w+)\b", AGENT.joinpath("system/windows_fs.py").read_text("utf-8")))
    missing = {
        f"{path.relative_to(AGENT)}: {name}"
        for path in AGENT.rglob("*.py")
        for name in re.findall(r"\bfs\.(\w+)", path.read_text("utf-8"))
        if name not in has
    }
    assert missing == set()
