"""`ferryman revision`: list, show, register."""

from __future__ import annotations

from typing import Annotated

import typer

from ferryman.v1 import inventory_pb2
from ferryman_client.cli import render
from ferryman_client.cli.pages import every_page
from ferryman_client.cli.places import github_location, s3_location, url_location
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
_SOURCES = {
    "bundle": inventory_pb2.REVISION_SOURCE_BUNDLE,
    "url": inventory_pb2.REVISION_SOURCE_URL,
    "s3": inventory_pb2.REVISION_SOURCE_S3,
    "github": inventory_pb2.REVISION_SOURCE_GITHUB,
}
_TARGETS = {
    "ignore": inventory_pb2.REVISION_TARGET_FILTER_IGNORE,
    "include": inventory_pb2.REVISION_TARGET_FILTER_INCLUDE,
    "exclude": inventory_pb2.REVISION_TARGET_FILTER_EXCLUDE,
}


@app.command(name="list")
def list_(
    application: ApplicationOption,
    sort: Annotated[str, typer.Option("--sort", help="registered, first-used or last-used.")] = "registered",
    order: Annotated[str, typer.Option("--order", help="descending or ascending.")] = "descending",
    source: Annotated[str, typer.Option("--source", help="Only bundle, url, s3 or github.")] = "",
    s3_bucket: Annotated[str, typer.Option("--s3-bucket", help="Only objects of this bucket.")] = "",
    s3_key_prefix: Annotated[
        str, typer.Option("--s3-key-prefix", help="Only objects whose key begins so; with --s3-bucket.")
    ] = "",
    deployed: Annotated[
        str,
        typer.Option("--deployed", help="include or exclude those that groups have; ignore whether they do."),
    ] = "ignore",
    as_json: JsonOption = False,
) -> None:
    """List the revisions of an application, newest first."""
    for what, word, words in (
        ("sort by", sort, _SORTS),
        ("list in the order", order, {"descending": 1, "ascending": 0}),
        ("list those of", source or "s3", _SOURCES),
        ("take --deployed", deployed, _TARGETS),
    ):
        if word not in words:
            fail(f"cannot {what} '{word}': choose from {', '.join(words)}", EXIT_USAGE)

    async def read(client: Client) -> list[inventory_pb2.Revision]:
        request = inventory_pb2.ListRevisionsRequest(
            application_name=application,
            sort_by=_SORTS[sort],
            descending=order == "descending",
            source=_SOURCES[source] if source else inventory_pb2.REVISION_SOURCE_UNSPECIFIED,
            s3_bucket=s3_bucket,
            s3_key_prefix=s3_key_prefix,
            target=_TARGETS[deployed],
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
    revision: Annotated[
        str, typer.Argument(help="Digest, or its beginning, URL, s3://… or owner/repo@commit.")
    ],
    application: ApplicationOption,
    as_json: JsonOption = False,
) -> None:
    """Show one revision."""
    request = inventory_pb2.GetRevisionRequest(application_name=application, revision=revision)
    found = ask(lambda client: client.call(client.inventory.GetRevision, request)).revision
    if as_json:
        render.print_json(found)
        return
    place = found.location
    bundle, s3 = place.bundle, place.s3
    render.print_details(
        (
            ("Revision", revision_label(place)),
            ("SHA-256", bundle.sha256 or place.url.sha256 or s3.sha256),
            ("Size", f"{bundle.size_bytes} bytes" if bundle.size_bytes else ""),
            ("URL", place.url.url),
            ("Object", f"s3://{s3.bucket}/{s3.key}" if s3.bucket else ""),
            ("Version", s3.version),
            ("ETag", s3.e_tag),
            ("Repository", place.github.repository),
            ("Commit", place.github.commit_id),
            ("Token", place.github.token_name),
            ("Description", found.description),
            ("Registered", iso_time(found.registered_at)),
            ("First used", iso_time(found.first_used_at) if found.HasField("first_used_at") else ""),
            ("Last used", iso_time(found.last_used_at) if found.HasField("last_used_at") else ""),
            ("On groups", ", ".join(found.deployment_groups)),
        )
    )


@app.command()
def register(
    application: ApplicationOption,
    url: Annotated[str, typer.Argument(help="https:// or file:// address that instances can reach.")] = "",
    s3: Annotated[
        str, typer.Option("--s3-location", help="s3://bucket/key, with ?versionId=…&eTag=… where wanted.")
    ] = "",
    github: Annotated[str, typer.Option("--github-location", help="owner/repo@commit, all 40 digits.")] = "",
    token_name: Annotated[
        str, typer.Option("--token-name", help="Stored token that a private repository is read with.")
    ] = "",
    version: Annotated[str, typer.Option("--s3-version", help="Version of the object.")] = "",
    e_tag: Annotated[str, typer.Option("--s3-etag", help="ETag that the object must have.")] = "",
    sha256: Annotated[str, typer.Option("--sha256", help="Digest that the archive must have.")] = "",
    bundle_type: Annotated[
        str, typer.Option("--bundle-type", "--type", help="zip, tar or tgz; else by the ending.")
    ] = "",
    description: Annotated[str, typer.Option("--description")] = "",
    as_json: JsonOption = False,
) -> None:
    """Register an archive that lies elsewhere: at a URL, in S3, or at GitHub."""
    if sum(map(bool, (url, s3, github))) != 1:
        fail("say where it lies: a URL, --s3-location or --github-location, one of them", EXIT_USAGE)
    if (version or e_tag) and not s3:
        fail("--s3-version and --s3-etag are for --s3-location", EXIT_USAGE)
    if token_name and not github:
        fail("--token-name is for --github-location", EXIT_USAGE)
    if sha256 and github:
        fail("GitHub promises nothing about the bytes of an archive: leave --sha256 out", EXIT_USAGE)
    if s3:
        location = s3_location(s3, bundle_type=bundle_type, version=version, e_tag=e_tag, sha256=sha256)
    elif github:
        location = github_location(github, bundle_type=bundle_type, token_name=token_name)
    else:
        location = url_location(url, sha256, bundle_type)
    request = inventory_pb2.RegisterRevisionRequest(
        application_name=application, location=location, description=description
    )
    response = ask(lambda client: client.call(client.inventory.RegisterRevision, request))
    render.warn(response.warnings)
    if as_json:
        render.print_json(response.revision)
    else:
        render.say(f"revision {revision_label(response.revision.location)} of {application} registered")
