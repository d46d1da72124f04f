"""The identity file, the lock of a running agent, what a host tells, and renewal by the clock."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from ferryman_agent.core.messages import Instant
from ferryman_agent.errors import ConfigError, IdentityError
from ferryman_agent.hooks import processes
from ferryman_agent.host import certificates, facts, identity, instance, renewal, service_manager
from ferryman_agent.host.instance import AlreadyRunning, InstanceLock
from ferryman_agent.host.renewal import Renewal
from tests.support.agent_clock import START, ManualAgentClock
from tests.support.identities import LIFETIME_MS, an_identity


class TestFile:
    @pytest.mark.req("V2-282")
    def test_it_is_private_and_replaced_as_a_whole(self, tmp_path: Path) -> None:
        path = tmp_path / "state" / "identity.json"
        identity.save(an_identity(), path)
        identity.save(an_identity(private_key="NEW"), path)
        assert identity.load(path) == an_identity(private_key="NEW")
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700
        assert os.listdir(path.parent) == ["identity.json"]

    def test_a_missing_one_says_what_to_do(self, tmp_path: Path) -> None:
        with pytest.raises(IdentityError, match="run `ferryman-agent enroll`"):
            identity.load(tmp_path / "identity.json")

    @pytest.mark.req("AG-082", "V2-343")
    @pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
    def test_one_that_others_can_read_is_refused_with_the_way_out(self, tmp_path: Path, mode: int) -> None:
        path = tmp_path / "identity.json"
        identity.save(an_identity(), path)
        path.chmod(mode)
        with pytest.raises(IdentityError, match=f"chmod 600 {path}"):
            identity.load(path)

    @pytest.mark.req("V2-288")
    @pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"instance_id": "x"}', "\udcff", "[" * 100_000])
    def test_a_broken_one_says_so(self, tmp_path: Path, text: str) -> None:
        path = tmp_path / "identity.json"
        path.write_bytes(text.encode(errors="surrogateescape"))
        path.chmod(0o600)
        with pytest.raises(IdentityError, match="is broken: enroll again"):
            identity.load(path)

    def test_one_with_a_wrong_value_is_broken_too(self, tmp_path: Path) -> None:
        path = tmp_path / "identity.json"
        identity.save(an_identity(), path)
        content = json.loads(path.read_text())
        for name, value in (("agents_port", "7422"), ("private_key", ""), ("expires_at", None)):
            path.write_text(json.dumps(content | {name: value}))
            with pytest.raises(IdentityError, match="is broken"):
                identity.load(path)

    @pytest.mark.req("V2-274")
    def test_the_key_is_in_no_text_of_it(self) -> None:
        assert "KEY" not in repr(an_identity())
        assert an_identity(host="::1").address == "[::1]:7422"
        assert an_identity().renew_at == START + LIFETIME_MS * 2 // 3


class TestLock:
    @pytest.mark.req("AG-019", "AG-020", "V2-290")
    def test_a_second_one_is_told_who_holds_it(self, tmp_path: Path) -> None:
        path = tmp_path / "pid" / "agent.pid"
        with InstanceLock(path):
            assert path.read_text() == f"{os.getpid()}\n"
            assert path.stat().st_mode & 0o777 == 0o644
            holder = instance.find(path)
            assert holder is not None
            assert holder.pid == os.getpid()
            with pytest.raises(AlreadyRunning, match=f"PID {os.getpid()}"):
                InstanceLock(path).__enter__()
        assert not path.exists()
        assert instance.find(path) is None
        with InstanceLock(path):
            assert instance.find(path) is not None

    @pytest.mark.req("AG-021", "AG-022", "V2-291", "AG-T75", "AG-H16")
    @pytest.mark.parametrize(
        "content", ["", "garbage", "1 2 3", "99999999999 1 x", "{pid} 1 {boot}", "{pid} {ticks} other"]
    )
    def test_what_a_dead_agent_left_behind_is_no_agent(self, tmp_path: Path, content: str) -> None:
        own = processes.read(os.getpid())
        assert own is not None
        path = tmp_path / "agent.pid"
        text = content.format(pid=os.getpid(), ticks=own.started_at_ticks, boot=processes.boot_id())
        path.with_name("agent.pid.lock").write_text(text)
        path.write_text("1\n")
        assert instance.find(path) is None
        with InstanceLock(path):
            assert instance.find(path) is not None

    def test_nobody_else_can_hold_it_or_have_it_written_elsewhere(self, tmp_path: Path) -> None:
        """A lock takes no more than permission to read; before, everybody had that."""
        path, lock = tmp_path / "agent.pid", tmp_path / "agent.pid.lock"
        precious = tmp_path / "precious"
        precious.write_text("precious")
        lock.touch()
        lock.chmod(0o644)
        path.with_name(f".agent.pid.{os.getpid()}").symlink_to(precious)
        with InstanceLock(path):
            assert stat.S_IMODE(lock.stat().st_mode) == 0o600
            assert path.read_text() == f"{os.getpid()}\n"
            assert not path.is_symlink()
        lock.unlink()
        lock.symlink_to(precious)
        with pytest.raises(ConfigError, match="pid_dir"):
            InstanceLock(path).__enter__()
        assert precious.read_text() == "precious"

    def test_the_kernel_lets_go_when_the_process_dies(self, tmp_path: Path) -> None:
        path = tmp_path / "agent.pid"
        program = (
            "import sys, os, pathlib\nfrom ferryman_agent.host.instance import InstanceLock\n"
            "InstanceLock(pathlib.Path(sys.argv[1])).__enter__()\nprint('locked', flush=True)\nsys.stdin.read()\n"
        )
        child = subprocess.Popen(
            [sys.executable, "-c", program, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert child.stdout is not None
        assert child.stdout.readline() == b"locked\n"
        with pytest.raises(AlreadyRunning):
            InstanceLock(path).__enter__()
        child.kill()
        child.communicate()
        with InstanceLock(path):
            assert path.read_text() == f"{os.getpid()}\n"

    @pytest.mark.req("AG-023")
    def test_a_directory_that_cannot_be_written_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        path = tmp_path / "file" / "pid" / "agent.pid"
        with pytest.raises(ConfigError, match=str(path.parent)):
            InstanceLock(path).__enter__()


def test_facts_of_this_host() -> None:
    found = facts.gather(Path("/"))
    assert found.host_name == os.uname().nodename
    assert found.cpu_count > 0
    assert found.memory_bytes > 1 << 20
    assert 0 < found.disk_free_bytes <= found.disk_total_bytes
    assert "127.0.0.1" not in found.addresses
    assert facts.disk_space(Path("/not/made/yet"))[1] == found.disk_total_bytes


class TestHardening:
    @pytest.mark.req("AG-088", "V2-298", "V2-287")
    def test_no_core_dumps_of_its_own_and_no_foreign_credentials(self) -> None:
        program = (
            "import ctypes, os, resource\nfrom ferryman_agent.host.hardening import harden\n"
            "os.umask(0o077)\nharden(core_dumps=False)\n"
            "print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), os.umask(0), "
            "resource.getrlimit(resource.RLIMIT_CORE)[1] == int(os.environ['LIMIT']), "
            "'AWS_SECRET_ACCESS_KEY' in os.environ)\n"
        )
        limit = str(resource.getrlimit(resource.RLIMIT_CORE)[1])
        environment = os.environ | {"AWS_SECRET_ACCESS_KEY": "x", "LIMIT": limit}
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
        )
        assert done.stdout.split() == ["0", str(0o022), "True", "False"], "hooks keep the limit that they had"

    def test_it_tells_the_service_manager(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
            listening.bind("notify")
            listening.settimeout(10)
            monkeypatch.setenv("NOTIFY_SOCKET", "notify")
            service_manager.notify("READY=1")
            assert listening.recv(100) == b"READY=1"
        service_manager.notify("STOPPING=1")
        monkeypatch.delenv("NOTIFY_SOCKET")
        service_manager.notify("STOPPING=1")


@pytest.mark.req("AG-096")
async def test_a_key_made_apart_fits_its_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Root may have been anywhere when it started the agent.
    for planted in ("cryptography", "ferryman_agent", "asyncio"):
        (tmp_path / f"{planted}.py").write_text("raise SystemExit('run as root')")
    monkeypatch.chdir(tmp_path)
    made = await certificates.make_apart("i-1")
    key = serialization.load_pem_private_key(made.private_key.encode(), None)
    request = x509.load_pem_x509_csr(made.request.encode())
    assert request.is_signature_valid
    assert request.public_key() == key.public_key()
    assert isinstance(request.signature_hash_algorithm, hashes.SHA256)


class TestRenewal:
    """By the clock alone; the call itself is shown against the fake coordinator."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        path = tmp_path / "identity.json"
        identity.save(an_identity(), path)
        return path

    @pytest.fixture
    def clock(self) -> ManualAgentClock:
        return ManualAgentClock()

    async def run(self, made: Renewal, clock: ManualAgentClock, until: Callable[[], bool]) -> float:
        """Moves the clock from sleep to sleep; returns the seconds that went by until the condition holds."""
        task = asyncio.create_task(made.run())
        began = clock.monotonic()
        try:
            async with asyncio.timeout(20):
                while not until():
                    if (pause := clock.next_wake) is not None:
                        assert pause <= renewal.LONGEST_NAP_SECONDS + 1
                        clock.advance(pause)
                    await asyncio.sleep(0)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        return clock.monotonic() - began

    @pytest.mark.parametrize("chance", [0.0, 1.0])
    async def test_it_comes_at_two_thirds_of_the_lifetime_spread_a_little(
        self, path: Path, clock: ManualAgentClock, monkeypatch: pytest.MonkeyPatch, chance: float
    ) -> None:
        renewed: list[float] = []
        made = Renewal(path, clock, lambda: chance, lambda: None)

        async def renew_once() -> None:
            renewed.append(clock.monotonic())
            identity.save(
                an_identity(issued_at=clock.now(), expires_at=Instant(clock.now() + LIFETIME_MS)), path
            )

        monkeypatch.setattr(made, "renew_once", renew_once)
        seconds = await self.run(made, clock, lambda: len(renewed) == 2)
        wanted = LIFETIME_MS / 1000 * (2 / 3 + 0.05 * chance)
        assert renewed[0] == pytest.approx(wanted, abs=1)
        assert seconds == pytest.approx(2 * wanted, abs=2)

    async def test_a_failure_is_tried_again_less_and_less_often(
        self, path: Path, clock: ManualAgentClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tries: list[float] = []
        clock.advance(LIFETIME_MS / 1000)
        made = Renewal(path, clock, lambda: 0.0, lambda: None)

        async def renew_once() -> None:
            tries.append(clock.monotonic())
            raise IdentityError("the coordinator is away")

        monkeypatch.setattr(made, "renew_once", renew_once)
        await self.run(made, clock, lambda: len(tries) == 12)
        pauses = [round(later - earlier) for earlier, later in pairwise(tries)]
        assert pauses == [5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600]
        assert identity.load(path) == an_identity(), "and the old one stays"
