"""SELinux contexts: labels on real files, rules by a `semanage` that keeps its rules in a file."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ferryman_agent.errors import InstallError
from ferryman_agent.files import view
from ferryman_agent.files.interrupted import recover_all
from ferryman_agent.files.selinux import find_selinux
from tests.support.bundles import GROUP, tree
from tests.unit.agent.files.test_install_failures import at_call

if TYPE_CHECKING:
    from tests.unit.agent.files.conftest import Host

FILES = "files:\n  - {source: app, destination: SRV/app}\n"
CONTEXT = FILES + "permissions:\n  - {object: SRV/app, context: {type: httpd_t}}\n"

SEMANAGE = """#!{python}
import shlex, sys
rules = "{rules}"
def load():
    try:
        return dict(line.rstrip("\\n").split("\\t") for line in open(rules))
    except FileNotFoundError:
        return {{}}
def one(words, found):
    assert words[0] == "fcontext", words
    given = dict(zip(words[2:-1:2], words[3:-1:2]))
    spec = words[-1]
    if words[1] == "-d":
        if spec not in found:
            sys.exit("KeyError: File context for %s is not defined" % spec)
        del found[spec]
        return
    if (spec in found) is (words[1] == "-a"):
        sys.exit("ValueError: File context for %s already defined" % spec)
    label = [given["-s"], "object_r", given["-t"]] + ([given["-r"]] if "-r" in given else [])
    if "forbidden_t" in label:
        sys.exit("ValueError: Type forbidden_t is invalid, must be a file or device type")
    found[spec] = ":".join(label)
found = load()
if sys.argv[1:] == ["fcontext", "-l", "-C", "-n"]:
    for spec, label in found.items():
        print("%-50s %-18s %s" % (spec, "all files", label))
    sys.exit()
if sys.argv[1:] == ["import"]:
    for line in sys.stdin:
        one(line.split(), found)
else:
    one(sys.argv[1:], found)
open(rules, "w").writelines("%s\\t%s\\n" % pair for pair in found.items())
"""


class Selinux:
    """A host that has it. `rules` are those of the tool, by path; `calls` what `restorecon` was told."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "fs").mkdir(parents=True)
        (path / "bin").mkdir()
        (path / "fs/enforce").write_text("1")
        self.tool("semanage", SEMANAGE.format(python=sys.executable, rules=path / "rules"))
        self.tool("restorecon", f"#!/bin/sh\ncat >> {path}/restored\n")

    def tool(self, name: str, content: str) -> None:
        (self.path / "bin" / name).write_text(content)
        (self.path / "bin" / name).chmod(0o755)

    @property
    def rules(self) -> dict[str, str]:
        path = self.path / "rules"
        lines = path.read_text().splitlines() if path.exists() else []
        return {spec: label for spec, _, label in (line.partition("\t") for line in lines)}

    @rules.setter
    def rules(self, rules: dict[str, str]) -> None:
        (self.path / "rules").write_text("".join(f"{spec}\t{label}\n" for spec, label in rules.items()))

    def find(self) -> object:
        return find_selinux(self.path / "fs", str(self.path / "bin"))


@pytest.fixture
def selinux(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Selinux:
    probe = tmp_path / "probe"
    probe.touch()
    try:
        os.setxattr(probe, "security.selinux", b"u:r:t\0")
    except OSError as problem:
        pytest.skip(f"cannot set SELinux labels here, which takes root and a file system for them: {problem}")
    found = Selinux(tmp_path / "selinux")
    monkeypatch.setattr(view, "find_selinux", found.find)
    return found


def label(path: Path) -> str:
    return os.getxattr(path, "security.selinux").rstrip(b"\0").decode()


def spec(host: Host, name: str) -> str:
    return f"{host.srv}/app/{name}".replace(".", "\\.")


@pytest.mark.req("AG-363", "AG-364", "AG-160", "V2-221", "V2-215", "AG-292", "AG-T55")
async def test_labels_and_rules(host: Host, selinux: Selinux) -> None:
    await host.install({"app/a.txt": b"1", "app/d/b": b"2", "app/l": "a.txt"}, CONTEXT)
    wanted = "system_u:object_r:httpd_t:s0"
    assert [label(host.srv / "app" / name) for name in ("a.txt", "d", "d/b")] == [wanted] * 3
    assert selinux.rules == {spec(host, name): wanted for name in ("a.txt", "d", "d/b")}
    raw = host.layout.cleanup_journal(GROUP).read_bytes().splitlines()
    assert f"semanage\0{host.srv}/app/a.txt".encode() in raw
    # The same again asks for nothing; what is left of it is taken away.
    report = await host.install({"app/a.txt": b"1", "app/d/b": b"2", "app/l": "a.txt"}, CONTEXT)
    assert report.warnings == ()
    assert len(selinux.rules) == 3


@pytest.mark.req("AG-363", "V2-221", "AG-T55")
@pytest.mark.parametrize(
    "given, mls, wanted",
    [
        ("type: t, user: u, range: s0-s0:c1", "1", "u:object_r:t:s0-s0:c1"),
        ("type: t, name: u", "1", "u:object_r:t:s0"),
        ("type: t", "0", "system_u:object_r:t"),
    ],
)
async def test_users_ranges_and_hosts_without_mls(
    host: Host, selinux: Selinux, given: str, mls: str, wanted: str
) -> None:
    (selinux.path / "fs/mls").write_text(mls)
    await host.install(
        {"app/a": b"1"}, FILES + f"permissions:\n  - {{object: SRV/app, context: {{{given}}}}}\n"
    )
    assert label(host.srv / "app/a") == wanted
    assert selinux.rules == {spec(host, "a"): wanted}


@pytest.mark.req("AG-337", "V2-185")
async def test_rules_go_with_the_files_and_kept_files_get_their_labels_back(
    host: Host, selinux: Selinux
) -> None:
    await host.install({"app/a": b"1", "app/b": b"2"}, CONTEXT)
    await host.install({"app/a": b"1"}, FILES)
    assert selinux.rules == {}
    assert b"semanage" not in host.layout.cleanup_journal(GROUP).read_bytes()
    assert f"{host.srv}/app/a\n" in (selinux.path / "restored").read_text()


@pytest.mark.req("AG-365")
async def test_rules_of_others(host: Host, selinux: Selinux) -> None:
    """The same rule stays theirs; another one is replaced as long as the group wants its own, and comes back."""
    same, other = "system_u:object_r:httpd_t:s0", "system_u:object_r:other_t:s0"
    selinux.rules = {spec(host, "a"): same, spec(host, "b"): other, "/srv/x(/.*)?": other}
    await host.install({"app/a": b"1", "app/b": b"1"}, CONTEXT)
    assert selinux.rules == {spec(host, "a"): same, spec(host, "b"): same, "/srv/x(/.*)?": other}
    await host.install({"app/a": b"1", "app/b": b"2"}, CONTEXT)
    await host.install({}, "files: []\n")
    assert selinux.rules == {spec(host, "a"): same, spec(host, "b"): other, "/srv/x(/.*)?": other}


@pytest.mark.req("AG-363", "V2-189", "V2-221")
async def test_a_rule_that_fails_is_named_and_the_host_restored(host: Host, selinux: Selinux) -> None:
    await host.install({"app/a": b"1"}, CONTEXT)
    before = tree(host.srv), label(host.srv / "app/a"), selinux.rules
    error = await host.refused({"app/a": b"1", "app/new file": b"2"}, CONTEXT.replace("httpd", "forbidden"))
    assert error.detail_code == "PERM_CONTEXT_FAILED"
    assert "the rule for" in error.message
    assert "Type forbidden_t is invalid" in error.message
    assert (tree(host.srv), label(host.srv / "app/a"), selinux.rules) == before


@pytest.mark.req("V2-223", "V2-185", "AG-337")
async def test_a_rule_that_cannot_be_removed_is_reported_and_tried_again(
    host: Host, selinux: Selinux
) -> None:
    await host.install({"app/a": b"1"}, CONTEXT)
    selinux.tool("broken", "#!/bin/sh\necho out of order >&2; exit 1\n")
    tool = (selinux.path / "bin/semanage").read_text()
    selinux.tool(
        "semanage", tool.replace("found = load()\n", 'found = load()\n"-l" in sys.argv or sys.exit("busy")\n')
    )
    report = await host.install({"app/b": b"1"}, FILES)
    assert any("cannot delete the rule" in warning and "busy" in warning for warning in report.warnings)
    assert host.names() == {"app", "app/b"}
    selinux.tool("semanage", tool)
    await host.install({"app/b": b"1"}, FILES)
    assert selinux.rules == {}


@pytest.mark.req("V2-222")
async def test_a_missing_tool_is_named_before_any_change(host: Host, selinux: Selinux) -> None:
    (selinux.path / "bin/semanage").unlink()
    error = await host.refused({"app/a": b"1"}, CONTEXT)
    assert error.detail_code == "PERM_CONTEXT_TOOL_MISSING"


@pytest.mark.req("V2-188", "AG-337", "AG-X19")
async def test_names_that_the_tool_reads_no_line_with_and_a_kill_right_behind(
    host: Host, selinux: Selinux
) -> None:
    await host.install({"app/it's": b"1", "app/with blank": b"1", "app/[x]+": b"1"}, CONTEXT)
    assert len(selinux.rules) == 3
    assert spec(host, "\\[x\\]\\+") in selinux.rules
    await host.install({}, "files: []\n")
    assert selinux.rules == {}

    class Killed(BaseException):
        pass

    def die() -> None:
        raise Killed

    with at_call(1, lambda: None) as made:
        await host.install({"app/a": b"1"}, CONTEXT)
    calls = len(made)
    await host.install({}, "files: []\n")
    for back in range(1, calls):
        with at_call(calls - back, die), pytest.raises(Killed):
            await host.install({"app/a": b"1"}, CONTEXT)
        recover_all(host.layout)
        assert bool(selinux.rules) is (host.srv / "app/a").exists(), back
        await host.install({}, "files: []\n")
        assert selinux.rules == {}
        if back > 12:
            break


def test_hosts_without_it(tmp_path: Path) -> None:
    assert find_selinux(tmp_path) is None


async def test_a_tool_that_cannot_be_run(host: Host, selinux: Selinux) -> None:
    selinux.tool("semanage", "no script\n")
    with pytest.raises(InstallError) as failed:
        await host.install({"app/a": b"1"}, CONTEXT)
    assert failed.value.detail_code == "PERM_CONTEXT_FAILED"
