"""What push and lint look at before anything is sent."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from ferryman_client.bundle import build_bundle
from ferryman_client.cli.main import app

APPSPEC = """\
version: 0.0
os: linux
files:
  - source: /
    destination: /srv/app
hooks:
  AfterInstall:
    - location: scripts/start.sh
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "source"
    (root / "scripts").mkdir(parents=True)
    (root / "appspec.yml").write_text(APPSPEC)
    (root / "scripts" / "start.sh").write_text("#!/bin/sh\ntrue\n")
    (root / "scripts" / "start.sh").chmod(0o755)
    return root


@pytest.fixture(autouse=True)
def nobody_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever gets past the checks ends with the missing profile."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for name in ("FERRYMAN_COORDINATOR", "FERRYMAN_CA", "FERRYMAN_TOKEN", "FERRYMAN_PROFILE"):
        monkeypatch.delenv(name, raising=False)


def push(source: Path, *options: str) -> Result:
    return CliRunner().invoke(app, ["push", "-a", "web", "--source", str(source), *options])


def lint(path: Path, *options: str) -> Result:
    return CliRunner().invoke(app, ["lint", str(path), *options])


def sent(result: Result) -> bool:
    return "ferryman profile add" in result.output


@pytest.mark.req("AG-511", "AG-523")
def test_a_sound_tree_is_packed_without_a_word(source: Path) -> None:
    result = push(source)
    assert sent(result)
    assert "warning" not in result.output
    assert "left out" not in result.output


@pytest.mark.req("AG-516")
def test_an_application_must_be_named(source: Path) -> None:
    result = CliRunner().invoke(app, ["push", "--source", str(source)])
    assert result.exit_code == 2
    assert "--application" in result.output


@pytest.mark.req("AG-519")
def test_the_source_is_where_one_is(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(source.parent)
    assert sent(CliRunner().invoke(app, ["push", "-a", "web", "--source", source.name]))
    monkeypatch.chdir(source)
    assert sent(CliRunner().invoke(app, ["push", "-a", "web"]))


@pytest.mark.req("AG-523")
def test_errors_keep_it_from_being_sent(source: Path) -> None:
    (source / "appspec.yml").write_text(APPSPEC.replace("0.0", "1.0"))
    result = push(source)
    assert not sent(result)
    assert result.exit_code == 2
    assert "APPSPEC_VERSION" in result.output


@pytest.mark.req("AG-523", "AG-263", "AG-T27")
def test_two_appspec_files_keep_it_from_being_sent(source: Path) -> None:
    (source / "appspec.yaml").write_text(APPSPEC)
    result = push(source)
    assert not sent(result)
    assert "two AppSpec files" in result.output


@pytest.mark.req("AG-523", "AG-S12")
def test_scripts_that_may_not_work_are_warned_of(source: Path) -> None:
    script = source / "scripts" / "start.sh"
    script.write_bytes(b"#!/bin/sh\ntrue\r\n")
    script.chmod(0o644)
    result = push(source)
    assert sent(result)
    assert "SCRIPT_LINE_ENDS" in result.output
    assert "SCRIPT_NOT_EXECUTABLE" in result.output
    script.write_bytes(b"#!/bin/sh\r\ntrue\r\n")
    result = push(source)
    assert "SCRIPT_FIRST_LINE" in result.output
    assert "SCRIPT_LINE_ENDS" not in result.output, "one warning for one mistake"


@pytest.mark.req("AG-523", "AG-V48")
@pytest.mark.parametrize("name", ["scripts/other.sh", "scripts/start.sh~", ".hidden/start.sh"])
def test_scripts_that_are_not_packed_keep_it_from_being_sent(source: Path, name: str) -> None:
    for other in ("scripts/start.sh~", ".hidden/start.sh"):
        (source / other).parent.mkdir(exist_ok=True)
        (source / other).write_text("#!/bin/sh\n")
    (source / "appspec.yml").write_text(APPSPEC.replace("scripts/start.sh", name))
    result = push(source, "--ignore-hidden-files")
    assert not sent(result)
    assert "SCRIPT_LOCATION_NOT_FOUND" in result.output


@pytest.mark.req("AG-518", "AG-522")
def test_what_is_left_out_is_said(source: Path) -> None:
    for number in range(7):
        (source / f"{number}~").touch()
    (source / ".env").touch()
    assert "left out: 0~, 1~, 2~, 3~, 4~ and 2 more" in push(source).output
    assert "left out: .env, 0~, 1~, 2~, 3~ and 3 more" in push(source, "--ignore-hidden-files").output
    assert ".env" not in push(source, "--no-ignore-hidden-files").output


@pytest.mark.req("AG-276", "AG-512", "AG-V48")
@pytest.mark.parametrize("kind", ["zip", "tar", "tgz"])
def test_archives_are_looked_into(source: Path, tmp_path: Path, kind: str) -> None:
    def pack(name: str) -> Path:
        path = tmp_path / f"{name}.{kind}"
        if kind == "zip":
            build_bundle(source, path)
        else:
            with tarfile.open(path, "w:gz" if kind == "tgz" else "w") as archive:
                archive.add(source, arcname="./top")
        return path

    good = pack("good")
    assert lint(good).exit_code == 0
    assert sent(push(good))
    (source / "scripts" / "start.sh").unlink()
    bad = pack("bad")
    result = lint(bad, "--json")
    assert result.exit_code == 1
    assert "SCRIPT_LOCATION_NOT_FOUND" in result.output
    assert not sent(push(bad))


def test_what_is_no_archive_and_what_has_no_appspec_is_said(tmp_path: Path) -> None:
    page = tmp_path / "page.zip"
    page.write_text("<!DOCTYPE html>")
    result = lint(page)
    assert result.exit_code == 1
    assert "page.zip is no zip, tar or tgz archive: it is an HTML page" in " ".join(result.output.split())
    nested = tmp_path / "nested.zip"
    with zipfile.ZipFile(nested, "w") as archive:
        archive.writestr("a/b/appspec.yml", APPSPEC)
    result = lint(nested)
    assert result.exit_code == 1
    assert "a/b/appspec.yml, but it must be at the root" in " ".join(result.output.split())


@pytest.mark.req("AG-278")
def test_the_template_is_printed_and_lints_clean(tmp_path: Path) -> None:
    printed = CliRunner().invoke(app, ["lint", "--template"])
    assert printed.exit_code == 0
    (tmp_path / "appspec.yml").write_text(printed.output)
    result = lint(tmp_path)
    assert result.exit_code == 0
    assert "no mistakes" in result.output


@pytest.mark.req("AG-517", "AG-529")
@pytest.mark.parametrize(
    "place, complaint",
    [("bucket/key", "names no object of S3"), ("s3://b/k.zip?versionId=1", "names a version")],
)
def test_an_object_that_nothing_can_be_put_to_is_refused(source: Path, place: str, complaint: str) -> None:
    result = push(source, "--s3-location", place)
    assert result.exit_code == 2
    assert complaint in " ".join(result.output.split())
    assert not sent(result)


@pytest.mark.req("AG-526", "AG-529")
@pytest.mark.parametrize(
    "options, complaint",
    [
        ([], "say where it lies"),
        (["https://x/a.zip", "--s3-location", "s3://b/k.zip"], "one of them"),
        (["--s3-location", "s3://b/k"], "give --bundle-type zip, tar, tgz"),
        (["--s3-location", "s3://b/k.zip?versionId=1", "--s3-version", "2"], "another one is given"),
        (["--github-location", "acme/web"], "owner/name@commit"),
        (["--github-location", "acme/web@abc", "--bundle-type", "tgz"], "give --bundle-type tar, zip"),
        (["--github-location", "acme/web@abc", "--sha256", "0"], "nothing about the bytes"),
        (["https://x/a.zip", "--s3-etag", "0"], "are for --s3-location"),
        (["https://x/a.zip", "--token-name", "t"], "is for --github-location"),
    ],
)
def test_a_place_that_is_not_clear_is_refused(options: list[str], complaint: str) -> None:
    result = CliRunner().invoke(app, ["revision", "register", "-a", "web", *options])
    assert result.exit_code == 2
    assert complaint in " ".join(result.output.split())


@pytest.mark.req("AG-526", "AG-529", "AG-512")
@pytest.mark.parametrize(
    "options",
    [
        ["--s3-location", "s3://b/k.tgz"],
        ["--s3-location", "s3://b/k", "--bundle-type", "tar"],
        ["--s3-location", "b.s3.amazonaws.com/k.zip", "--s3-etag", "0", "--description", "by hand"],
        ["--github-location", "acme/web@abc", "--token-name", "t", "--bundle-type", "zip"],
        ["https://x/a.zip", "--type", "zip"],
    ],
)
def test_a_place_that_is_clear_is_sent(options: list[str]) -> None:
    assert sent(CliRunner().invoke(app, ["revision", "register", "-a", "web", *options]))


@pytest.mark.req("PF-292")
def test_no_more_rights_are_asked_for_than_to_read() -> None:
    text = " ".join(CliRunner().invoke(app, ["github-token", "add", "--help"]).output.split())
    assert "It needs to read contents, and nothing more." in text


@pytest.mark.parametrize("content", [None, "", "  \n"])
def test_a_token_comes_from_a_file_that_has_one(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_text(content)
    result = CliRunner().invoke(app, ["github-token", "add", "acme", "--token-file", str(file)])
    assert result.exit_code == 2
    assert not sent(result)
