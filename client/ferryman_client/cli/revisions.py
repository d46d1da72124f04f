"""`ferryman revision`: list, show, register."""

from __future__ import annotations

from typing import Annotated

import typer

from ferryman.v1 import inventory_pb2, types_pb2
from ferryman_client.cli import render
from ferryman_client.cli.pages import every_page
from ferryman_client.cli.session import EXIT_USAGE, JsonOption, ask, fail
from ferryman_client.cli.words import iso_time, revision_label
from ferryman_client.client import Client

app = typer.Typer(no_args_is_help=True, help="Revisions: versions of an application.")

ApplicationOption = Annotated[str, typer.Option("--application", "-a", help="Name of the application.")]

_SORTS = {
    "registered": inventory_pb2.REVISION_SORT_REGISTER_TIME,
    "first-used": inventory_pb2.REVISION_SORT_FIRST_USED_TIME,
    "last-used": inventory_pb2.REVISION_SORT_LAST_USED_TIME,
}
_ENDINGS = {".zip": "zip", ".tar": "tar", ".tgz": "tgz", ".tar.gz": "tgz"}
_TYPES = {
    "zip": types_pb2.BUNDLE_TYPE_ZIP,
    "tar": types_pb2.BUNDLE_TYPE_TAR,
    "tgz": types_pb2.BUNDLE_TYPE_TGZ,
}


@app.command(name="list")
def list_(
    application: ApplicationOption,
    sort: Annotated[str, typer.Option("--sort", help="registered, first-used or last-used.")] = "registered",
    as_json: JsonOption = False,
) -> None:
    """List the revisions of an application, newest first."""
    if sort not in _SORTS:
        fail(f"cannot sort by '{sort}': choose from {', '.join(_SORTS)}", EXIT_USAGE)

    async def read(client: Client) -> list[inventory_pb2.Revision]:
        request = inventory_pb2.ListRevisionsRequest(
            application_name=application, sort_by=_SORTS[sort], descending=True
        )
        pages = every_page(lambda page: client.call(client.inventory.ListRevisions, page), request)
        return [item async for response in pages for item in response.revisions]

    found = ask(read)
    if as_json:
        render.print_json(found)
        return
    rows = (
        (
            revision_label(item.location),
            iso_time(item.registered_at),
            iso_time(item.last_used_at) if item.HasField("last_used_at") else "never",
            ", ".join(item.deployment_groups) or "-",
            item.description or "-",
        )
        for item in found
    )
    columns = ("REVISION", "REGISTERED", "LAST USED", "ON GROUPS", "DESCRIPTION")
    render.print_table(columns, rows, empty="no revisions; `ferryman push`")


@app.command()
def show(
    revision: Annotated[str, typer.Argument(help="Digest, a unique beginning of it, or URL.")],
    application: ApplicationOption,
    as_json: JsonOption = False,
) -> None:
    """Show one revision."""
    request = inventory_pb2.GetRevisionRequest(application_name=application, revision=revision)
    found = ask(lambda client: client.call(client.inventory.GetRevision, request)).revision
    if as_json:
        render.print_json(found)
        return
    bundle = found.location.bundle
    render.print_details(
        (
            ("Revision", revision_label(found.location)),
            ("SHA-256", bundle.sha256 or found.location.url.sha256),
            ("Size", f"{bundle.size_bytes} bytes" if bundle.size_bytes else ""),
            ("URL", found.location.url.url),
            ("Description", found.description),
            ("Registered", iso_time(found.registered_at)),
            ("First used", iso_time(found.first_used_at) if found.HasField("first_used_at") else ""),
            ("Last used", iso_time(found.last_used_at) if found.HasField("last_used_at") else ""),
            ("On groups", ", ".join(found.deployment_groups)),
        )
    )


@app.command()
def register(
    url: Annotated[str, typer.Argument(help="https:// or file:// address that the instances can reach.")],
    application: ApplicationOption,
    sha256: Annotated[str, typer.Option("--sha256", help="Digest that the archive must have.")] = "",
    bundle_type: Annotated[str, typer.Option("--type", help="zip, tar or tgz; else by the ending.")] = "",
    description: Annotated[str, typer.Option("--description")] = "",
    as_json: JsonOption = False,
) -> None:
    """Register an archive that lies elsewhere."""
    request = inventory_pb2.RegisterRevisionRequest(
        application_name=application, location=url_location(url, sha256, bundle_type), description=description
    )
    response = ask(lambda client: client.call(client.inventory.RegisterRevision, request))
    render.warn(response.warnings)
    if as_json:
        render.print_json(response.revision)
    else:
        render.say(f"revision {revision_label(response.revision.location)} of {application} registered")


def url_location(url: str, sha256: str = "", bundle_type: str = "") -> types_pb2.RevisionLocation:
    """Returns the location of an archive elsewhere; ends the process when its kind cannot be told."""
    path = url.partition("?")[0].lower()
    kind = bundle_type or next((kind for ending, kind in _ENDINGS.items() if path.endswith(ending)), "")
    if kind not in _TYPES:
        fail(f"cannot tell what kind of archive {url} is: give --type zip, tar or tgz", EXIT_USAGE)
    return types_pb2.RevisionLocation(
        url=types_pb2.UrlLocation(url=url, bundle_type=_TYPES[kind], sha256=sha256.lower())
    )
