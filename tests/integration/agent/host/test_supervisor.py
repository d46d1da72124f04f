"""The supervisor with real processes for agents: who is started again, who is not, and how everything ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ferryman_agent.host import instance
from ferryman_agent.host.service_manager import READY_DESCRIPTOR

PATIENCE_SECONDS = 20.0
READY = (
    f"import os, pathlib, signal, sys, time\nos.write(int(os.environ['{READY_DESCRIPTOR}']), b'READY=1\\n')\n"
)
NOTE = "open('story', 'a').write(f'{os.getpid()} {os.umask(0):03o}\\n')\n"


class Watched:
    """A supervisor over a Python program, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process: subprocess.Popen[str] | None = None
        self.pid_path = folder / "agent.supervisor.pid"
        self._told = ""

    def start(
        self, program: str, *, pauses: str = "0.05", drain: float = 60.0, interpreter: str = sys.executable
    ) -> None:
        script = self.folder / "agent.py"
        script.write_text(f"import os\nos.chdir({str(self.folder)!r})\n{program}")
        self._listening, telling = os.pipe()
        module = "tests.support.quick_supervisor"
        command = [sys.executable, "-m", module, pauses, "--pid-file", str(self.pid_path)]
        command += ["--drain", str(drain), "--tell", str(telling), "--", interpreter, str(script)]
        self.process = subprocess.Popen(
            command, pass_fds=(telling,), stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        os.close(telling)

    def heard(self) -> str:
        """What it tells to who started it; empty when it has ended."""
        return os.read(self._listening, 100).decode()

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def ended(self) -> tuple[int, str]:
        """Exit code and what it said."""
        assert self.process is not None
        _, said = self.process.communicate(timeout=PATIENCE_SECONDS)
        return self.process.returncode, said

    def story(self) -> list[list[str]]:
        path = self.folder / "story"
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

    def until(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            assert time.monotonic() < deadline, self.story()
            time.sleep(0.01)

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.communicate()
        os.close(self._listening)


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    made = Watched(tmp_path)
    yield made
    made.close()


@pytest.mark.req("AG-024", "V2-007", "V2-296", "V2-287")
def test_an_agent_that_dies_is_started_anew_as_a_process_of_its_own(watched: Watched) -> None:
    watched.start(READY + NOTE + "time.sleep(1000)\n")
    first = watched.heard().split()
    assert first[0] == "ready"
    watched.until(lambda: len(watched.story()) == 1)
    assert watched.story()[0] == [first[1], "027"], "the supervisor's umask; the agent sets its own"
    os.kill(int(first[1]), signal.SIGKILL)
    watched.until(lambda: len(watched.story()) == 2)
    assert watched.story()[1][0] != first[1]
    assert watched.heard() == "", "told once"
    holder = instance.find(watched.pid_path)
    assert holder is not None
    assert watched.process is not None
    assert holder.pid == watched.process.pid
    watched.send(signal.SIGTERM)
    code, said = watched.ended()
    assert "the agent ended (signal 9): it is started again in 0 s" in said
    assert code == 128 + signal.SIGTERM, "this one does not know how to end well"
    assert instance.find(watched.pid_path) is None


@pytest.mark.parametrize(
    "end,code", [("sys.exit(1)", 1), ("sys.exit(0)", 0), ("os.kill(os.getpid(), 9)", 137)]
)
def test_one_that_was_never_ready_is_not_tried_again(watched: Watched, end: str, code: int) -> None:
    watched.start("import os, sys\nopen('story', 'a').write('once\\n')\n" + end + "\n")
    assert watched.heard() == ""
    assert watched.ended()[0] == code
    assert watched.story() == [["once"]]


def test_one_that_ends_well_has_been_told_to(watched: Watched) -> None:
    watched.start(READY + NOTE)
    assert watched.heard().startswith("ready")
    assert watched.ended()[0] == 0
    assert len(watched.story()) == 1


@pytest.mark.req("V2-294", "V2-295")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_signals_go_on_to_the_agent_and_its_good_end_is_the_end(
    watched: Watched, number: signal.Signals
) -> None:
    program = (
        "signal.signal(signal.SIGHUP, lambda *_: open('story', 'a').write('HUP\\n'))\n"
        f"signal.signal({int(number)}, lambda *_: sys.exit(0))\n"
    )
    watched.start("import signal, sys\n" + program + READY + "while True: time.sleep(1000)\n")
    assert watched.heard().startswith("ready")
    watched.send(signal.SIGHUP)
    watched.until(lambda: watched.story() == [["HUP"]])
    watched.send(number)
    assert watched.ended() == (0, "")


@pytest.mark.req("V2-294")
def test_an_agent_that_does_not_end_is_killed_after_its_time(watched: Watched) -> None:
    watched.start(
        "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + READY + "time.sleep(1000)\n",
        drain=0.0,
    )
    assert watched.heard().startswith("ready")
    watched.send(signal.SIGTERM)
    code, said = watched.ended()
    assert code == 128 + signal.SIGKILL
    assert "the agent does not end: it is killed" in said


@pytest.mark.req("V2-036")
def test_a_pause_ends_at_once_when_it_is_told_to_end(watched: Watched) -> None:
    watched.start(READY + NOTE + "sys.exit(3)\n", pauses="1000")
    assert watched.heard().startswith("ready")
    assert watched.process is not None
    assert watched.process.stderr is not None
    assert "it is started again in 1000 s" in watched.process.stderr.readline()
    watched.send(signal.SIGTERM)
    assert watched.ended()[0] == 0
    assert len(watched.story()) == 1


@pytest.mark.req("AG-024", "V2-296")
def test_an_agent_that_cannot_be_started_just_now_is_tried_again(watched: Watched) -> None:
    """Memory or process numbers have run out, or its package is being replaced."""
    interpreter = watched.folder / "interpreter"
    interpreter.symlink_to(sys.executable)
    watched.start(
        READY + NOTE + "len(open('story').readlines()) > 1 or (os.unlink('interpreter'), sys.exit(1))",
        interpreter=str(interpreter),
    )
    assert watched.heard()
    watched.until(lambda: not interpreter.is_symlink())
    assert watched.process is not None
    assert watched.process.stderr is not None
    while "cannot start the agent: No such file or directory" not in watched.process.stderr.readline():
        assert watched.process.poll() is None
    interpreter.symlink_to(sys.executable)
    code, _ = watched.ended()
    assert code == 0
    assert len(watched.story()) == 2
