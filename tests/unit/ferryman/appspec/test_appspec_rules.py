"""The rules of the top level, of files and of hooks: for each a good and a bad file (AG-T24)."""

import pytest

from ferryman.appspec import Finding, parse

HEAD = "version: 0.0\nos: linux\n"
WINDOWS = "version: 0.0\nos: windows\n"


def findings(source: str, *, strict: bool = True, host_os: str | None = None) -> list[tuple[str, str]]:
    parsed = parse(source.encode(), strict=strict, host_os=host_os)
    assert (parsed.appspec is None) == any(finding.is_error for finding in parsed.findings)
    return [(finding.code, finding.severity.value) for finding in parsed.findings]


def the(source: str, code: str, *, strict: bool = True) -> Finding:
    (found,) = [f for f in parse(source.encode(), strict=strict).findings if f.code == code]
    return found


@pytest.mark.req("AG-V03", "V2-151", "AG-T20", "AG-C18")
@pytest.mark.parametrize(
    "version, expected",
    [
        ("0.0", []),
        ("0", []),
        ("-0.0", []),
        ('"0.0"', [("APPSPEC_VERSION", "warning")]),
        ("1.0", [("APPSPEC_VERSION", "error")]),
        ("abc", [("APPSPEC_VERSION", "error")]),
        ("[0.0]", [("APPSPEC_VERSION", "error")]),
        ("", [("APPSPEC_VERSION", "error")]),
    ],
)
def test_version(version: str, expected: list[tuple[str, str]]) -> None:
    assert findings(f"version: {version}\nos: linux\n") == expected


@pytest.mark.req("AG-V03", "AG-T20")
def test_a_wrong_version_is_shown_and_a_missing_one_named() -> None:
    assert "'1.0'" in the("version: 1.0\nos: linux\n", "APPSPEC_VERSION").message
    assert "missing" in the("os: linux\n", "APPSPEC_VERSION").message


@pytest.mark.req("AG-V04", "V2-152", "AG-T21")
@pytest.mark.parametrize("system", ["Linux", "WINDOWS", "macos", "[linux]", ""])
def test_os_is_exact(system: str) -> None:
    found = the(f"version: 0.0\nos: {system}\n", "APPSPEC_OS")
    assert found.is_error
    if system.isalpha():
        assert system in found.message


@pytest.mark.req("AG-V05", "AG-T21", "AG-006")
def test_os_must_be_the_hosts() -> None:
    assert findings(WINDOWS, strict=False, host_os="linux") == [("APPSPEC_OS_MISMATCH", "error")]
    assert findings(HEAD, strict=False, host_os="linux") == []


@pytest.mark.req("AG-279", "AG-277", "V2-153", "AG-T23", "AG-X25")
def test_unknown_keys_are_hinted_at_and_only_a_warning_on_hosts() -> None:
    found = the(HEAD + "hook: {}\n", "UNKNOWN_KEY")
    assert (found.line, found.column, found.key_path) == (3, 1, "hook")
    assert "'hooks'" in found.message
    assert findings(HEAD + "hook: {}\n", strict=False) == [("UNKNOWN_KEY", "warning")]


@pytest.mark.req("AG-V57", "AG-277")
@pytest.mark.parametrize("key", ["Resources", "resources"])
def test_an_appspec_of_another_platform_is_recognised(key: str) -> None:
    assert findings(HEAD + f"{key}: []\n") == [("APPSPEC_WRONG_PLATFORM", "error")]
    assert findings(HEAD + f"{key}: []\n", strict=False) == [("APPSPEC_WRONG_PLATFORM", "warning")]


@pytest.mark.req("AG-V58")
def test_neither_files_nor_hooks_is_valid() -> None:
    assert findings(HEAD) == []


@pytest.mark.req("AG-268", "AG-T24")
def test_all_mistakes_come_together_in_the_order_of_the_file() -> None:
    source = (
        "version: 2\nos: linux\nfiles:\n  - source: a\n  - destination: /b\n  - source: ../c\n    destination: d\n"
        "permissions:\n  - mode: 99\nhooks:\n  Foo:\n    - timeout: abc\n"
    )
    parsed = parse(source.encode())
    assert [f.code for f in parsed.findings] == [
        "APPSPEC_VERSION", "FILES_DESTINATION_MISSING", "FILES_SOURCE_MISSING", "FILES_SOURCE_ESCAPES",
        "FILES_DESTINATION_RELATIVE", "PERM_OBJECT_MISSING", "PERM_MODE", "HOOK_UNKNOWN",
        "SCRIPT_LOCATION_MISSING", "SCRIPT_TIMEOUT",
    ]  # fmt: skip
    assert all(finding.line and finding.column and finding.key_path for finding in parsed.findings)
    assert parsed.findings[3].key_path == "files[2].source"


@pytest.mark.req("AG-V07", "AG-X22", "AG-C22")
@pytest.mark.parametrize(
    "files, severity",
    [("", "warning"), ("/srv", "error"), ("{a: b}", "error"), ("[a]", "error"), ("[~]", "error")],
)
def test_files_shape(files: str, severity: str) -> None:
    assert findings(HEAD + f"files: {files}\n") == [("FILES_SHAPE", severity)]


@pytest.mark.req("AG-V08", "AG-V09", "V2-158", "AG-C22")
def test_source_and_destination_are_both_needed() -> None:
    assert "entry 1" in the(HEAD + "files:\n  - destination: /a\n", "FILES_SOURCE_MISSING").message
    assert (
        "entry 1" in the(HEAD + "files:\n  - source:\n    destination: /a\n", "FILES_SOURCE_MISSING").message
    )
    assert "'conf/a'" in the(HEAD + "files:\n  - source: conf/a\n", "FILES_DESTINATION_MISSING").message


@pytest.mark.req("AG-V10", "AG-302")
@pytest.mark.parametrize("value", ['""', "'  '", "5", "true", "[a]", '"a\\0b"'])
def test_source_and_destination_are_text(value: str) -> None:
    source = HEAD + f"files:\n  - source: {value}\n    destination: /a\n"
    assert findings(source) == [("FILES_TYPE", "error")]


@pytest.mark.req("AG-270", "AG-V10")
def test_quoted_and_plain_text_are_the_same() -> None:
    parsed = parse((HEAD + "files:\n  - source: '5'\n    destination: /1.2.3\n").encode())
    assert parsed.findings == ()
    assert parsed.appspec is not None
    assert [(m.source, m.destination) for m in parsed.appspec.files] == [("5", "/1.2.3")]


@pytest.mark.req("AG-V11", "V2-192")
@pytest.mark.parametrize(
    "head, destination, code",
    [
        (HEAD, "srv/app", "FILES_DESTINATION_RELATIVE"),
        (HEAD, "C:\\app", "FILES_DESTINATION_RELATIVE"),
        (WINDOWS, "/srv", "FILES_DESTINATION_RELATIVE"),
        (HEAD, "/srv/../../etc", "FILES_DESTINATION_ESCAPES"),
        (HEAD, "/var/www/../cgi-bin", None),
        (WINDOWS, "C:\\app", None),
        (WINDOWS, "\\\\server\\share", None),
    ],
)
def test_destination_is_absolute_and_below_the_root(head: str, destination: str, code: str | None) -> None:
    expected = [(code, "error")] if code else []
    assert findings(head + f"files:\n  - source: a\n    destination: '{destination}'\n") == expected


@pytest.mark.req("AG-V12", "V2-191", "AG-300", "AG-299")
@pytest.mark.parametrize(
    "source, escapes",
    [
        ("../etc", True), ("a/../../b", True), ("/../a", True), ("a/..", True), ("..", True),
        ("a/../b", False), ("/conf/a", False), ("./x/", False), ("/", False), (".", False), ("..a", False),
    ],
)  # fmt: skip
def test_source_stays_inside(source: str, escapes: bool) -> None:
    expected = [("FILES_SOURCE_ESCAPES", "error")] if escapes else []
    assert findings(HEAD + f"files:\n  - source: {source}\n    destination: /a\n") == expected


@pytest.mark.req("AG-301")
@pytest.mark.parametrize("source", ["*.txt", "$HOME/a", "${X}", "~/a", "%TEMP%"])
def test_what_is_not_expanded_is_warned_about(source: str) -> None:
    expected = [("PATH_NOT_EXPANDED", "warning")]
    assert findings(HEAD + f"files:\n  - source: '{source}'\n    destination: /a\n") == expected


@pytest.mark.req("AG-V16", "AG-C19", "AG-280", "AG-X25")
def test_a_nested_file_exists_behavior_is_told_where_it_belongs() -> None:
    source = HEAD + "files:\n  - source: a\n    destination: /a\n    file_exists_behavior: OVERWRITE\n"
    assert "top level" in the(source, "UNKNOWN_KEY").message


@pytest.mark.req("AG-V17", "AG-329", "V2-159", "AG-280", "AG-H12")
@pytest.mark.parametrize(
    "value, expected",
    [
        ("DISALLOW", []), ("OVERWRITE", []), ("RETAIN", []),
        ("overwrite", [("FILE_EXISTS_BEHAVIOR", "error")]),
        ("[RETAIN]", [("FILE_EXISTS_BEHAVIOR", "error")]),
        ("", [("FILE_EXISTS_BEHAVIOR", "warning")]),
    ],
)  # fmt: skip
def test_file_exists_behavior(value: str, expected: list[tuple[str, str]]) -> None:
    source = HEAD + f"file_exists_behavior: {value}\n"
    assert findings(source) == expected
    parsed = parse(source.encode())
    if parsed.appspec is not None:
        assert parsed.appspec.file_exists_behavior == (value or None)


# Hooks


@pytest.mark.req("AG-V44", "V2-154", "AG-X22", "AG-C22")
@pytest.mark.parametrize(
    "hooks, severity",
    [("", "warning"), ("{AfterInstall: }", "warning"), ("[a]", "error"), ("x", "error")],
)
def test_hooks_shape(hooks: str, severity: str) -> None:
    assert findings(HEAD + f"hooks: {hooks}\n") == [("HOOKS_SHAPE", severity)]


@pytest.mark.req("AG-V45", "AG-X22")
@pytest.mark.parametrize("scripts", ["a.sh", "{location: a.sh}", "[a.sh]"])
def test_an_event_holds_a_list_of_mappings(scripts: str) -> None:
    found = the(HEAD + f"hooks:\n  AfterInstall: {scripts}\n", "HOOKS_SCRIPT_SHAPE")
    assert "AfterInstall" in found.message


@pytest.mark.req("AG-V46", "V2-154")
@pytest.mark.parametrize("location", ["", "'  '", "[a]", "{}"])
def test_location_is_needed(location: str) -> None:
    source = HEAD + f"hooks:\n  AfterInstall:\n    - location: {location}\n"
    assert findings(source) == [("SCRIPT_LOCATION_MISSING", "error")]


@pytest.mark.req(
    "AG-V46", "V2-157", "AG-282", "AG-C37", "AG-283", "V2-155", "AG-406", "AG-C01", "AG-Q01", "A31"
)
def test_scripts_are_read_in_order_with_their_defaults() -> None:
    source = HEAD + (
        "hooks:\n  ApplicationStart:\n    - location: '  /scripts/b.sh '\n      runas: ' web '\n      sudo: yes\n"
        "    - location: a.sh\n      timeout: '90'\n      runas: ''\n  ApplicationStop:\n    - location: s.sh\n"
    )
    parsed = parse(source.encode())
    assert parsed.findings == ()
    assert parsed.appspec is not None
    first, second = parsed.appspec.hooks["ApplicationStart"]
    assert (first.location, first.timeout_seconds, first.runas, first.sudo) == (
        "/scripts/b.sh",
        3600,
        "web",
        True,
    )
    assert (second.location, second.timeout_seconds, second.runas, second.sudo) == ("a.sh", 90, None, False)


@pytest.mark.req("AG-V47")
def test_a_location_stays_inside() -> None:
    source = HEAD + "hooks:\n  AfterInstall:\n    - location: ../a.sh\n"
    assert findings(source) == [("SCRIPT_LOCATION_ESCAPES", "error")]


@pytest.mark.req("AG-V49", "AG-T29", "V2-155", "V2-156")
@pytest.mark.parametrize("timeout", ["abc", "0", "-5", "10m", "1.9", "1_000", "010", "[5]", "99999999999"])
def test_a_wrong_timeout_is_never_guessed_at(timeout: str) -> None:
    source = HEAD + f"hooks:\n  AfterInstall:\n    - location: a\n      timeout: {timeout}\n"
    found = the(source, "SCRIPT_TIMEOUT")
    assert found.is_error
    assert timeout in found.message or "list" in found.message


@pytest.mark.req("AG-V50", "AG-T29", "V2-156")
def test_timeouts_beyond_the_events_own_are_warned_about() -> None:
    one = HEAD + "hooks:\n  AfterInstall:\n    - location: a\n      timeout: 99999\n"
    assert findings(one) == [("TIMEOUT_EXCEEDS_EVENT", "warning")]
    both = HEAD + "hooks:\n  AfterInstall:\n" + "    - location: a\n      timeout: 2000\n" * 2
    assert "4000" in the(both, "TIMEOUT_EXCEEDS_EVENT").message
    defaults = HEAD + "hooks:\n  AfterInstall:\n" + "    - location: a\n" * 2
    assert findings(defaults) == []


@pytest.mark.req("AG-V51")
def test_runas_is_a_name() -> None:
    assert findings(HEAD + "hooks:\n  AfterInstall:\n    - {location: a, runas: [x]}\n") == [
        ("SCRIPT_RUNAS", "error")
    ]
    assert findings(HEAD + "hooks:\n  AfterInstall:\n    - {location: a, sudo: maybe}\n") == [
        ("SCRIPT_SUDO", "error")
    ]


@pytest.mark.req("AG-V52", "AG-537")
@pytest.mark.parametrize("key", ["runas: x", "sudo: true"])
def test_windows_has_no_runas(key: str) -> None:
    source = WINDOWS + f"hooks:\n  AfterInstall:\n    - location: a\n      {key}\n"
    assert findings(source) == [("RUNAS_WINDOWS", "error")]


@pytest.mark.req("AG-V53", "AG-T30", "AG-277", "AG-188")
@pytest.mark.parametrize(
    "name, hint",
    [
        ("afterInstall", "'AfterInstall'"),
        ("Foo", "no lifecycle event"),
        ("Start", "no lifecycle event"),
        ("End", "no lifecycle event"),
        pytest.param("DownloadBundle", "no scripts", marks=pytest.mark.req("CP-252")),
        pytest.param("Install", "no scripts", marks=pytest.mark.req("CP-252")),
        pytest.param("BlockTraffic", "no scripts", marks=pytest.mark.req("CP-252")),
        pytest.param("AllowTraffic", "no scripts", marks=pytest.mark.req("CP-252")),
    ],
)
def test_unknown_events_are_named_with_the_nearest(name: str, hint: str) -> None:
    source = HEAD + f"hooks:\n  {name}:\n    - location: a\n"
    found = the(source, "HOOK_UNKNOWN")
    assert found.is_error
    assert (found.line, found.column) == (4, 3)
    assert hint in found.message
    relaxed = parse(source.encode(), strict=False)
    assert [(f.code, f.severity) for f in relaxed.findings] == [("HOOK_UNKNOWN", "warning")]


@pytest.mark.req("AG-V53")
def test_custom_events_of_a_local_deployment_are_known() -> None:
    source = (HEAD + "hooks:\n  Mine:\n    - location: a\n").encode()
    assert parse(source, custom_events=("Mine",)).findings == ()


@pytest.mark.req("AG-V54", "AG-V55", "AG-T30", "V2-171", "AG-277", "AG-X47")
def test_a_list_of_possible_events_is_enforced_on_hosts_too() -> None:
    possible = ("ApplicationStop", "DownloadBundle", "BeforeInstall", "Install", "Mine")
    source = (HEAD + "hooks:\n  ApplicationStart:\n    - location: a\n  Foo:\n    - location: a\n").encode()
    parsed = parse(source, strict=False, possible_events=possible)
    assert {(f.code, f.severity.value) for f in parsed.findings} == {
        ("HOOK_NOT_POSSIBLE", "error"), ("HOOK_UNKNOWN", "error"), ("HOOK_CUSTOM_MISSING", "error"),
    }  # fmt: skip
    good = (HEAD + "hooks:\n  ApplicationStop:\n    - location: a\n  Mine:\n    - location: b\n").encode()
    assert parse(good, possible_events=possible).findings == ()
