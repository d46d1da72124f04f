"""Which objects an entry of `permissions` applies to."""

import time

import pytest

from ferryman.appspec import AppSpec, EntryKind, Findings, Permission, matches, select

FILE, DIRECTORY = EntryKind.FILE, EntryKind.DIRECTORY
TREE = {
    "/srv/app": DIRECTORY,
    "/srv/app/a.txt": FILE,
    "/srv/app/.hidden.txt": FILE,
    "/srv/app/sub": DIRECTORY,
    "/srv/app/sub/x.txt": FILE,
    "/srv/app/sub/deep": DIRECTORY,
    "/srv/app/sub/deep/y.txt": FILE,
    "/srv/apple": FILE,
}


def chosen(*permissions: Permission, objects: dict[str, EntryKind] | None = None) -> dict[str, int]:
    findings = Findings()
    numbered = tuple(permissions)
    found = select(AppSpec(permissions=numbered), objects or TREE, (), findings)
    assert not findings.has_errors, findings.ordered()
    return {path: permission.number for path, permission in found.items()}


@pytest.mark.req("AG-347", "AG-348", "V2-168")
@pytest.mark.parametrize(
    "pattern, name, fits",
    [
        ("*.txt", "a.txt", True), ("*.txt", ".txt", True), ("*.txt", ".hidden.txt", True), ("*.txt", "a.TXT", False),
        ("a*", "a", True), ("a*b", "ab", True), ("a*b", "aXbXb", True), ("a*b", "aXbX", False),
        ("a**b", "aXb", True), ("****", "anything", True), ("*", "", True), ("a.txt", "a.txt", True),
        ("a?txt", "a.txt", False), ("[ab]", "a", False), ("[ab]", "[ab]", True), ("*-3.txt", "my-file-3.txt", True),
        ("aa*aa", "aaa", False), ("*a*b*", "xxaxxbxx", True), ("*b*a*", "xxaxxb", False), ("##", "##", True),
    ],
)  # fmt: skip
def test_only_the_star_is_special(pattern: str, name: str, fits: bool) -> None:
    assert matches(pattern, name) is fits


@pytest.mark.req("V2-168")
def test_matching_takes_linear_time() -> None:
    begin = time.perf_counter()
    assert not matches("a*" * 2_000 + "b", "a" * 10_000)
    assert matches("a*" * 2_000, "a" * 10_000)
    assert time.perf_counter() - begin < 2


@pytest.mark.req("AG-343", "AG-345", "AG-346", "AG-351", "AG-T47", "AG-C08", "AG-C13")
def test_two_stars_reach_every_depth_below_the_object_but_not_itself() -> None:
    everything = chosen(Permission(object="/srv/app", number=1))
    assert set(everything) == {path for path in TREE if path.startswith("/srv/app/")}
    files = chosen(Permission(object="/srv/app", types=frozenset({FILE}), number=1))
    assert set(files) == {path for path in everything if TREE[path] is FILE}


@pytest.mark.req("AG-346", "AG-T48")
def test_another_pattern_reaches_direct_children_only() -> None:
    found = chosen(Permission(object="/srv/app", pattern="*.txt", number=1))
    assert set(found) == {"/srv/app/a.txt", "/srv/app/.hidden.txt"}


@pytest.mark.req("AG-342")
def test_a_file_as_the_object() -> None:
    assert chosen(Permission(object="/srv/app/a.txt", number=1)) == {"/srv/app/a.txt": 1}
    assert chosen(Permission(object="/srv/app/a.txt", types=frozenset({DIRECTORY}), number=1)) == {}


@pytest.mark.req("AG-344", "AG-C13")
def test_include_self() -> None:
    found = chosen(
        Permission(object="/srv/app/sub", include_self=True, types=frozenset({DIRECTORY}), number=1)
    )
    assert set(found) == {"/srv/app/sub", "/srv/app/sub/deep"}


@pytest.mark.req("AG-341", "AG-344")
def test_what_exists_already_is_never_changed() -> None:
    findings = Findings()
    permission = Permission(object="/srv", include_self=True, number=1)
    found = select(
        AppSpec(permissions=(permission,)), {"/srv/app": DIRECTORY}, ("/srv", "/srv/other"), findings
    )
    assert set(found) == {"/srv/app"}


@pytest.mark.req("AG-349", "AG-T49", "AG-C11")
@pytest.mark.parametrize(
    "exception, left_out",
    [
        ("a.txt", {"/srv/app/a.txt"}),
        ("*.txt", {"/srv/app/a.txt", "/srv/app/.hidden.txt"}),
        ("x.txt", set()),
        (
            "/srv/app/sub",
            {"/srv/app/sub", "/srv/app/sub/x.txt", "/srv/app/sub/deep", "/srv/app/sub/deep/y.txt"},
        ),
        ("/srv/app/sub/../a.txt", {"/srv/app/a.txt"}),
    ],
)
def test_exceptions(exception: str, left_out: set[str]) -> None:
    found = chosen(Permission(object="/srv/app", exceptions=(exception,), number=1))
    assert {path for path in TREE if path.startswith("/srv/app/")} - set(found) == left_out


def test_thousands_of_exceptions_cost_no_more_than_the_objects() -> None:
    """A file of 200 KiB kept whoever read it busy for three minutes."""
    objects = {"/srv/app": DIRECTORY, **{f"/srv/app/f{number}": FILE for number in range(20_000)}}
    names = tuple(f"f{number}" for number in range(10_000))
    paths = tuple(f"/srv/app/f{number}" for number in range(10_000, 19_999))
    begin = time.perf_counter()
    found = chosen(Permission(object="/srv/app", exceptions=names + paths, number=1), objects=objects)
    assert time.perf_counter() - begin < 2
    assert found == {"/srv/app/f19999": 1}


@pytest.mark.req("AG-350", "AG-V41", "AG-T50")
def test_two_entries_for_one_object_are_both_named() -> None:
    findings = Findings()
    permissions = (Permission(object="/srv/app", number=1), Permission(object="/srv/app/sub", number=2))
    select(AppSpec(permissions=permissions), TREE, (), findings)
    first = findings.ordered()[0]
    assert first.code == "PERM_DUPLICATE"
    assert "1 and 2" in first.message
    assert "/srv/app/sub/" in first.message


@pytest.mark.req("AG-T51", "AG-C21", "AG-346", "AG-349")
def test_the_guides_example_corrected() -> None:
    app, folder = "/tmp/my-app", "/tmp/my-app/my-folder-"
    tree = {
        app: DIRECTORY,
        f"{folder}1": DIRECTORY,
        f"{folder}2": DIRECTORY,
        f"{folder}2/my-folder-3": DIRECTORY,
    }
    tree |= {f"{app}/my-file-{n}.txt": FILE for n in (1, 2, 3)}
    tree |= {f"{folder}1/my-file-{n}.txt": FILE for n in (4, 5, 6)}
    tree |= {f"{folder}2/my-file-{n}.txt": FILE for n in (7, 8, 9)}
    files, directories = frozenset({FILE}), frozenset({DIRECTORY})
    found = chosen(
        Permission(object=app, pattern="*-3.txt", types=files, number=1),
        Permission(object=app, pattern="*.txt", exceptions=("my-file-3.txt",), types=files, number=2),
        Permission(object=f"{folder}1", exceptions=("my-file-4.txt", "my-file-5.txt"), types=files, number=3),
        Permission(object=f"{folder}2", exceptions=("my-file-8.txt",), types=files, number=4),
        Permission(
            object=app,
            pattern="*my-folder*",
            exceptions=(f"{folder}2/my-folder-3",),
            types=directories,
            number=5,
        ),
        Permission(object=f"{folder}2/my-folder-3", include_self=True, types=directories, number=6),
        objects=tree,
    )
    assert found == {
        f"{app}/my-file-3.txt": 1,
        f"{app}/my-file-1.txt": 2,
        f"{app}/my-file-2.txt": 2,
        f"{folder}1/my-file-6.txt": 3,
        f"{folder}2/my-file-7.txt": 4,
        f"{folder}2/my-file-9.txt": 4,
        f"{folder}1": 5,
        f"{folder}2": 5,
        f"{folder}2/my-folder-3": 6,
    }
