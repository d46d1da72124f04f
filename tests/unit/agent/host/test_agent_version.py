"""The `.version` file of a package, and what it means beside the version that runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from ferryman_agent import __version__
from ferryman_agent.host import version


@pytest.mark.req("AG-030", "AG-031")
def test_the_file_beside_the_root_counts_before_that_of_the_prefix(tmp_path: Path) -> None:
    root, prefix = tmp_path / "place" / "deployment-root", tmp_path / "prefix"
    root.mkdir(parents=True)
    prefix.mkdir()
    assert version.installed(root, prefix) is None
    (prefix / ".version").write_text("agent_version: OFFICIAL_1.0.1.854_rpm\n")
    assert version.installed(root, prefix) == "OFFICIAL_1.0.1.854_rpm"
    (root.parent / ".version").write_text("a: b: OFFICIAL_2.0.0_deb \nagent_version: other\n")
    assert version.installed(root, prefix) == "OFFICIAL_2.0.0_deb"
    for useless in (b"", b"\n\n", b"name: \n"):
        (root.parent / ".version").write_bytes(useless)
        assert version.installed(root, prefix) == "OFFICIAL_1.0.1.854_rpm"
    (root.parent / ".version").unlink()
    (root.parent / ".version").mkdir()
    assert version.installed(root, prefix) == "OFFICIAL_1.0.1.854_rpm"


@pytest.mark.req("AG-030", "AG-031", "V2-288")
def test_only_another_version_of_a_package_is_worth_a_word() -> None:
    assert version.remark(None) is None
    assert version.remark(f"OFFICIAL_{__version__}_deb") is None
    assert version.remark("\x00\xff") is None
    assert version.remark("OFFICIAL_9.9.9_zip") is None
    said = version.remark("OFFICIAL_9.9.9_rpm")
    assert said is not None
    assert said.startswith(f"version 9.9.9 is installed and {__version__} runs: restart")
