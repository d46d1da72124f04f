"""The rules of permissions: shapes, modes, ACL entries, SELinux contexts."""

import pytest

from ferryman.appspec import EntryKind, Finding, Permission, parse

HEAD = "version: 0.0\nos: linux\n"
ENTRY = HEAD + "permissions:\n  - object: /srv/app\n"


def codes(source: str) -> list[tuple[str, str]]:
    return [(finding.code, finding.severity.value) for finding in parse(source.encode()).findings]


def entry(lines: str) -> tuple[Permission | None, tuple[Finding, ...]]:
    parsed = parse((ENTRY + "".join(f"    {line}\n" for line in lines.splitlines())).encode())
    return parsed.appspec.permissions[0] if parsed.appspec else None, parsed.findings


@pytest.mark.req("AG-V18")
@pytest.mark.parametrize(
    "value, severity", [("", "warning"), ("x", "error"), ("{a: b}", "error"), ("[x]", "error")]
)
def test_shape(value: str, severity: str) -> None:
    assert codes(HEAD + f"permissions: {value}\n") == [("PERMISSIONS_SHAPE", severity)]


@pytest.mark.req("AG-V19", "V2-161")
@pytest.mark.parametrize("value", ["- mode: 644", "- object:", "- object: '  '"])
def test_object_is_needed(value: str) -> None:
    assert codes(HEAD + f"permissions:\n  {value}\n") == [("PERM_OBJECT_MISSING", "error")]


@pytest.mark.req("AG-V20", "V2-160", "AG-367", "AG-538")
def test_windows_has_no_permissions() -> None:
    source = "version: 0.0\nos: windows\npermissions:\n  - object: /a\n"
    assert codes(source) == [("PERM_WINDOWS", "error")]


@pytest.mark.req("AG-283", "V2-161", "AG-351")
def test_defaults() -> None:
    found, findings = entry("")
    assert findings == ()
    assert found is not None
    assert (found.pattern, found.exceptions, found.mode, found.owner, found.group) == (
        "**",
        (),
        None,
        None,
        None,
    )
    assert found.types == {EntryKind.FILE, EntryKind.DIRECTORY}
    assert not found.include_self
    normal, _ = entry("type: [directory]\ninclude_self: true")
    assert normal is not None
    assert normal.types == {EntryKind.DIRECTORY}
    assert normal.include_self


@pytest.mark.req("AG-V21", "AG-V22")
def test_scalars_in_the_place_of_lists_are_a_warning() -> None:
    found, findings = entry("type: file\nexcept: a.txt")
    assert found is not None
    assert found.types == {EntryKind.FILE}
    assert found.exceptions == ("a.txt",)
    assert [(f.code, f.severity.value) for f in findings] == [
        ("PERM_TYPE", "warning"),
        ("PERM_EXCEPT", "warning"),
    ]


@pytest.mark.req("AG-V21", "AG-V22", "V2-161")
@pytest.mark.parametrize(
    "line, code",
    [
        ("type: [link]", "PERM_TYPE"),
        ("type: {a: b}", "PERM_TYPE"),
        ("except: {a: b}", "PERM_EXCEPT"),
        ("except: [[a]]", "PERM_EXCEPT"),
    ],
)
def test_wrong_types_and_exceptions(line: str, code: str) -> None:
    _, (finding,) = entry(line)
    assert (finding.code, finding.is_error) == (code, True)


@pytest.mark.req("AG-V23", "AG-V24", "AG-T28", "V2-162", "AG-353", "AG-X18")
@pytest.mark.parametrize(
    "mode, bits, warns",
    [
        ("644", 0o644, False), ('"0644"', 0o644, False), ("0644", 0o644, True), ("0755", 0o755, True),
        ("5", 0o005, False), ("4755", 0o4755, False), ("'1777'", 0o1777, False), ("0", 0, False),
    ],
)  # fmt: skip
def test_mode_is_read_as_it_is_written(mode: str, bits: int, warns: bool) -> None:
    found, findings = entry(f"mode: {mode}")
    assert found is not None
    assert found.mode == bits
    assert [f.code for f in findings] == (["PERM_MODE_LEADING_ZERO"] if warns else [])


@pytest.mark.req("AG-V23", "AG-V25", "AG-T28", "V2-162")
@pytest.mark.parametrize(
    "mode, fact",
    [
        ("07777", "5 digits"),
        ("888", "'8'"),
        ("u+x", "'u'"),
        ("0o644", "'o'"),
        ("[644]", "a list"),
        ("-44", "'-'"),
    ],
)
def test_wrong_modes_name_mode_and_character(mode: str, fact: str) -> None:
    _, (finding,) = entry(f"mode: {mode}")
    assert (finding.code, finding.is_error) == ("PERM_MODE", True)
    assert fact in finding.message


@pytest.mark.req("AG-V34", "AG-C20", "AG-X25")
def test_acl_is_hinted_to_acls() -> None:
    _, (finding,) = entry("acl: []")
    assert finding.code == "UNKNOWN_KEY"
    assert "'acls'" in finding.message


@pytest.mark.req("AG-V26")
@pytest.mark.parametrize("value", ["u:bob:rw", "[[a]]", "{a: b}"])
def test_acls_is_a_list_of_texts(value: str) -> None:
    _, (finding,) = entry(f"acls: {value}")
    assert (finding.code, finding.is_error) == ("PERM_ACLS_SHAPE", True)


@pytest.mark.req("AG-V27", "AG-V28", "AG-V29", "AG-V30", "AG-V31", "AG-V32", "AG-T53", "V2-163", "V2-164")
@pytest.mark.parametrize(
    "ace, code",
    [
        ("bob", "PERM_ACE"), ("d:u:bob:rw:x", "PERM_ACE"), ("x:u:bob:rw", "PERM_ACE"), ("d:d:bob:rw", "PERM_ACE"),
        ("x:bob:rw", "PERM_ACE"), ("m:bob:rw", "PERM_ACE"), ("o:bob:r", "PERM_ACE"),
        ("u::rw", "PERM_ACE_BASE"), ("g::r", "PERM_ACE_BASE"), ("o::r", "PERM_ACE_BASE"), ("user:rw", "PERM_ACE_BASE"),
        ("u:bob:9", "PERM_ACE_PERM"), ("u:bob:rwz", "PERM_ACE_PERM"), ("u:bob:", "PERM_ACE_PERM"),
        ("u:bob:66", "PERM_ACE_PERM"),
    ],
)  # fmt: skip
def test_wrong_aces(ace: str, code: str) -> None:
    _, (finding,) = entry(f"acls: ['{ace}']")
    assert (finding.code, finding.is_error) == (code, True)
    assert ace in finding.message


@pytest.mark.req("AG-V29", "V2-163", "AG-V32")
@pytest.mark.parametrize(
    "ace, text",
    [
        ("bob:rw", "user:bob:rw-"), ("u:bob:6", "user:bob:rw-"), ("group:web:rrx-", "group:web:r-x"),
        ("m::rw", "mask::rw-"),
        ("mask:7", "mask::rwx"), ("d:u::rwx", "default:user::rwx"), ("default:g:web:x", "default:group:web:--x"),
        ("d:bob:r", "default:user:bob:r--"), (":bob:r", "user:bob:r--"), ("u:bob:-", "user:bob:---"),
    ],
)  # fmt: skip
def test_aces(ace: str, text: str) -> None:
    found, findings = entry(f"acls: ['{ace}']")
    assert findings == ()
    assert found is not None
    assert str(found.acls[0]) == text


@pytest.mark.req("AG-V33", "V2-165", "AG-T53")
def test_default_entries_are_for_directories() -> None:
    _, (finding,) = entry("type: [file]\nacls: ['d:u:bob:rw']")
    assert finding.code == "PERM_ACE_DEFAULT_ON_FILE"
    assert "/srv/app" in finding.message
    assert entry("type: [directory]\nacls: ['d:u:bob:rw']")[1] == ()


@pytest.mark.req("AG-V35", "AG-V36", "AG-V37", "AG-C10", "V2-166", "AG-X25", "AG-T55")
def test_context_keys() -> None:
    found, findings = entry("context:\n  user: system_u\n  type: httpd_t\n  range: s0-s1:c3,c0.c2")
    assert findings == ()
    assert found is not None
    assert found.context is not None
    assert (found.context.user, found.context.type, found.context.range) == (
        "system_u",
        "httpd_t",
        "s0-s1:c0.c3",
    )
    alias, _ = entry("context: {name: system_u, type: t}")
    assert alias is not None
    assert alias.context is not None
    assert alias.context.user == "system_u"
    assert [f.code for f in entry("context: {user: a}")[1]] == ["PERM_CONTEXT_TYPE"]
    assert [f.code for f in entry("context: {user: a, name: b, type: t}")[1]] == ["PERM_CONTEXT_USER"]
    assert [f.code for f in entry("context: {role: r, type: t}")[1]] == ["PERM_CONTEXT_ROLE"]


@pytest.mark.req("AG-V38", "V2-166")
@pytest.mark.parametrize(
    "levels, canonical",
    [
        ("s0", "s0"),
        ("s0-s3", "s0-s3"),
        ("s0:c5,c1,c2,c3", "s0:c1.c3,c5"),
        ("s0:c0.c1023", "s0:c0.c1023"),
        ("s1:c1,c2", "s1:c1,c2"),
    ],
)
def test_ranges(levels: str, canonical: str) -> None:
    found, findings = entry(f"context: {{type: t, range: '{levels}'}}")
    assert findings == ()
    assert found is not None
    assert found.context is not None
    assert found.context.range == canonical


@pytest.mark.req("AG-V38", "V2-166")
@pytest.mark.parametrize(
    "levels", ["x", "s2-s1", "s0:", "s0:c5.c2", "s0:c1024", "s0:c1,c1", "s0:c1.c3,c2", "s0-", "s0:c1,", "0"]
)
def test_wrong_ranges(levels: str) -> None:
    _, (finding,) = entry(f"context: {{type: t, range: '{levels}'}}")
    assert (finding.code, finding.is_error) == ("PERM_CONTEXT_RANGE", True)


@pytest.mark.req("AG-268", "AG-C13")
@pytest.mark.parametrize(
    "line, code",
    [
        ("pattern: [a]", "PERM_PATTERN"),
        ("pattern: ''", "PERM_PATTERN"),
        ("owner: {a: b}", "PERM_OWNER"),
        ("group: [a]", "PERM_GROUP"),
        ("context: httpd_t", "PERM_CONTEXT_SHAPE"),
        ("include_self: maybe", "PERM_INCLUDE_SELF"),
        ("acls: [u:bob:r, user:bob:w]", "PERM_ACE"),
    ],
)
def test_values_of_the_wrong_shape(line: str, code: str) -> None:
    _, (finding,) = entry(line)
    assert (finding.code, finding.is_error) == (code, True)
    assert finding.key_path.startswith("permissions[0].")


@pytest.mark.req("AG-351")
@pytest.mark.parametrize("value", ["relative/path", "/a/../../b"])
def test_an_object_is_an_absolute_path(value: str) -> None:
    assert codes(HEAD + f"permissions:\n  - object: {value}\n") == [("PERM_OBJECT_RELATIVE", "error")]


def test_empty_values_count_as_absent() -> None:
    found, findings = entry("owner:\nmode:\nacls:\ncontext:\ntype:\nexcept:\ninclude_self:\npattern:")
    assert findings == ()
    assert found == entry("")[0]


def test_patterns_in_except_are_counted() -> None:
    """Each is tried on each object that there is."""
    patterns = [f"'x{number}*'" for number in range(101)]
    _, findings = entry(f"except: [{', '.join(patterns[:100])}, a, /b/*]")
    assert findings == ()
    _, findings = entry(f"except: [{', '.join(patterns)}]")
    assert [finding.code for finding in findings] == ["PERM_EXCEPT"]
    assert "101 patterns; 100 with a '*' are allowed" in findings[0].message
