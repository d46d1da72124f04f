"""Names and paths of Windows, as text."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferryman_agent.system import windows_names as names


@pytest.mark.req("AG-539", "AG-H10", "AG-S04")
@pytest.mark.parametrize(
    "path, wanted",
    [
        ("C:\\web\\index.html", "\\\\?\\C:\\web\\index.html"),
        ("c:/web/./a/../index.html", "\\\\?\\C:\\web\\index.html"),
        ("/C:/web", "\\\\?\\C:\\web"),
        ("/C:", "\\\\?\\C:\\"),
        ("D:", "\\\\?\\D:\\"),
        ("\\\\server\\share\\x", "\\\\?\\UNC\\server\\share\\x"),
        ("\\\\?\\C:\\as\\it\\is", "\\\\?\\C:\\as\\it\\is"),
        ("relative\\path", "relative\\path"),
        ("C:\\..\\..\\up", "\\\\?\\C:\\up"),
    ],
)
def test_the_system_gets_long_paths(path: str, wanted: str) -> None:
    assert names.native(path) == wanted


@pytest.mark.req("AG-539")
def test_no_length_is_too_long() -> None:
    deep = "C:\\" + "\\".join(["a" * 100] * 10)
    assert names.native(deep) == f"\\\\?\\{deep}"


@pytest.mark.parametrize("path", ["C:\\web\\a", "D:\\x"])
def test_places_of_the_host_lead_back(path: str) -> None:
    place = names.host_place(path)
    assert place == "/" + path.replace("\\", "/")
    assert names.shown(place) == path
    assert names.shown(names.native(place)) == path


def test_what_is_no_drive_has_no_place() -> None:
    assert names.host_place("relative") == "relative"
    assert names.host_place("\\\\server\\share\\x") == "//server/share/x"
    assert names.shown("\\\\?\\UNC\\server\\share") == "\\\\server\\share"
    assert names.shown("/plain/posix") == "/plain/posix"


@pytest.mark.parametrize(
    "name",
    [
        "a:stream", "CON", "con.txt", "nul", "COM1", "lpt9.log", "COM²", "trailing.", "trailing ", "a<b", "a|b", "a?b",
        "a*b", 'a"b', "a\\b", "a/b", "tab\there", "", ".", "..",
    ],
)  # fmt: skip
def test_names_that_lead_elsewhere_are_refused(name: str) -> None:
    with pytest.raises(OSError, match="no files of that name") as caught:
        names.checked(name)
    assert caught.value.errno == errno.EINVAL


@pytest.mark.parametrize(
    "name", ["index.html", ".hidden", "CONSOLE", "nullable.txt", "COM10", "ümläut", "a b"]
)
def test_other_names_are_names(name: str) -> None:
    assert names.checked(name) == name


@given(st.text(max_size=20))
def test_what_is_accepted_is_one_component(name: str) -> None:
    try:
        accepted = names.checked(name)
    except OSError:
        return
    assert names.native(names.join("C:\\root", accepted)) == f"\\\\?\\C:\\root\\{name}"


def test_the_machine_holds_drives_and_nothing_else() -> None:
    assert names.is_machine("/")
    assert not names.is_machine("/C:")
    assert not names.is_machine("")
    assert names.drive("c:") == "\\\\?\\C:\\"
    for name in ("C", "CD:", "server", ".."):
        with pytest.raises(FileNotFoundError):
            names.drive(name)


def test_a_drive_ends_in_its_separator_already() -> None:
    assert names.join("\\\\?\\C:\\", "web") == "\\\\?\\C:\\web"
