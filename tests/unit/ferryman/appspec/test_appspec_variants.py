"""What one kind of mistake after another is called, and how little the layout of a file matters."""

from __future__ import annotations

import re

import pytest
import yaml

from ferryman.appspec import EntryKind, Finding, check_against, parse, template

HEAD = "version: 0.0\nos: linux\n"
ONE_FILE = HEAD + "files:\n  - {source: a, destination: /srv}\n"
ACL = ONE_FILE + "permissions:\n  - object: /srv/a\n    type: [file]\n    acls: [%s]\n"
CONTEXT = ONE_FILE + "permissions:\n  - object: /srv\n    context: {%s}\n"
MODE = ONE_FILE + "permissions:\n  - {object: /srv, mode: '%s'}\n"

VARIANTS = {
    "empty file": (" \n", "APPSPEC_EMPTY", "empty"),
    "version": ("version: 1.5\nos: linux\n", "APPSPEC_VERSION", "1.5"),
    "operating system": ("version: 0.0\nos: beos\n", "APPSPEC_OS", "beos"),
    "file-exists behaviour": (HEAD + "file_exists_behavior: MERGE\n", "FILE_EXISTS_BEHAVIOR", "MERGE"),
    "script location": (HEAD + "hooks: {AfterInstall: [{timeout: 5}]}\n", "SCRIPT_LOCATION_MISSING", "AfterInstall"),
    "timeout": (HEAD + "hooks: {AfterInstall: [{location: a, timeout: 10m}]}\n", "SCRIPT_TIMEOUT", "10m"),
    "missing source": (HEAD + "files: [{destination: /srv}]\n", "FILES_SOURCE_MISSING", "entry 1"),
    "missing destination": (HEAD + "files: [{source: a.txt}]\n", "FILES_DESTINATION_MISSING", "a.txt"),
    "permissions on Windows": (
        "version: 0.0\nos: windows\npermissions: [{object: 'c:\\x'}]\n", "PERM_WINDOWS", "windows",
    ),
    "missing object": (HEAD + "permissions: [{mode: 644}]\n", "PERM_OBJECT_MISSING", "entry 1"),
    "object type": (HEAD + "permissions: [{object: /srv, type: [link]}]\n", "PERM_TYPE", "link"),
    "mode length": (MODE % "07777", "PERM_MODE", "07777"),
    "mode character": (MODE % "68a", "PERM_MODE", "68a"),
    "pattern with a file object": (
        ONE_FILE + "permissions:\n  - {object: /srv/a, pattern: '*.sh', type: [file]}\n", "PERM_FILE_PATTERN", "*.sh",
    ),
    "except with a file object": (
        ONE_FILE + "permissions:\n  - {object: /srv/a, except: ['x'], type: [file]}\n", "PERM_FILE_EXCEPT", "/srv/a",
    ),
    "ACL entry": (ACL % "'a:b:c:d:e'", "PERM_ACE", "a:b:c:d:e"),
    "named entry needed": (ACL % "'user::rw'", "PERM_ACE_BASE", "user::rw"),
    "ACL character": (ACL % "'user:bob:rq'", "PERM_ACE_PERM", "q"),
    "default ACL on a file": (ACL % "'d:user:bob:rw'", "PERM_ACE_DEFAULT_ON_FILE", "/srv/a"),
    "context without type": (CONTEXT % "user: u", "PERM_CONTEXT_TYPE", "type"),
    "bad MLS range": (CONTEXT % "type: t, range: s1-s0", "PERM_CONTEXT_RANGE", "s1"),
    "YAML error": ("version: [0.0\n", "APPSPEC_SYNTAX", "YAML"),
}  # fmt: skip


def findings(source: str) -> tuple[Finding, ...]:
    parsed = parse(source.encode())
    if parsed.appspec is None:
        return parsed.findings
    return parsed.findings + check_against(parsed.appspec, {"a": EntryKind.FILE})


@pytest.mark.req("V2-174")
@pytest.mark.parametrize("source, code, fact", VARIANTS.values(), ids=VARIANTS)
def test_each_variant_has_a_code_and_names_what_is_wrong(source: str, code: str, fact: str) -> None:
    (found,) = [finding for finding in findings(source) if finding.is_error]
    assert found.code == code
    assert fact in found.message
    assert found.line > 0 or code == "APPSPEC_EMPTY"


@pytest.mark.req("V2-174")
def test_no_two_variants_have_one_text() -> None:
    texts = {
        name: re.sub(r"'[^']*'|/\S+|\d+", "…", next(one.message for one in findings(source) if one.is_error))
        for name, (source, _, _) in VARIANTS.items()
    }
    assert len(set(texts.values())) == len(texts), texts


@pytest.mark.req("V2-169")
@pytest.mark.parametrize("pattern", ["*.sh", "a*b", "[x", "%s"])
def test_a_wrong_pattern_is_shown_as_it_is_written(pattern: str) -> None:
    source = ONE_FILE + f"permissions:\n  - object: /srv/a\n    pattern: '{pattern}'\n    type: [file]\n"
    (found,) = [finding for finding in findings(source) if finding.is_error]
    assert f"'{pattern}'" in found.message


@pytest.mark.parametrize("kind", ["unconfined_t", "kernel_t", "init_t"])
def test_types_that_agents_refuse_are_warned_of(kind: str) -> None:
    (found,) = findings(CONTEXT % f"type: {kind}")
    assert (found.code, found.is_error) == ("PERM_CONTEXT_UNCONFINED", False)
    assert kind in found.message


@pytest.mark.req("AG-269")
@pytest.mark.parametrize("step", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("in_list", [True, False])
def test_any_indentation_means_the_same(step: int, in_list: bool) -> None:
    guide = (
        "version: 0.0\nos: linux\nfiles:\n  - source: a\n    destination: /srv\nhooks:\n  AfterInstall:\n"
        "    - location: b.sh\n      timeout: 30\n"
    )
    expected = parse(guide.encode())
    pad, dash = " " * step, " " * step if in_list else ""
    other = (
        f"version: 0.0\nos: linux\nfiles:\n{dash}-{pad}source: a\n{dash} {pad}destination: /srv\n"
        f"hooks:\n{pad}AfterInstall:\n{pad}{dash}-{pad}location: b.sh\n{pad}{dash} {pad}timeout: 30\n"
    )
    found = parse(other.encode())
    assert found.findings == expected.findings == ()
    assert found.appspec is not None
    assert expected.appspec is not None
    assert [(one.source, one.destination) for one in found.appspec.files] == [("a", "/srv")]
    (script,) = found.appspec.hooks["AfterInstall"]
    assert (script.location, script.timeout_seconds) == ("b.sh", 30)


@pytest.mark.req("AG-278", "AG-269")
def test_the_template_is_right_as_it_stands_and_with_its_comments_taken_off() -> None:
    parsed = parse(template().encode())
    assert parsed.findings == ()
    assert parsed.appspec is not None
    assert check_against(parsed.appspec, {"appspec.yml": EntryKind.FILE}) == ()
    # What is commented out: everything that begins like YAML.
    whole = re.sub(r"(?m)^# (?=(permissions|hooks):| +[-A-Za-z]+)", "", template())
    used = parse(whole.encode())
    assert used.findings == ()
    assert used.appspec is not None
    assert used.appspec.permissions
    assert len(used.appspec.hooks) == 3
    assert set(yaml.safe_load(whole)) == {
        "version", "os", "files", "file_exists_behavior", "permissions", "hooks",
    }  # fmt: skip


@pytest.mark.req("AG-268", "AG-273")
@pytest.mark.parametrize(
    "merge, code, line",
    [
        ("<<: 5", "APPSPEC_MERGE", 3),
        ("hooks: {<<: [1, {AfterInstall: [{location: a}]}]}", "APPSPEC_MERGE", 3),
        ("<<: {filez: []}", "UNKNOWN_KEY", 3),
        ("<<: {<<: {\n  filez: []}}", "UNKNOWN_KEY", 4),
    ],
)
def test_nothing_of_a_merge_is_dropped_in_silence(merge: str, code: str, line: int) -> None:
    source = (HEAD + merge + "\n").encode()
    (found,) = parse(source).findings
    assert (found.code, found.is_error, found.line) == (code, True, line)
    (found,) = parse(source, strict=False).findings
    assert (found.code, found.is_error) == (code, False)


def test_merges_of_merges_count() -> None:
    source = "x: &a {os: linux}\ny: &b {<<: *a, version: 0.0}\n<<: *b\n"
    parsed = parse(source.encode(), strict=False)
    assert parsed.appspec is not None
    assert parsed.appspec.os == "linux"
