"""`ferryman push`, and the same as the first half of `ferryman deploy --source`."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from ferryman_client.bundle import Bundle, build_bundle, take_archive
from ferryman_client.cli import render
from ferryman_client.cli.lint import require_sound
from ferryman_client.cli.session import JsonOption, ask, guarded
from ferryman_client.cli.words import revision_label

app = typer.Typer(help="Store a bundle and register it as a revision.")


@app.command()
def push(
    application: Annotated[str, typer.Option("--application", "-a", help="Name of the application.")],
    source: Annotated[
        Path, typer.Option("--source", help="Directory with an AppSpec file, or an archive.")
    ] = Path(),
    description: Annotated[str, typer.Option("--description")] = "",
    as_json: JsonOption = False,
) -> None:
    """Store a bundle at the coordinator and register it as a revision of the application."""
    with guarded(), packed(source) as bundle:
        revision = ask(lambda client: client.push(application, bundle, description))
    if as_json:
        render.print_json(revision)
        return
    label = revision_label(revision.location)
    render.say(f"revision {label} of {application} registered ({revision.location.bundle.size_bytes} bytes)")
    render.note(f"next: ferryman deploy --application {application} --group GROUP --revision {label}")


@contextlib.contextmanager
def packed(source: Path) -> Iterator[Bundle]:
    """Gives the bundle of a directory, which is checked first, or an archive as it is; raises BundleProblem."""
    if not source.is_dir():
        yield take_archive(source)
        return
    require_sound(source)
    with tempfile.TemporaryDirectory(prefix="ferryman-push-") as directory:
        yield build_bundle(source, Path(directory) / "bundle.tgz")
