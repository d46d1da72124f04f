"""`ferryman lint`, and the check that push and deploy make first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from ferryman.appspec import EntryKind, Finding, check_against, parse, similar_names, template
from ferryman.archives import ArchiveProblem, read_contents
from ferryman.locations import bundle_type_of
from ferryman_client.cli import render
from ferryman_client.cli.session import EXIT_FAILED, EXIT_USAGE, JsonOption, fail, guarded
from ferryman_client.tree import SourceTree, scan

app = typer.Typer(help="Check AppSpec files and bundles.")

_NAMES = ("appspec.yml", "appspec.yaml")


@app.command()
def lint(
    path: Annotated[
        Path, typer.Argument(help="A bundle's directory, a bundle, or an AppSpec file.")
    ] = Path(),
    print_template: Annotated[
        bool, typer.Option("--template", help="Print an AppSpec file to begin with; check nothing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Name every mistake of an AppSpec file, with line and column; exits 1 when there is an error."""
    if print_template:
        render.say(template().rstrip("\n"))
        return
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
    """Returns the AppSpec file of a directory or archive, or the file itself, and all that is wrong with it.

    Ends the process with the exit code `without_file` where there is none, or more than one.
    """
    if path.is_dir():
        with guarded():
            return check_tree(scan(path), without_file)
    if bundle_type_of(path.name):
        return _check_archive(path, without_file)
    return path, _sorted(parse(_content(path)).findings)


def check_tree(tree: SourceTree, without_file: int = EXIT_FAILED) -> tuple[Path, list[Finding]]:
    """The same for what is packed of a directory."""
    listing = tree.listing
    file = tree.root / _only_name(tree.root, listing, without_file)
    parsed = parse(_content(file))
    findings = list(parsed.findings)
    if parsed.appspec is not None:
        findings += check_against(parsed.appspec, listing, scripts=tree.scripts(parsed.appspec))
    return file, _sorted(findings)


def require_sound(source: Path | SourceTree) -> None:
    """Ends the process when what is to be pushed has errors; prints warnings (AG-523)."""
    if isinstance(source, Path):
        name, (file, findings) = source, check(source, EXIT_USAGE)
    else:
        name, (file, findings) = source.root, check_tree(source, EXIT_USAGE)
    print_findings(file, findings)
    if has_errors(findings):
        fail(f"{name} cannot be deployed: its AppSpec file has errors", EXIT_USAGE)


def has_errors(findings: list[Finding]) -> bool:
    """Tells whether one of the findings is more than a warning."""
    return any(finding.is_error for finding in findings)


def print_findings(file: Path, findings: list[Finding]) -> None:
    """Prints findings one a line, as compilers do."""
    for finding in findings:
        style = "red" if finding.is_error else "yellow"
        render.err.print(Text(finding.describe(str(file)), style))


def _check_archive(path: Path, without_file: int) -> tuple[Path, list[Finding]]:
    try:
        contents = read_contents(path)
    except ArchiveProblem as problem:
        fail(f"{path} {problem}", without_file)
    except OSError as problem:
        fail(f"cannot read {path}: {problem.strerror}", EXIT_USAGE)
    listing = contents.at_root()
    name = _only_name(path, listing, without_file)
    parsed = parse(contents.documents.get(contents.root + name, b""))
    findings = list(parsed.findings)
    if parsed.appspec is not None:
        findings += check_against(parsed.appspec, listing)
    return path / name, _sorted(findings)


def _only_name(place: Path, listing: Mapping[str, EntryKind], without_file: int) -> str:
    """The name of the one AppSpec file (AG-263)."""
    present = [name for name in _NAMES if listing.get(name) in (EntryKind.FILE, EntryKind.LINK)]
    if not present:
        similar = similar_names(listing)
        elsewhere = f"; found {', '.join(similar)}, but it must be at the root" if similar else ""
        fail(f"{place} has no AppSpec file: expected {place / _NAMES[0]}{elsewhere}", without_file)
    if len(present) > 1:
        fail(f"{place} has two AppSpec files, {' and '.join(present)}: keep one", without_file)
    return present[0]


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as problem:
        fail(f"cannot read {file}: {problem.strerror}", EXIT_USAGE)


def _sorted(findings: Iterable[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda finding: (finding.line, finding.column))
