"""Deployments of two groups that take files from each other, fail and are rolled back: whose each file is."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferryman_agent.core.messages import GroupId, Instant
from ferryman_agent.errors import InstallError
from ferryman_agent.files.cleanup import read_journal
from ferryman_agent.files.install import _Install
from ferryman_agent.files.layout import Layout
from ferryman_agent.files.settings import InstallSettings
from tests.support.bundles import description, put_archive

GROUPS = (GroupId("g-1"), GroupId("g-2"))
NAMES = ("a", "b", "d/a", "d/e/x")

deployments = st.tuples(
    st.sampled_from(GROUPS),
    st.dictionaries(st.sampled_from(NAMES), st.sampled_from([b"one", b"two", "b"]), max_size=4),
    st.booleans(),
    st.booleans(),
)

Files = dict[str, bytes | str]


@dataclass
class Machine:
    """One host: what its groups last deployed with success, and under which id."""

    app: Path
    layout: Layout
    good: dict[GroupId, tuple[str, Files]] = field(default_factory=dict)
    number: int = 0

    def install(self, group: GroupId, files: Files, *, adopt: bool = False, creator: str = "user") -> str:
        """Returns the deployment's id. Raises InstallError."""
        self.number += 1
        ident = f"d-{self.number}"
        text = f"version: 0.0\nos: linux\nfiles:\n  - source: app\n    destination: {self.app}\n"
        content = {f"app/{name}": value for name, value in files.items()}
        put_archive(self.layout, ident, {"app/": b"", **content, "appspec.yml": text.encode()}, group)
        told = description(
            ident,
            group=group,
            adopt=adopt,
            deployment_creator=creator,
            last_successful_deployment_id=self.good.get(group, ("", {}))[0],
        )
        _Install(told, self.layout, Instant(self.number), InstallSettings()).run()
        return ident

    def owned(self, group: GroupId) -> set[str]:
        """Files and links in the group's journal."""
        names = (
            os.path.relpath(path, self.app)
            for path in read_journal(self.layout.cleanup_journal(group), keep=True).paths
            if not os.path.isdir(path) or os.path.islink(path)
        )
        return set(names)

    def state(self) -> tuple[Files, list[set[str]]]:
        found: Files = {}
        for folder, folders, names in os.walk(self.app):
            for name in (*folders, *names):
                path = Path(folder, name)
                if path.is_symlink():
                    found[os.path.relpath(path, self.app)] = os.readlink(path)
                elif path.is_file():
                    found[os.path.relpath(path, self.app)] = path.read_bytes()
        return found, [self.owned(group) for group in GROUPS]


@pytest.mark.req("AG-326", "AG-T43", "AG-466")
@given(st.lists(deployments, min_size=2, max_size=8))
@settings(max_examples=60, deadline=None)
def test_every_file_is_of_one_group_and_a_rollback_undoes_all(
    steps: list[tuple[GroupId, Files, bool, bool]],
) -> None:
    with tempfile.TemporaryDirectory() as folder, patch("os.fsync"):
        layout = Layout(Path(folder, "agent", "root"))
        layout.prepare()
        app = Path(folder, "srv", "app")
        app.mkdir(parents=True)
        machine = Machine(app, layout)
        for group, files, adopt, fails in steps:
            before = machine.state()
            others = before[1][1 - GROUPS.index(group)]
            is_refused = not adopt and not others.isdisjoint(files)
            if is_refused:
                with pytest.raises(InstallError, match="deploy with --adopt"):
                    machine.install(group, files)
                assert machine.state() == before
                continue
            ident = machine.install(group, files, adopt=adopt)
            found, owned = machine.state()
            assert {name: found[name] for name in files} == files
            assert owned[GROUPS.index(group)] == set(files)
            assert owned[1 - GROUPS.index(group)] == others - set(files)
            assert set(found) == set().union(*owned)
            if not fails:
                machine.good[group] = ident, files
            elif group in machine.good and before[1][GROUPS.index(group)] == set(machine.good[group][1]):
                machine.install(group, machine.good[group][1], creator="codeDeployRollback")
                assert machine.state() == before
            else:
                # Nothing to go back to, or the other group has it by now, and a rollback adopts nothing.
                machine.good[group] = ident, files
        for group in GROUPS:
            machine.install(group, {})
        assert machine.state()[0] == {}
