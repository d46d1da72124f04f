"""Whatever stands in the agent's state files: it is said, or ignored, and nothing breaks (V2-288)."""

from __future__ import annotations

import json
import os
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferryman_agent.cli.overview import gather
from ferryman_agent.config import load
from ferryman_agent.errors import ConfigError, IdentityError
from ferryman_agent.files.layout import Layout
from ferryman_agent.host import identity, instance, version
from ferryman_agent.host.instance import InstanceLock
from tests.fuzz.journal import examine

CORPUS = Path(__file__).parents[2] / "corpus" / "journal"
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None

ABSURD = st.one_of(
    st.integers(min_value=-(10**30), max_value=10**30),
    st.floats(),
    st.text(max_size=20),
    st.none(),
    st.booleans(),
    st.lists(st.integers(), max_size=3),
)
JSON: st.SearchStrategy[Any] = st.recursive(
    ABSURD,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
)
BYTES = st.one_of(
    st.binary(max_size=255),
    JSON.map(lambda value: json.dumps(value).encode()),
    JSON.map(lambda value: json.dumps(value)[: len(json.dumps(value)) // 2].encode()),
    st.sampled_from(
        [b"", b"\0" * 255, b"[" * 14_000, b"\xff\xfe{}", b"1" * 5_000, b"NaN", b'{"pid": 1e400}']
    ),
)


@contextmanager
def a_home() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        yield Path(folder)


@pytest.mark.req("V2-288")
@settings(max_examples=100, deadline=None)
@given(BYTES)
def test_an_identity_is_whole_or_said_to_be_broken(content: bytes) -> None:
    with a_home() as home:
        path = home / "identity.json"
        path.write_bytes(content)
        path.chmod(0o600)
        with pytest.raises(IdentityError, match="is broken"):
            identity.load(path)


@pytest.mark.req("V2-288")
@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(identity.Identity.__annotations__)), ABSURD))
def test_an_identity_with_values_of_any_kind_is_read_or_said_to_be_broken(values: dict[str, Any]) -> None:
    whole = {"agents_port": 1, "issued_at": 1, "expires_at": 2}
    texts = {name: "x" for name in identity.Identity.__annotations__ if name not in whole}
    with a_home() as home:
        path = home / "identity.json"
        path.write_text(json.dumps(texts | whole | values))
        path.chmod(0o600)
        try:
            found = identity.load(path)
        except IdentityError as error:
            if "is broken" not in str(error):
                raise
        else:
            assert found.address
            assert isinstance(found.renew_at, int)


@pytest.mark.req("V2-288", "AG-021")
@settings(max_examples=100, deadline=None)
@given(BYTES)
def test_lock_and_pid_file_of_any_content_are_nobody_and_do_not_keep_an_agent_away(content: bytes) -> None:
    with a_home() as home:
        path = home / "agent.pid"
        path.write_bytes(content)
        path.with_name("agent.pid.lock").write_bytes(content)
        assert instance.find(path) is None
        with InstanceLock(path):
            found = instance.find(path)
            assert found is not None
            assert found.pid == os.getpid()


@pytest.mark.req("V2-288")
@settings(max_examples=100, deadline=None)
@given(BYTES, JSON)
def test_a_status_file_of_any_content_is_shown_as_far_as_it_can_be(content: bytes, value: object) -> None:
    with a_home() as home:
        environment = {"FERRYMAN_AGENT_HOME": str(home)}
        config = load(None, environment).config
        (home / "state").mkdir()
        with InstanceLock(config.pid_path):
            names = ("link", "commands", "results", "warnings", "started_at", "reports_waiting", "version")
            for told in (content, json.dumps({"pid": os.getpid()} | dict.fromkeys(names, value)).encode()):
                config.status_path.write_bytes(told)
                found = gather(load(None, environment))
                assert found.is_running
                assert found.as_json()
                assert "is running with PID" in found.as_text()
                assert found.running_commands is None or isinstance(found.running_commands, list)


@pytest.mark.req("V2-288", "AG-030")
@settings(max_examples=100, deadline=None)
@given(BYTES)
def test_a_version_file_of_any_content_is_a_text_or_none(content: bytes) -> None:
    with a_home() as home:
        (home / ".version").write_bytes(content)
        found = version.installed(home / "root", home / "none")
        version.remark(found)
        assert found is None or found.strip()


@pytest.mark.req("V2-288", "AG-153")
@settings(max_examples=100, deadline=None)
@given(BYTES)
def test_pointers_and_markers_of_any_content_lead_nowhere_else(content: bytes) -> None:
    with a_home() as home:
        layout = Layout(home / "root", state_dir=home / "state")
        layout.prepare()
        for name in ("g-1_last_successful_install", "g-1_most_recent_install"):
            (layout.instructions / name).write_bytes(content)
        (layout.ongoing / "d-1").write_bytes(content)
        for found in (layout.last_successful("g-1"), layout.most_recent("g-1")):
            assert found is None or found.parent.name == "g-1"
        assert layout.ongoing_deployments() == {"d-1"}


@pytest.mark.req("V2-288", "AG-058")
@settings(max_examples=100, deadline=None)
@given(BYTES)
def test_a_configuration_of_any_content_is_read_or_refused_with_its_path(content: bytes) -> None:
    with a_home() as home:
        path = home / "ferrymanagent.yml"
        path.write_bytes(content)
        try:
            load(path, {"FERRYMAN_AGENT_HOME": str(home)})
        except ConfigError as error:
            if str(path) not in str(error):
                raise


class TestJournal:
    """The reader of records: every file that once was interesting stays in tests/corpus/journal."""

    @pytest.mark.req("V2-288", "V2-010")
    @pytest.mark.parametrize("path", sorted(CORPUS.iterdir()), ids=lambda path: path.name)
    def test_the_corpus(self, path: Path) -> None:
        examine(path.read_bytes())

    @pytest.mark.req("V2-288", "V2-010")
    @settings(max_examples=100, deadline=None)
    @given(st.sampled_from(sorted(CORPUS.iterdir())), st.data())
    def test_what_is_near_the_corpus(self, path: Path, data: st.DataObject) -> None:
        source = path.read_bytes()
        at = data.draw(st.integers(0, len(source)))
        noise = data.draw(st.binary(max_size=30))
        cut = data.draw(st.integers(0, 30))
        examine(source[:at] + noise + source[at + cut :])

    @pytest.mark.req("V2-288")
    @settings(max_examples=100, deadline=None)
    @given(JSON)
    def test_records_with_a_right_checksum_and_any_content(self, value: object) -> None:
        lines = []
        for kind in (
            "received",
            "noted",
            "process-began",
            "acknowledged",
            "numbering",
            "renumbered",
            "last-result",
        ):
            text = json.dumps(
                {"k": kind} | (value if isinstance(value, dict) else {"number": value})
            ).encode()
            lines.append(b"%08x %s\n" % (zlib.crc32(text), text))
        examine(b"".join(lines))
