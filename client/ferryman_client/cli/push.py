"""`ferryman push`, and the same as the first half of `ferryman deploy --source`."""

from __future__ import annotations

import contextlib
import shlex
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from ferryman.locations import LocationError, S3Name, parse_s3
from ferryman.v1 import inventory_pb2
from ferryman_client.bundle import Bundle, build_bundle, take_archive
from ferryman_client.cli import render
from ferryman_client.cli.lint import require_sound
from ferryman_client.cli.session import EXIT_USAGE, JsonOption, ask, fail, guarded
from ferryman_client.cli.words import revision_label
from ferryman_client.client import Client
from ferryman_client.tree import scan

app = typer.Typer(help="Store a bundle and register it as a revision.")

_NAMES_SHOWN = 5


@app.command()
def push(
    application: Annotated[
        str, typer.Option("--application", "-a", "--application-name", help="Name of the application.")
    ],
    source: Annotated[
        Path, typer.Option("--source", help="Directory with an AppSpec file, or an archive.")
    ] = Path(),
    s3_location: Annotated[
        str,
        typer.Option("--s3-location", help="s3://bucket/key.zip to store it in, not with the coordinator."),
    ] = "",
    ignore_hidden_files: Annotated[
        bool,
        typer.Option(
            "--ignore-hidden-files/--no-ignore-hidden-files", help="Leave out names with a dot first."
        ),
    ] = False,
    description: Annotated[str, typer.Option("--description", help="Else the tool and the time.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Check a bundle, store it at the coordinator or in S3, and register it as a revision of the application."""
    place = _object(s3_location) if s3_location else None
    text = description or f"Pushed by ferryman, {datetime.now(UTC).isoformat(timespec='seconds')}"

    async def send(client: Client) -> inventory_pb2.Revision:
        if place is None:
            return await client.push(application, bundle, text)
        return await client.push_to_s3(application, bundle, place.bucket, place.key, text)

    with guarded(), packed(source, ignore_hidden_files=ignore_hidden_files) as bundle:
        revision = ask(send)
    if as_json:
        render.print_json(revision)
        return
    label = revision_label(revision.location)
    render.say(f"revision {label} of {application} registered ({bundle.size_bytes} bytes)")
    name, shown = shlex.quote(application), shlex.quote(label)
    render.note(f"next: ferryman deploy --application {name} --group GROUP --revision {shown}")


@contextlib.contextmanager
def packed(source: Path, *, ignore_hidden_files: bool = False) -> Iterator[Bundle]:
    """Gives the bundle of a directory, or an archive as it is, once it was checked; raises BundleProblem."""
    if not source.is_dir():
        archive = take_archive(source)
        require_sound(source)
        yield archive
        return
    tree = scan(source, ignore_hidden_files=ignore_hidden_files)
    require_sound(tree)
    if tree.left_out:
        more = len(tree.left_out) - _NAMES_SHOWN
        names = ", ".join(tree.left_out[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
        render.note(f"left out: {names}")
    with tempfile.TemporaryDirectory(prefix="ferryman-push-") as directory:
        yield build_bundle(tree, Path(directory) / "bundle.zip")


def _object(text: str) -> S3Name:
    """Where to store it: an object without version and ETag, since the store gives both."""
    try:
        name = parse_s3(text)
    except LocationError as problem:
        fail(str(problem), EXIT_USAGE)
    if name.version or name.e_tag:
        fail(f"{text} names a version that is there already: leave everything from the ? on out", EXIT_USAGE)
    return name
