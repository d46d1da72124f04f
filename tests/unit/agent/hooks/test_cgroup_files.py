"""What is read from the files of a control group, what is written to them, and where groups can be made.

Folders with the right files in them stand for the real tree where this machine may lack a controller.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from ferryman_agent.core.messages import ResourceUsage, ScriptErrorCode
from ferryman_agent.hooks import verdict
from ferryman_agent.hooks.cgroup import ControlGroup, Limits
from ferryman_agent.hooks.cgroup_find import LEAF, NoGroups, find, own_folder
from ferryman_agent.hooks.cgroup_maker import GroupMaker
from ferryman_agent.hooks.contract import HookSettings
from ferryman_agent.hooks.environment import own_account
from ferryman_agent.hooks.limits import kept, resource_limits
from ferryman_agent.hooks.posix import Child, ExitStatus
from ferryman_agent.hooks.usage import total
from ferryman_agent.hooks.verdict import Prepared, Verdict
from tests.support.hook_runs import FakeScript

FULL = {
    "cgroup.procs": "0\n12\n",
    "cpu.stat": "usage_usec 1234567\nuser_usec 1000000\nsystem_usec 234567\n",
    "memory.peak": "50331648\n",
    "memory.events": "low 0\nhigh 0\nmax 7\noom 2\noom_kill 3\noom_group_kill 1\n",
    "io.stat": "8:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0\n259:1 rbytes=1 wbytes=2\n252:0 \n",
}


def folder_of(path: Path, files: dict[str, str]) -> ControlGroup:
    path.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (path / name).write_text(text)
    return ControlGroup(str(path))


class TestUsage:
    def test_of_a_group_with_all_controllers(self, tmp_path: Path) -> None:
        assert folder_of(tmp_path, FULL).usage() == ResourceUsage(
            peak_memory_bytes=48 * 2**20,
            cpu_ms=1235,
            read_bytes=4097,
            written_bytes=8194,
            out_of_memory_kills=3,
        )

    def test_of_a_group_without_controllers_is_its_cpu_time(self, tmp_path: Path) -> None:
        only = folder_of(tmp_path, {"cpu.stat": FULL["cpu.stat"]})
        assert only.usage() == ResourceUsage(cpu_ms=1235)

    def test_of_a_group_that_is_gone_is_unknown(self, tmp_path: Path) -> None:
        assert ControlGroup(str(tmp_path / "gone")).usage() == ResourceUsage()
        assert ControlGroup(str(tmp_path / "gone")).member_pids() == []

    @pytest.mark.parametrize("text", ["", "max\n", "usage_usec\n", "usage_usec x\n", "\x00\xff"])
    def test_files_that_hold_something_else_are_unknown(self, tmp_path: Path, text: str) -> None:
        strange = folder_of(tmp_path, dict.fromkeys(FULL, text) | {"cgroup.procs": ""})
        assert strange.usage() == ResourceUsage()

    def test_processes_of_other_namespaces_are_left_out(self, tmp_path: Path) -> None:
        assert folder_of(tmp_path, FULL).member_pids() == [12]

    def test_of_several_scripts_is_added_up_and_the_peak_is_the_largest(self) -> None:
        one = ResourceUsage(peak_memory_bytes=5, cpu_ms=1, read_bytes=10)
        two = ResourceUsage(peak_memory_bytes=3, cpu_ms=2, written_bytes=7)
        assert total([one, two]) == ResourceUsage(
            peak_memory_bytes=5, cpu_ms=3, read_bytes=10, written_bytes=7
        )
        assert total([]) is None
        assert total([ResourceUsage()]) is None


class TestLimits:
    @pytest.mark.req("V2-252")
    def test_are_written_and_lifted(self, tmp_path: Path) -> None:
        names = ("memory.max", "memory.swap.max", "memory.oom.group", "cpu.max", "pids.max")
        group = folder_of(tmp_path, dict.fromkeys(names, ""))

        def written() -> list[str]:
            return [(tmp_path / name).read_text() for name in names]

        group.limit(Limits(memory_bytes=2**26, cpu_cores=1.5, tasks=9))
        assert written() == [str(2**26), "0", "1", "150000 100000", "9"]
        for name in names:
            (tmp_path / name).write_text("")
        group.unlimit()
        assert written() == ["max", "max", "0", "max", "max"]

    def test_less_cpu_than_the_kernel_takes_is_its_least(self, tmp_path: Path) -> None:
        folder_of(tmp_path, {"cpu.max": ""}).limit(Limits(cpu_cores=0.001))
        assert (tmp_path / "cpu.max").read_text() == "1000 100000"

    @pytest.mark.req("V2-252")
    def test_that_nothing_keeps_here_are_said_once_with_the_reason(self) -> None:
        wanted = Limits(memory_bytes=2**26, cpu_cores=2, tasks=9)
        nothing = kept(wanted, frozenset(), "the kernel has none")
        assert not nothing.limits
        assert [warning.split(" ")[0] for warning in nothing.warnings] == [
            "hooks.memory_max",
            "hooks.cpu_max",
            "hooks.tasks_max",
        ]
        assert all("the kernel has none" in warning for warning in nothing.warnings)
        some = kept(wanted, frozenset({"memory", "pids"}))
        assert some.limits == Limits(memory_bytes=2**26, tasks=9)
        (warning,) = some.warnings
        assert "'cpu'" in warning
        assert kept(Limits(), frozenset()).warnings == ()

    @pytest.mark.req("V2-252")
    def test_of_processes_themselves(self, tmp_path: Path) -> None:
        root, other = replace(own_account(), uid=0), replace(own_account(), uid=1234)
        settings = HookSettings(open_files_max=64, tasks_max=9, core_dumps=False)
        assert resource_limits(settings, other, None) == {"nofile": 64, "nproc": 9, "core": 0}
        # The system does not count what root starts.
        assert resource_limits(settings, root, None) == {"nofile": 64, "core": 0}
        groups = GroupMaker(base=tmp_path, home=ControlGroup(str(tmp_path)), limits=Limits(tasks=9))
        assert resource_limits(settings, other, groups) == {"nofile": 64, "core": 0}
        assert resource_limits(HookSettings(), other, None) == {}


class TestWantOfMemory:
    EACH = Prepared(script=FakeScript(location="a.sh"), path=Path("/a.sh"), account=own_account())
    KILLED = ResourceUsage(out_of_memory_kills=2)

    def judged(self, status: ExitStatus, limit: int | None, usage: ResourceUsage = KILLED) -> Verdict:
        found = Verdict(failure=verdict.exited(self.EACH, status), status=status)
        return verdict.with_memory(self.EACH, found, usage, limit)

    def test_names_the_limit_and_its_setting(self) -> None:
        found = self.judged(ExitStatus(signal=9), 64 * 2**20).failure
        assert found is not None
        assert (found.error_code, found.detail_code) == (
            ScriptErrorCode.SCRIPT_FAILED,
            "SCRIPT_OUT_OF_MEMORY",
        )
        assert "script a.sh was killed by signal SIGKILL (9)" in found.message
        assert "2 of its processes" in found.message
        assert "64 MiB that hooks.memory_max allows" in found.message

    def test_names_the_machine_where_there_is_no_limit(self) -> None:
        found = self.judged(ExitStatus(code=137), None).failure
        assert found is not None
        assert "more memory than the machine had left" in found.message

    def test_is_told_of_a_success_too(self) -> None:
        found = self.judged(ExitStatus(code=0), None)
        assert found.failure is None
        assert "2 of its processes" in found.note

    @pytest.mark.parametrize("kills", [None, 0])
    def test_is_not_told_where_there_was_none(self, kills: int | None) -> None:
        usage = ResourceUsage(cpu_ms=5, out_of_memory_kills=kills)
        found = self.judged(ExitStatus(signal=9), 64, usage)
        assert found.failure is not None
        assert found.failure.detail_code == "SCRIPT_SIGNALLED"
        assert found.usage == usage


class Tree:
    """A folder that stands for a mounted tree, and one for /proc/self."""

    def __init__(self, folder: Path, own: str = "/system.slice/ferryman agent.service") -> None:
        self.mount, self.proc, self.own = folder / "tree", folder / "proc", own
        self.proc.mkdir()
        self.base = self.mount / own.lstrip("/")
        self.folder(self.base)
        self.tell(f"0::{own}\n", "/")

    def folder(self, path: Path) -> None:
        folder_of(path, {"cgroup.procs": "", "cgroup.type": "domain\n", "cgroup.controllers": ""})

    def tell(self, groups: str, root: str) -> None:
        point = str(self.mount).replace(" ", "\\040")
        (self.proc / "cgroup").write_text(f"3:cpu:/elsewhere\n{groups}")
        (self.proc / "mountinfo").write_text(
            "22 1 0:20 / /proc rw - proc proc rw\n30 1 0:26 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
            f"31 1 0:27 {root} {point} rw,nosuid shared:4 - cgroup2 cgroup2 rw\n"
        )

    def delegate(self, name: str = "user.delegate") -> None:
        try:
            os.setxattr(self.base, name, b"1")
        except OSError as error:
            pytest.skip(f"this file system has no attributes: {error}")

    def control(self, controllers: str) -> None:
        (self.base / "cgroup.controllers").write_text(f"{controllers}\n")
        (self.base / "cgroup.subtree_control").write_text("")
        (self.base / "cgroup.procs").write_text(f"{os.getpid()}\n")
        self.folder(self.base / LEAF)

    def find(self, *, is_systemd: bool = False) -> GroupMaker | NoGroups:
        return find("me", proc=self.proc, is_systemd=is_systemd)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


class TestPlace:
    def test_is_the_agents_own_group(self, tree: Tree) -> None:
        found = tree.find()
        assert isinstance(found, GroupMaker)
        assert (found.base, found.home.path) == (tree.base, str(tree.base))
        assert found.controllers == frozenset()
        assert found.owner == "me"

    def test_is_seen_through_a_mount_of_a_part(self, tree: Tree) -> None:
        """As in a container that shares the namespace of its host."""
        tree.folder(tree.mount / "x")
        tree.tell("0::/system.slice/c1/x\n", "/system.slice/c1")
        assert own_folder(tree.proc) == tree.mount / "x"
        tree.tell("0::/system.slice/c10/x\n", "/system.slice/c1")
        assert isinstance(own_folder(tree.proc), NoGroups)

    @pytest.mark.parametrize(
        "groups, said",
        [("", "no control groups of version 2"), ("0::/not/mounted\n", "in no mounted tree")],
    )
    def test_that_is_not_there_has_a_reason(self, tree: Tree, groups: str, said: str) -> None:
        tree.tell(groups, "/")
        found = tree.find()
        assert isinstance(found, NoGroups)
        assert said in found.reason

    def test_without_proc_has_a_reason(self, tmp_path: Path) -> None:
        found = find(proc=tmp_path / "nowhere")
        assert isinstance(found, NoGroups)
        assert "cannot be looked up" in found.reason

    @pytest.mark.skipif(os.geteuid() != 0, reason="a normal user's own group is delegated to that user")
    def test_under_systemd_must_be_delegated(self, tree: Tree) -> None:
        found = tree.find(is_systemd=True)
        assert isinstance(found, NoGroups)
        assert "Delegate=yes" in found.reason
        tree.delegate()
        assert isinstance(tree.find(is_systemd=True), GroupMaker)

    @pytest.mark.req("AG-408")
    def test_with_controllers_is_handed_them_and_left_for_a_group_beside(self, tree: Tree) -> None:
        tree.control("cpuset cpu io memory hugetlb pids")
        written: list[str] = []
        plain_write = ControlGroup.write

        def write(group: ControlGroup, name: str, text: str) -> None:
            # A plain file keeps the last word only; the kernel's adds each.
            written.append(f"{os.path.basename(group.path)} {name} {text}")
            plain_write(group, name, text)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ControlGroup, "write", write)
            found = tree.find()
        assert isinstance(found, GroupMaker)
        assert found.home.path == str(tree.base / LEAF)
        service = tree.base.name
        assert written == [
            f"{LEAF} cgroup.procs 0",
            *(f"{service} cgroup.subtree_control +{name}" for name in ("cpu", "io", "memory", "pids")),
        ]

    def test_with_others_in_it_is_used_without_controllers(self, tree: Tree) -> None:
        tree.control("memory")
        (tree.base / "cgroup.procs").write_text(f"{os.getpid()}\n12\n")
        found = tree.find()
        assert isinstance(found, GroupMaker)
        assert found.home.path == str(tree.base)
        assert (tree.base / "cgroup.subtree_control").read_text() == ""

    def test_is_found_again_from_the_agents_leaf(self, tmp_path: Path) -> None:
        tree = Tree(tmp_path, f"/system.slice/a.service/{LEAF}")
        (tree.base.parent / "cgroup.procs").write_text("")
        found = tree.find()
        assert isinstance(found, GroupMaker)
        assert (found.base, found.home.path) == (tree.base.parent, str(tree.base))

    @pytest.mark.req("AG-419")
    def test_is_given_back_where_scripts_left_something_running(self, tree: Tree) -> None:
        (tree.base / "cgroup.subtree_control").write_text("")
        maker = GroupMaker(
            base=tree.base,
            home=ControlGroup(str(tree.base / LEAF)),
            controllers=frozenset({"memory", "cpu"}),
        )
        maker.close()
        assert (tree.base / "cgroup.subtree_control").read_text() == ""
        left = tree.base / "hook-1-1-1"
        folder_of(left, {"cgroup.procs": "12\n"})
        maker.free(ControlGroup(str(left)))
        maker.close()
        assert (tree.base / "cgroup.subtree_control").read_text() == "-cpu -memory"


class _Child:
    """A script that was started, as far as its maker looks at it."""

    pid = 2**22 + 1

    def join(self, group: ControlGroup) -> None:
        """Is in it."""


@pytest.mark.req("V2-252")
def test_the_limits_of_a_script_never_come_over_an_agent_that_cannot_leave_its_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = ControlGroup(str(tmp_path / "gone"))
    limited: list[ControlGroup] = []
    monkeypatch.setattr(ControlGroup, "limit", lambda group, limits: limited.append(group))

    def enter(group: ControlGroup) -> None:
        if group == home:
            raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(ControlGroup, "enter", enter)
    maker = GroupMaker(base=tmp_path, home=home, limits=Limits(memory_bytes=1 << 20))
    maker.start(lambda: cast(Child, _Child()))
    assert limited == []
