"""The AppSpec parser on anything: it answers, quickly, and agrees with itself."""

import re

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ferryman.appspec import EntryKind, check_against, inside_revision, matches, normal_destination, parse

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=12),
    st.sampled_from(["linux", "0.0", "a.sh", "/srv", "../x", "u:bob:rw", "s0:c1.c3", "**", "file", "AfterInstall"]),
)  # fmt: skip
keys = st.one_of(
    st.sampled_from([
        "version", "os", "files", "file_exists_behavior", "permissions", "hooks", "source", "destination", "object",
        "pattern", "except", "owner", "group", "mode", "acls", "context", "type", "range", "user", "location",
        "timeout", "runas", "sudo", "AfterInstall", "ApplicationStop", "<<",
    ]),
    st.text(max_size=5),
)  # fmt: skip
trees = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(keys, inner, max_size=5)),
    max_leaves=25,
)
lines = st.lists(
    st.one_of(
        st.sampled_from([
            "version: 0.0", "os: linux", "files:", "  - source: a", "    destination: /b", "hooks:", "  AfterInstall:",
            "    - location: a.sh", "      timeout: 5", "permissions:", "  - object: /b", "    mode: 0644", "---",
            "...",
            "&a x", "*a", "? x", "- [", "{a: ", "'", '"', "|", "\t", "%YAML 1.1", "!t x", "<<: *a", "#", "\ufeff",
        ]),
        st.text(max_size=8),
    ),
    max_size=25,
).map("\n".join)  # fmt: skip


def check(source: bytes) -> None:
    for strict in (True, False):
        parsed = parse(source, strict=strict, host_os="linux")
        assert (parsed.appspec is None) == bool(parsed.errors)
        for finding in parsed.findings:
            assert re.fullmatch(r"[A-Z][A-Z_]+", finding.code)
            assert finding.message.isprintable()
            assert finding.line >= 0
            assert finding.column >= 0
        if parsed.appspec is not None:
            check_against(
                parsed.appspec, {"a": EntryKind.FILE, "d": EntryKind.DIRECTORY, "d/x": EntryKind.LINK}
            )


@pytest.mark.req("V2-172", "AG-275", "V2-391")
@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes(source: bytes) -> None:
    check(source)


@pytest.mark.req("V2-172", "V2-391")
@settings(deadline=None)
@given(lines)
def test_any_lines(source: str) -> None:
    check(source.encode("utf-8", "surrogatepass"))


@pytest.mark.req("V2-172", "V2-391")
@settings(max_examples=100, deadline=None)
@given(st.dictionaries(keys, trees, max_size=6))
def test_any_tree(tree: dict[str, object]) -> None:
    check(
        yaml.safe_dump({"version": 0.0, "os": "linux", **tree}, allow_unicode=True).encode("utf-8", "replace")
    )


@pytest.mark.req("AG-277")
@settings(deadline=None)
@given(lines)
def test_a_host_accepts_whatever_lint_accepts(source: str) -> None:
    data = source.encode("utf-8", "surrogatepass")
    strict, relaxed = parse(data), parse(data, strict=False)
    if strict.appspec is not None:
        assert relaxed.appspec == strict.appspec
    assert len(relaxed.errors) <= len(strict.errors)


@pytest.mark.req("AG-347", "AG-348", "V2-168")
@settings(deadline=None)
@given(st.text("ab*.", max_size=12), st.text("ab.", max_size=12))
def test_patterns_mean_what_the_regular_expression_means(pattern: str, name: str) -> None:
    expected = re.fullmatch(".*".join(re.escape(part) for part in pattern.split("*")), name) is not None
    assert matches(pattern, name) is expected


@pytest.mark.req("AG-V12", "V2-191", "AG-299", "AG-300")
@settings(deadline=None)
@given(st.text("a./", max_size=12))
def test_a_path_inside_never_leaves(path: str) -> None:
    inside = inside_revision(path)
    if inside is not None:
        assert ".." not in inside.split("/")
        assert not inside.startswith("/")
        assert inside_revision(inside) == inside


@pytest.mark.req("AG-306", "V2-192")
@settings(deadline=None)
@given(st.text("a./", max_size=12))
def test_a_normal_destination_is_normal(path: str) -> None:
    normal = normal_destination(f"/{path}")
    if normal is not None:
        assert normal_destination(normal) == normal
        assert "//" not in normal
        assert not {".", ".."} & set(normal.split("/"))
