"""`ferryman lint`, and the check that push and deploy make first."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from ferryman.appspec import AppSpec, EntryKind, Finding, check_against, inside_revision, parse
from ferryman_client.cli import render
from ferryman_client.cli.session import EXIT_FAILED, EXIT_USAGE, JsonOption, fail

app = typer.Typer(help="Check AppSpec files and bundles.")

_NAMES = ("appspec.yml", "appspec.yaml")
# Longer than any `#!` line that a kernel takes.
_LINE_LIMIT = 4096


@app.command()
def lint(
    path: Annotated[Path, typer.Argument(help="A bundle's directory, or an AppSpec file.")] = Path(),
    as_json: JsonOption = False,
) -> None:
    """Name every mistake of an AppSpec file, with line and column; exits 1 when there is an error."""
    file, findings = check(path)
    if as_json:
        render.print_json(
            {
                "file": str(file),
                "findings": [
                    {
                        "code": finding.code,
                        "severity": finding.severity,
                        "message": finding.message,
                        "line": finding.line,
                        "column": finding.column,
                        "keyPath": finding.key_path,
                    }
                    for finding in findings
                ],
            }
        )
    else:
        print_findings(file, findings)
        if not findings:
            render.say(f"{file}: no mistakes")
    if has_errors(findings):
        raise typer.Exit(EXIT_FAILED)


def check(path: Path, without_file: int = EXIT_FAILED) -> tuple[Path, list[Finding]]:
    """Returns the AppSpec file of a directory, or the file itself, and all that is wrong with it.

    Ends the process with the exit code `without_file` where there is none, or more than one.
    """
    file = _appspec_file(path, without_file)
    try:
        parsed = parse(file.read_bytes())
    except OSError as problem:
        fail(f"cannot read {file}: {problem.strerror}", EXIT_USAGE)
    findings = list(parsed.findings)
    if parsed.appspec is not None and path.is_dir():
        findings += check_against(
            parsed.appspec, listing(path), first_lines=first_lines(parsed.appspec, path)
        )
    return file, sorted(findings, key=lambda finding: (finding.line, finding.column))


def require_sound(source: Path) -> None:
    """Ends the process when the AppSpec of a directory has errors; prints warnings."""
    file, findings = check(source, EXIT_USAGE)
    print_findings(file, findings)
    if has_errors(findings):
        fail(f"{source} cannot be deployed: its AppSpec file has errors", EXIT_USAGE)


def has_errors(findings: list[Finding]) -> bool:
    """Tells whether one of the findings is more than a warning."""
    return any(finding.is_error for finding in findings)


def print_findings(file: Path, findings: list[Finding]) -> None:
    """Prints findings one a line, as compilers do."""
    for finding in findings:
        style = "red" if finding.is_error else "yellow"
        render.err.print(Text(finding.describe(str(file)), style))


def listing(directory: Path) -> dict[str, EntryKind]:
    """Returns what a directory holds: path relative to it -> kind. Links are not followed."""
    found: dict[str, EntryKind] = {}
    for folder, folders, files in os.walk(directory):
        for name in (*folders, *files):
            path = Path(folder, name)
            relative = path.relative_to(directory).as_posix()
            if path.is_symlink():
                found[relative] = EntryKind.LINK
            else:
                found[relative] = EntryKind.DIRECTORY if path.is_dir() else EntryKind.FILE
    return found


def first_lines(appspec: AppSpec, directory: Path) -> dict[str, bytes]:
    """Returns the first line of each script that the AppSpec names and the directory has."""
    found: dict[str, bytes] = {}
    for script in (script for scripts in appspec.hooks.values() for script in scripts):
        relative = inside_revision(script.location)
        if relative and (directory / relative).is_file():
            with contextlib.suppress(OSError), (directory / relative).open("rb") as content:
                found[relative] = content.readline(_LINE_LIMIT)
    return found


def _appspec_file(path: Path, without_file: int) -> Path:
    if not path.is_dir():
        return path
    present = [path / name for name in _NAMES if (path / name).is_file()]
    if not present:
        fail(f"{path} has no AppSpec file: expected {path / _NAMES[0]}", without_file)
    if len(present) > 1:
        fail(
            f"{path} has two AppSpec files, {' and '.join(file.name for file in present)}: keep one",
            without_file,
        )
    return present[0]
