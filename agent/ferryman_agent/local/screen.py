"""What people see of a local deployment, as it goes on; the only place of it that prints."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from ferryman_agent.core.facts import EventFinished, EventStarted, Fact
from ferryman_agent.core.messages import EventStatus, Segment
from ferryman_agent.runtime.live_lines import Lines


class Screen:
    """Lines on standard output, mistakes on standard error; with `as_json` one document instead of the lines.

    A reader that goes away (`| head`) must not end a deployment: from then on nothing is printed.
    """

    def __init__(
        self, *, quiet: bool, as_json: bool, out: TextIO | None = None, err: TextIO | None = None
    ) -> None:
        self._quiet = quiet
        self._as_json = as_json
        self._out = out or sys.stdout
        self._err = err or sys.stderr
        self._document: dict[str, object] = {}
        self._events: list[dict[str, object]] = []

    def begins(self, segment: Segment, *, revision: str, folder: Path) -> None:
        """Says what is about to be done, and where its files go (AG-476)."""
        deployment = segment.deployment
        self._document |= {
            "deploymentId": deployment.deployment_id,
            "deploymentGroupId": deployment.deployment_group_id,
            "revision": revision,
            "folder": str(folder),
        }
        group = deployment.deployment_group_id
        self._say(f"Deployment {deployment.deployment_id} of {revision} in deployment group {group}")
        self._say(f"Folder: {folder}")
        self._say(f"Events: {', '.join(segment.lifecycle_events)}")

    def fact(self, fact: Fact) -> None:
        """Says what happened."""
        match fact:
            case EventStarted(lifecycle_event=name):
                self._say(f"{name}")
            case EventFinished():
                self._finished(fact)
            case _:
                pass

    def script(self, name: str) -> None:
        """Says which script starts."""
        self._say(f"  {name}")

    def lines(self, lines: Lines) -> None:
        """Shows what a script prints (AG-506)."""
        if self._quiet or self._as_json:
            return
        if lines.dropped:
            self._write(self._out, f"    … {lines.dropped} lines are left out here, the log has them\n")
        self._write(self._out, "".join(f"    [{line.stream}]{line.text}\n" for line in lines.lines))

    def warn(self, text: str) -> None:
        """Says what needs attention and stops nothing."""
        self._write(self._err, f"warning: {plain(text)}\n")

    def failed_script(self, path: Path) -> None:
        """Names the script that failed, in full (AG-503)."""
        self._document["failedScript"] = str(path)
        if not self._as_json:
            self._write(self._err, f"failed script: {plain(str(path))}\n")

    def ends(self, deployment_id: str, status: EventStatus, log: Path) -> None:
        """Says how it ended and where the script log is (AG-476, AG-503)."""
        words = {EventStatus.SUCCEEDED: "succeeded", EventStatus.FAILED: "failed"}
        said = f"Deployment {deployment_id} {words.get(status, 'was stopped')}"
        self._say(f"Log: {log}")
        if status is EventStatus.SUCCEEDED:
            self._say(said)
        elif not self._as_json:
            self._write(self._err, f"{said}\n")
        self._document |= {"status": status.value, "events": self._events, "log": str(log)}
        self.document(self._document)

    def document(self, content: Mapping[str, object]) -> None:
        """Prints the one JSON document, where one was asked for."""
        if self._as_json:
            self._write(self._out, json.dumps(content, indent=2) + "\n")

    def text(self, text: str) -> None:
        """Prints lines of a plan."""
        self._say(text)

    def _finished(self, fact: EventFinished) -> None:
        found = fact.diagnostics
        entry: dict[str, object] = {"lifecycleEvent": fact.lifecycle_event, "status": fact.status.value}
        entry |= {"durationMs": found.duration_ms, "message": found.message}
        if fact.status is EventStatus.FAILED:
            entry |= {"errorCode": int(found.error_code), "scriptName": found.script_name}
        self._events.append(entry)
        if fact.status is EventStatus.SUCCEEDED:
            more = found.message.removeprefix("Succeeded").lstrip(": ")
            return self._say(
                f"  {fact.status} in {found.duration_ms / 1000:.3f} s{f': {more}' if more else ''}"
            )
        if not self._as_json:
            what = f"{fact.lifecycle_event} {fact.status.value.lower()} (code {int(found.error_code)})"
            self._write(self._err, f"{what}: {plain(found.message)}\n")
        return None

    def _say(self, text: str) -> None:
        if not self._as_json:
            self._write(self._out, f"{plain(text)}\n")

    def _write(self, stream: TextIO, text: str) -> None:
        try:
            stream.write(text)
            stream.flush()
        except OSError:
            # What is still in its buffer must have a place to go, or the interpreter complains at its end.
            with open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), stream.fileno())


def plain(text: str) -> str:
    """Control characters but line ends made visible: names of files may hold what a terminal obeys."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char == "\n" else repr(char)[1:-1] for char in text)
