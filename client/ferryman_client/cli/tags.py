"""`ferryman tag`: labels of applications and deployment groups themselves, by ARN or by name."""

from __future__ import annotations

from typing import Annotated

import typer

from ferryman.v1 import inventory_pb2, resources_pb2, types_pb2
from ferryman_client.cli import render
from ferryman_client.cli.pages import every_page
from ferryman_client.cli.selections import resource_tags
from ferryman_client.cli.session import JsonOption, ask
from ferryman_client.client import Client

app = typer.Typer(
    no_args_is_help=True, help="Labels of applications and deployment groups themselves, not of instances."
)

ResourceArgument = Annotated[
    str, typer.Argument(help="ARN, or the name of an application, or APPLICATION/GROUP.")
]


@app.command()
def add(
    resource: ResourceArgument,
    tag: Annotated[list[str], typer.Argument(help="KEY=VALUE; a key that is there gets the new value.")],
) -> None:
    """Add tags. Example: ferryman tag add web/live team=shop cost-centre=7"""
    tags = resource_tags(tag)

    async def change(client: Client) -> None:
        request = resources_pb2.TagResourceRequest(resource_arn=await _arn(client, resource), tags=tags)
        await client.call(client.resources.TagResource, request)

    ask(change)
    render.say(f"{resource} tagged")


@app.command()
def remove(
    resource: ResourceArgument,
    key: Annotated[list[str], typer.Argument(help="Keys of the tags.")],
) -> None:
    """Remove the tags with these keys. Example: ferryman tag remove web team"""

    async def change(client: Client) -> None:
        request = resources_pb2.UntagResourceRequest(resource_arn=await _arn(client, resource), tag_keys=key)
        await client.call(client.resources.UntagResource, request)

    ask(change)
    render.say(f"tags of {resource} removed")


@app.command(name="list")
def list_(resource: ResourceArgument, as_json: JsonOption = False) -> None:
    """List the tags of a resource. Example: ferryman tag list web/live"""

    async def read(client: Client) -> list[types_pb2.Tag]:
        request = resources_pb2.ListTagsForResourceRequest(resource_arn=await _arn(client, resource))
        pages = every_page(lambda page: client.call(client.resources.ListTagsForResource, page), request)
        return [tag async for response in pages for tag in response.tags]

    found = ask(read)
    if as_json:
        render.print_json(found)
    else:
        render.print_table(("KEY", "VALUE"), ((tag.key, tag.value) for tag in found), empty="no tags")


async def _arn(client: Client, resource: str) -> str:
    """Raises ClientError."""
    if resource.startswith("arn:"):
        return resource
    application, slash, group = resource.partition("/")
    if slash:
        of_group = inventory_pb2.GetDeploymentGroupRequest(application_name=application, name=group)
        return (await client.call(client.inventory.GetDeploymentGroup, of_group)).deployment_group.arn
    request = inventory_pb2.GetApplicationRequest(name=application)
    return (await client.call(client.inventory.GetApplication, request)).application.arn
