"""The command line as a user meets it, as far as no coordinator is needed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main
from typer.testing import CliRunner, Result

from ferryman_client.cli.main import app

EXAMPLE = Path(__file__).parents[3] / "examples" / "web" / "app"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture(autouse=True)
def own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    for name in ("FERRYMAN_COORDINATOR", "FERRYMAN_CA", "FERRYMAN_TOKEN", "FERRYMAN_PROFILE"):
        monkeypatch.delenv(name, raising=False)


def every_command() -> Iterator[tuple[str, ...]]:
    root = typer.main.get_command(app)
    context = root.make_context("ferryman", ["lint"], resilient_parsing=True)
    for name in root.list_commands(context):  # type: ignore[attr-defined] # the root is a group
        command = root.get_command(context, name)  # type: ignore[attr-defined]
        yield (name,)
        for child in getattr(command, "commands", {}):
            yield (name, child)


@pytest.mark.parametrize("command", list(every_command()), ids=" ".join)
def test_every_command_explains_itself(command: tuple[str, ...]) -> None:
    result = run(*command, "--help")
    assert result.exit_code == 0
    assert "Usage: " in result.output
    assert "--help" in result.output


@pytest.mark.parametrize(
    "command",
    [command for command in every_command() if command[-1] in ("list", "show") or command == ("lint",)],
    ids=" ".join,
)
def test_every_list_and_show_command_takes_json(command: tuple[str, ...]) -> None:
    assert "--json" in run(*command, "--help").output


def test_unknown_command_is_wrong_usage() -> None:
    assert run("aplication").exit_code == 2


@pytest.mark.req("AG-276")
def test_lint_of_a_sound_bundle_is_quiet() -> None:
    result = run("lint", str(EXAMPLE))
    assert result.exit_code == 0
    assert "no mistakes" in result.output


@pytest.mark.req("AG-268", "AG-276", "AG-S24", "AG-X24")
def test_lint_names_every_mistake_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "appspec.yml").write_text(
        "version: 0.1\nos: linux\nfiles:\n  - source: missing\n    destination: /srv\n"
        "hooks:\n  AplicationStart:\n    - location: nope\n"
    )
    result = run("lint", str(tmp_path), "--json")
    assert result.exit_code == 1
    found = {(finding["code"], finding["line"]) for finding in json.loads(result.output)["findings"]}
    assert {("APPSPEC_VERSION", 1), ("HOOK_UNKNOWN", 7)} <= found


@pytest.mark.req("CP-207", "AG-264")
def test_directory_without_appspec_is_not_pushed(tmp_path: Path) -> None:
    result = run("push", "--application", "web", "--source", str(tmp_path))
    assert result.exit_code == 2
    assert "no AppSpec file" in result.output


@pytest.mark.req("AG-263")
def test_two_appspec_files_are_refused(tmp_path: Path) -> None:
    for name in ("appspec.yml", "appspec.yaml"):
        (tmp_path / name).write_text("version: 0.0\nos: linux\n")
    result = run("lint", str(tmp_path))
    assert result.exit_code == 1
    assert "two AppSpec files" in result.output


def test_no_coordinator_configured_says_how_to_name_one() -> None:
    result = run("application", "list")
    assert result.exit_code == 2
    assert "ferryman profile add" in result.output


def test_coordinator_that_is_not_there_is_named(tmp_path: Path) -> None:
    authority, token = tmp_path / "ca.pem", tmp_path / "token"
    # Not empty, and never used: nothing answers at port 1.
    authority.write_bytes(b"-----BEGIN CERTIFICATE-----\n")
    token.write_text("token")
    added = run(
        "profile",
        "add",
        "x",
        "--coordinator",
        "127.0.0.1:1",
        "--ca-file",
        str(authority),
        "--token-file",
        str(token),
    )
    assert added.exit_code == 0
    result = run("application", "list")
    assert result.exit_code == 6
    assert "127.0.0.1:1" in result.output


def test_profiles_are_added_used_and_removed(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_bytes(b"-----BEGIN CERTIFICATE-----\n")
    files = ("--ca-file", str(tmp_path / "ca.pem"), "--token-file", str(tmp_path / "token"))
    assert run("profile", "add", "one", "--coordinator", "a:1", *files).exit_code == 0
    assert run("profile", "add", "two", "--coordinator", "b:2", "--no-use", *files).exit_code == 0
    assert json.loads(run("profile", "list", "--json").output)["current"] == "one"
    assert run("profile", "use", "two").exit_code == 0
    assert run("profile", "use", "three").exit_code == 5
    assert run("profile", "remove", "two").exit_code == 0
    content = json.loads(run("profile", "list", "--json").output)
    assert content["current"] == ""
    assert [profile["name"] for profile in content["profiles"]] == ["one"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("deploy", "--application", "a", "--group", "g"),
        ("deploy", "--application", "a", "--group", "g", "--revision", "r", "--source", "."),
        (
            "deploy",
            "--application",
            "a",
            "--group",
            "g",
            "--revision",
            "r",
            "--file-exists-behavior",
            "MAYBE",
        ),
        ("token", "create"),
        ("deployment", "list", "--status", "Running"),
        ("config", "create", "c", "--min-healthy", "most"),
        ("group", "instances"),
    ],
)
def test_contradictory_options_are_wrong_usage(arguments: tuple[str, ...]) -> None:
    assert run(*arguments).exit_code == 2
