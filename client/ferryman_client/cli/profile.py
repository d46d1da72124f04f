"""`ferryman profile`: add, use, list, remove."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from ferryman_client.cli import render
from ferryman_client.cli.session import EXIT_NOT_FOUND_OR_CONFLICT, JsonOption, fail, guarded
from ferryman_client.profiles import Profile, ProfileFile, load_profiles, profiles_path, save_profiles

app = typer.Typer(no_args_is_help=True, help="Profiles: which coordinator, and who we are there.")

NameArgument = Annotated[str, typer.Argument(help="Name of the profile.")]


@app.command()
def add(
    name: NameArgument,
    coordinator: Annotated[str, typer.Option("--coordinator", help="HOST:PORT, the port usually 7420.")],
    ca_file: Annotated[Path, typer.Option("--ca-file", help="The coordinator's ca.pem.")],
    token_file: Annotated[Path, typer.Option("--token-file", help="File that holds the token.")],
    use: Annotated[bool, typer.Option("--use/--no-use", help="Make it the one in use.")] = True,
) -> None:
    """Add a profile, or replace one of that name."""
    profile = Profile(
        coordinator=coordinator,
        ca_file=str(ca_file.expanduser().absolute()),
        token_file=str(token_file.expanduser().absolute()),
    )
    with guarded():
        profile.address()
        profile.ca()
        content = load_profiles(profiles_path())
    current = name if use or not content.current else content.current
    changed = ProfileFile(current=current, profiles={**content.profiles, name: profile})
    save_profiles(profiles_path(), changed)
    render.say(f"profile {name} added" + (", and in use" if current == name else ""))


@app.command()
def use(name: NameArgument) -> None:
    """Make a profile the one in use."""
    with guarded():
        content = load_profiles(profiles_path())
    _require(content, name)
    save_profiles(profiles_path(), msgspec.structs.replace(content, current=name))
    render.say(f"profile {name} is in use")


@app.command(name="list")
def list_(as_json: JsonOption = False) -> None:
    """List the profiles."""
    with guarded():
        content = load_profiles(profiles_path())
    if as_json:
        render.print_json(
            {
                "current": content.current,
                "profiles": [
                    {
                        "name": name,
                        "coordinator": profile.coordinator,
                        "caFile": profile.ca_file,
                        "tokenFile": profile.token_file,
                    }
                    for name, profile in sorted(content.profiles.items())
                ],
            }
        )
        return
    rows = (
        (
            "*" if name == content.current else "",
            name,
            profile.coordinator,
            profile.ca_file,
            profile.token_file,
        )
        for name, profile in sorted(content.profiles.items())
    )
    columns = ("", "NAME", "COORDINATOR", "CA", "TOKEN")
    render.print_table(columns, rows, empty="no profiles; `ferryman profile add`")


@app.command()
def remove(name: NameArgument) -> None:
    """Remove a profile; its files stay."""
    with guarded():
        content = load_profiles(profiles_path())
    _require(content, name)
    rest = {other: profile for other, profile in content.profiles.items() if other != name}
    current = "" if content.current == name else content.current
    save_profiles(profiles_path(), ProfileFile(current=current, profiles=rest))
    render.say(f"profile {name} removed")


def _require(content: ProfileFile, name: str) -> None:
    if name not in content.profiles:
        known = ", ".join(sorted(content.profiles)) or "none"
        fail(f"there is no profile '{name}' (known: {known})", EXIT_NOT_FOUND_OR_CONFLICT)
