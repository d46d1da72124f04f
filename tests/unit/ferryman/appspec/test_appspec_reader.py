"""Bytes to nodes: everything that can be wrong with a file before its content matters."""

import time

import pytest

from ferryman.appspec import SIZE_LIMIT, ParsedAppSpec, parse

GOOD = "version: 0.0\nos: linux\n"


def codes(parsed: ParsedAppSpec) -> list[tuple[str, str]]:
    return [(finding.code, finding.severity.value) for finding in parsed.findings]


def only_error(source: bytes | str, *, strict: bool = True) -> tuple[str, int, int, str]:
    parsed = parse(source.encode() if isinstance(source, str) else source, strict=strict)
    assert parsed.appspec is None
    (finding,) = parsed.findings
    return finding.code, finding.line, finding.column, finding.message


@pytest.mark.req("AG-265", "AG-283", "AG-C17")
@pytest.mark.parametrize(
    "source", [GOOD, '{"version": 0.0, "os": "linux"}', '{\n\t"version": 0.0,\n\t"os": "linux"\n}']
)
def test_yaml_and_json_are_accepted(source: str) -> None:
    parsed = parse(source.encode())
    assert parsed.findings == ()
    assert parsed.appspec is not None
    assert (parsed.appspec.os, parsed.appspec.files, parsed.appspec.permissions) == ("linux", (), ())
    assert parsed.appspec.hooks == {}


@pytest.mark.req("AG-V01", "V2-150", "AG-T19")
@pytest.mark.parametrize("source", ["", "\n\n", "# only a comment\n", "---\n", "\ufeff"])
def test_an_empty_file_says_so(source: str) -> None:
    assert only_error(source)[0] == "APPSPEC_EMPTY"


@pytest.mark.req("AG-V02", "AG-T19")
@pytest.mark.parametrize(
    "source, kind", [("- a\n", "a list"), ("just text\n", "a single value"), ("~\n", "nothing")]
)
def test_the_root_must_be_a_mapping(source: str, kind: str) -> None:
    code, line, column, message = only_error(source)
    assert (code, line, column) == ("APPSPEC_NOT_MAPPING", 1, 1)
    assert kind in message


@pytest.mark.req("AG-266", "AG-T22")
@pytest.mark.parametrize(
    "source",
    [
        b"\xef\xbb\xbf" + GOOD.encode(),
        GOOD.replace("\n", "\r\n").encode(),
        "version: 0.0\nos: linux # \u00a0ä".encode(),
    ],
)
def test_bom_crlf_and_odd_comments_are_fine(source: bytes) -> None:
    assert parse(source).findings == ()


@pytest.mark.req("AG-266")
def test_other_encodings_are_named() -> None:
    code, line, column, message = only_error(b"version: 0.0\nos: l\xfcnux\n")
    assert (code, line, column) == ("APPSPEC_ENCODING", 2, 6)
    assert "0xfc" in message
    assert "UTF-16" in only_error(GOOD.encode("utf-16"))[3]


@pytest.mark.req("AG-267", "AG-T22")
def test_tabs_in_indentation_are_all_named() -> None:
    parsed = parse(b"version: 0.0\nos: linux\nfiles:\n\t- source: a\n\t  destination: /b\n")
    assert [(f.code, f.line, f.column) for f in parsed.findings] == [
        ("APPSPEC_CHARACTER", 4, 1),
        ("APPSPEC_CHARACTER", 5, 1),
    ]
    assert "U+0009" in parsed.findings[0].message


@pytest.mark.req("AG-267", "AG-T22")
@pytest.mark.parametrize(
    "source, line, column, code_point",
    [
        ("version: 0.0\nos:\u00a0linux\n", 2, 4, "U+00A0"),
        ("version: 0.0\nos: \u00a0linux\n", 2, 5, "U+00A0"),
        ("version: 0.0\nos: linux\u200b\n", 2, 10, "U+200B"),
        ("version: 0.0\nos: linux\x00\n", 2, 10, "U+0000"),
        ("version: 0.0\nos: li\x1bnux\n", 2, 7, "U+001B"),
    ],
)
def test_invisible_characters_are_named_with_their_code_point(
    source: str, line: int, column: int, code_point: str
) -> None:
    parsed = parse(source.encode())
    found = [f for f in parsed.errors if f.code == "APPSPEC_CHARACTER"]
    assert [(f.line, f.column) for f in found] == [(line, column)]
    assert code_point in found[0].message


@pytest.mark.req("AG-267")
def test_invisible_characters_in_quotes_are_meant() -> None:
    source = GOOD + "files:\n  - source: \"a\u00a0b\"\n    destination: '/srv/\u2003'\n"
    assert parse(source.encode()).findings == ()


@pytest.mark.req("AG-V06", "AG-268", "AG-S24")
def test_a_syntax_error_has_line_and_column() -> None:
    code, line, column, message = only_error("version: 0.0\nos: linux\nfiles: [a, b\n")
    assert (code, line) == ("APPSPEC_SYNTAX", 4)
    assert column >= 1
    assert "valid YAML" in message


@pytest.mark.req("AG-271", "AG-277", "AG-T23", "V2-173")
def test_a_repeated_key_is_an_error_for_lint_and_a_warning_on_a_host() -> None:
    source = b"version: 0.0\nos: windows\nos: linux\n"
    code, line, column, message = only_error(source)
    assert (code, line, column) == ("DUPLICATE_KEY", 3, 1)
    assert "line 2" in message
    relaxed = parse(source, strict=False)
    assert codes(relaxed) == [("DUPLICATE_KEY", "warning")]
    assert relaxed.appspec is not None
    assert relaxed.appspec.os == "linux"


@pytest.mark.req("AG-272", "AG-277", "AG-T23")
def test_a_second_document_is_an_error_for_lint_and_ignored_on_a_host() -> None:
    source = GOOD.encode() + b"---\nversion: 9\n"
    assert only_error(source)[0] == "APPSPEC_DOCUMENTS"
    relaxed = parse(source, strict=False)
    assert codes(relaxed) == [("APPSPEC_DOCUMENTS", "warning")]
    assert relaxed.appspec is not None


@pytest.mark.req("AG-273")
def test_anchors_aliases_and_merges_work() -> None:
    source = GOOD + (
        "hooks:\n  AfterInstall: &same\n    - &one {location: a.sh, timeout: 10}\n"
        "  ApplicationStart: *same\n  ValidateService:\n    - <<: *one\n      location: b.sh\n"
    )
    parsed = parse(source.encode())
    assert parsed.findings == ()
    assert parsed.appspec is not None
    assert parsed.appspec.hooks["ApplicationStart"] == parsed.appspec.hooks["AfterInstall"]
    (script,) = parsed.appspec.hooks["ValidateService"]
    assert (script.location, script.timeout_seconds) == ("b.sh", 10)


@pytest.mark.req("AG-273", "V2-173")
@pytest.mark.parametrize(
    "source, code",
    [
        ("a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
            f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(8)
        ), "APPSPEC_TOO_LARGE"),
        ("a: &a\n  b: *a\n", "APPSPEC_ALIAS"),
        ("a: &a [*a]\n", "APPSPEC_ALIAS"),
        ("[" * 200_000, "APPSPEC_DEPTH"),
        ("- " * 100_000, "APPSPEC_DEPTH"),
        ("x: " + "{a: " * 100_000, "APPSPEC_DEPTH"),
    ],
)  # fmt: skip
def test_bombs_end_quickly(source: str, code: str) -> None:
    begin = time.perf_counter()
    assert only_error(source)[0] == code
    assert time.perf_counter() - begin < 10


@pytest.mark.req("AG-275", "V2-173")
@pytest.mark.parametrize("tag", ["!ruby/object:Gem::Installer", "!!python/object/apply:os.system", "!mine"])
def test_objects_cannot_be_made(tag: str) -> None:
    parsed = parse(f"version: 0.0\nos: {tag} linux\n".encode(), strict=False)
    assert parsed.appspec is None
    assert ("APPSPEC_TAG", "error") in codes(parsed)


@pytest.mark.req("AG-274")
def test_more_than_a_mebibyte_is_refused_unread() -> None:
    padding = b"#" * (SIZE_LIMIT - len(GOOD))
    assert parse(GOOD.encode() + padding).findings == ()
    code, *_, message = only_error(GOOD.encode() + padding + b"#")
    assert code == "APPSPEC_TOO_LARGE"
    assert str(SIZE_LIMIT) in message
    begin = time.perf_counter()
    assert only_error(b"- x\n" * 2_500_000)[0] == "APPSPEC_TOO_LARGE"
    assert time.perf_counter() - begin < 10


def test_a_flood_of_mistakes_is_cut_short() -> None:
    source = GOOD + "".join(f"key{number}: 1\n" for number in range(20_000))
    begin = time.perf_counter()
    parsed = parse(source.encode())
    assert len(parsed.findings) == 201
    assert "TOO_MANY_FINDINGS" in {finding.code for finding in parsed.findings}
    assert time.perf_counter() - begin < 10


@pytest.mark.req("AG-268")
def test_a_finding_describes_itself_as_compilers_do() -> None:
    (finding,) = parse(b"version: 0.0\nos: Linux\n").findings
    assert finding.describe("app/appspec.yml").startswith("app/appspec.yml:2:5: error: ")
    assert finding.describe("x").endswith("(os) [APPSPEC_OS]")
