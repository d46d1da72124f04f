"""What `files` means for a revision, and what a linter can say once it knows what is in it."""

from collections.abc import Mapping

import pytest

from ferryman.appspec import (
    AppSpec,
    EntryKind,
    FileMapping,
    Findings,
    Script,
    ScriptFacts,
    check_against,
    expand,
    find_appspec_name,
    parse,
    similar_names,
)

FILE, DIRECTORY, LINK, SPECIAL = EntryKind.FILE, EntryKind.DIRECTORY, EntryKind.LINK, EntryKind.SPECIAL

# The tree of the guide's examples: /tmp/my-file and /tmp/my-folder with two files and a folder.
GUIDE: Mapping[str, EntryKind] = {
    "appspec.yml": FILE,
    "my-file.txt": FILE,
    "my-file-2.txt": FILE,
    "my-file-3.txt": FILE,
    "my-folder": DIRECTORY,
    "my-folder/my-file.txt": FILE,
    "my-folder/.hidden": FILE,
    "my-folder/empty": DIRECTORY,
    "my-folder/my-folder-2": DIRECTORY,
    "my-folder/my-folder-2/my-file.txt": FILE,
}


def targets(*mappings: tuple[str, str], listing: Mapping[str, EntryKind] = GUIDE) -> dict[str, str]:
    findings = Findings()
    appspec = AppSpec(files=tuple(FileMapping(source, destination) for source, destination in mappings))
    found = expand(appspec, listing, findings)
    assert findings.ordered() == ()
    return {target.path: target.source for target in found}


def codes(*mappings: tuple[str, str], listing: Mapping[str, EntryKind] = GUIDE) -> list[str]:
    appspec = AppSpec(files=tuple(FileMapping(source, destination) for source, destination in mappings))
    return [finding.code for finding in check_against(appspec, listing)]


@pytest.mark.req("AG-294")
def test_a_file_keeps_its_name_in_the_destination() -> None:
    assert targets(("my-file.txt", "/tmp")) == {"/tmp/my-file.txt": "my-file.txt"}
    assert targets(("my-folder/my-file.txt", "/tmp/new/")) == {
        "/tmp/new/my-file.txt": "my-folder/my-file.txt"
    }


@pytest.mark.req("AG-295", "AG-297", "AG-244")
def test_a_directory_gives_its_content_hidden_and_empty_included() -> None:
    assert targets(("my-folder", "/tmp/renamed")) == {
        "/tmp/renamed": "my-folder",
        "/tmp/renamed/.hidden": "my-folder/.hidden",
        "/tmp/renamed/empty": "my-folder/empty",
        "/tmp/renamed/my-file.txt": "my-folder/my-file.txt",
        "/tmp/renamed/my-folder-2": "my-folder/my-folder-2",
        "/tmp/renamed/my-folder-2/my-file.txt": "my-folder/my-folder-2/my-file.txt",
    }


@pytest.mark.req("AG-296", "V2-190")
@pytest.mark.parametrize("source", ["/", ".", "//", "./"])
def test_the_whole_revision_with_its_appspec(source: str) -> None:
    found = targets((source, "/srv"))
    assert found["/srv/appspec.yml"] == "appspec.yml"
    assert len(found) == len(GUIDE) + 1


@pytest.mark.req("AG-254", "AG-S13")
def test_what_other_systems_leave_at_the_top_is_not_installed() -> None:
    listing = {
        **GUIDE,
        "__MACOSX": DIRECTORY,
        "__MACOSX/x": FILE,
        ".DS_Store": FILE,
        "my-folder/.DS_Store": FILE,
    }
    found = targets(("/", "/srv"), listing=listing)
    assert [path for path in found if "DS_Store" in path or "MACOSX" in path] == ["/srv/my-folder/.DS_Store"]


@pytest.mark.req("AG-298", "AG-305", "AG-306")
def test_sources_may_share_a_destination() -> None:
    found = targets(
        ("my-file.txt", "/srv/a/"), ("my-file-2.txt", "/srv//a"), ("/my-file-3.txt", "/srv/b/../a")
    )
    assert list(found) == ["/srv/a/my-file.txt", "/srv/a/my-file-2.txt", "/srv/a/my-file-3.txt"]
    assert "/srv" in targets(("my-folder", "/srv"), ("my-folder/my-folder-2", "/srv/my-folder-2/x"))


@pytest.mark.req("AG-310", "AG-311", "V2-193")
def test_links_are_entries_and_never_walked() -> None:
    listing = {"d": DIRECTORY, "d/x": FILE, "link": LINK}
    assert targets(("link", "/srv"), listing=listing) == {"/srv/link": "link"}
    (finding,) = check_against(AppSpec(files=(FileMapping("link/x", "/srv"),)), listing)
    assert finding.code == "FILES_SOURCE_NOT_FOUND"
    assert "'link' is a link" in finding.message


@pytest.mark.req("AG-V13", "AG-T42")
def test_a_missing_source() -> None:
    assert codes(("missing", "/srv")) == ["FILES_SOURCE_NOT_FOUND"]


@pytest.mark.req("AG-V14", "V2-195")
def test_two_sources_for_one_path_are_both_named() -> None:
    appspec = AppSpec(files=(FileMapping("my-file.txt", "/srv"), FileMapping("my-folder", "/srv")))
    (finding,) = check_against(appspec, GUIDE)
    assert finding.code == "FILES_DUPLICATE_DESTINATION"
    assert "'my-file.txt'" in finding.message
    assert "'my-folder/my-file.txt'" in finding.message


@pytest.mark.req("AG-V15", "V2-195")
@pytest.mark.parametrize(
    "mappings",
    [
        (("my-file.txt", "/srv"), ("my-folder", "/srv/my-file.txt")),
        (("my-folder", "/srv/my-file.txt"), ("my-file.txt", "/srv")),
        (("my-file.txt", "/srv"), ("my-file-2.txt", "/srv/my-file.txt/deep")),
        (("my-file-2.txt", "/srv/my-file.txt/deep"), ("my-file.txt", "/srv")),
    ],
)
def test_a_path_cannot_be_file_and_directory(mappings: tuple[tuple[str, str], ...]) -> None:
    assert "FILES_FILE_DIR_CLASH" in codes(*mappings)


@pytest.mark.req("AG-314")
def test_what_cannot_be_deployed() -> None:
    assert codes(("/", "/srv"), listing={"fifo": SPECIAL}) == ["FILES_SPECIAL"]


@pytest.mark.req("AG-V48", "AG-V47")
@pytest.mark.parametrize(
    "location, code, hint",
    [
        ("my-file.txt", None, ""),
        ("/my-file.txt", None, ""),
        ("my-file.txt --now", "SCRIPT_LOCATION_NOT_FOUND", "takes no arguments"),
        ("nothing.sh", "SCRIPT_LOCATION_NOT_FOUND", "does not exist"),
        ("my-folder", "SCRIPT_LOCATION_NOT_FOUND", "is a directory"),
    ],
)
def test_a_location_names_a_file(location: str, code: str | None, hint: str) -> None:
    appspec = AppSpec(hooks={"AfterInstall": (Script(location=location),)})
    found = check_against(appspec, GUIDE)
    assert [finding.code for finding in found] == ([code] if code else [])
    assert all(hint in finding.message and "AfterInstall" in finding.message for finding in found)


@pytest.mark.req("AG-V56")
@pytest.mark.parametrize(
    "line, warns",
    [
        (b"#!/bin/sh\n", ""), (b"#!/bin/sh\r\n", "carriage return"), (b"echo hello\n", "no '#!' line"),
        (b"#!python\n", "absolute path"), (b"\x7fELF\x02\x01", ""),
    ],
)  # fmt: skip
def test_first_lines_of_scripts(line: bytes, warns: str) -> None:
    appspec = AppSpec(hooks={"AfterInstall": (Script(location="/my-file.txt"),)})
    found = check_against(appspec, GUIDE, scripts={"my-file.txt": ScriptFacts(line)})
    assert [(f.code, f.severity.value) for f in found] == (
        [("SCRIPT_FIRST_LINE", "warning")] if warns else []
    )
    assert all(warns in finding.message for finding in found)


@pytest.mark.req("AG-V39", "AG-V40", "AG-V41", "AG-V42", "AG-V33")
def test_permissions_are_checked_against_what_is_installed() -> None:
    source = b"""version: 0.0
os: linux
files:
  - {source: my-folder, destination: /srv/app}
permissions:
  - {object: /srv/app/my-file.txt, pattern: "*.txt", except: [a]}
  - {object: /srv/app, pattern: "my*"}
  - {object: /somewhere/else}
  - {object: /srv/app/my-folder-2, acls: ["d:u:bob:r"]}
"""
    parsed = parse(source)
    assert parsed.appspec is not None
    found = {(f.code, f.severity.value, f.line) for f in check_against(parsed.appspec, GUIDE)}
    assert found == {
        ("PERM_FILE_PATTERN", "error", 6),
        ("PERM_FILE_EXCEPT", "error", 6),
        ("PERM_DUPLICATE", "error", 7),
        ("PERM_NO_MATCH", "warning", 8),
        ("PERM_ACE_DEFAULT_ON_FILE", "error", 9),
    }


@pytest.mark.req("AG-262", "AG-C16", "V2-170", "AG-204")
def test_lookup_order() -> None:
    both = {"appspec.yml", "appspec.yaml", "conf/my.yml"}
    assert find_appspec_name(both) == "appspec.yml"
    assert find_appspec_name(both, "conf/my.yml") == "conf/my.yml"
    assert find_appspec_name(both, "gone.yml") == "appspec.yaml"
    assert find_appspec_name({"appspec.yml"}, "gone.yml") == "appspec.yml"
    assert find_appspec_name({"appspec.yaml"}) == "appspec.yaml"
    assert find_appspec_name({"Appspec.yml", "x/appspec.yml"}) is None


@pytest.mark.req("AG-264", "AG-255")
def test_similar_names_are_found_nearest_first() -> None:
    names = ["deep/er/appspec.yml", "app/appspec.yml", "AppSpec.YML", "app/readme.md", "appspec-notes.txt"]
    assert similar_names(names) == ["AppSpec.YML", "app/appspec.yml", "deep/er/appspec.yml"]
