"""What an agent leaves out of its process is left out, and nothing that it needs is missing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import grpc

import ferryman_agent

START = "import sys\nfrom ferryman_agent import lean\nlean.leave_out()\nlean.load_asyncio_alone()\n"


def printed(program: str, **environ: str) -> str:
    """What a process of its own prints that begins as the agent does."""
    done = subprocess.run(
        [sys.executable, "-c", START + program], capture_output=True, text=True, env={**os.environ, **environ}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


UNNEEDED = {
    "argparse",
    "difflib",
    "google.protobuf.internal.decoder",
    "google.protobuf.text_format",
    "hashlib",
    "http.client",
    "rich",
    "ssl",
    "tarfile",
    "zipfile",
}


def test_a_waiting_agent_has_not_loaded_what_it_does_not_need() -> None:
    program = (
        "from ferryman_agent import process\n"
        "from ferryman_agent.cli.main import main\n"
        "process.run = lambda *_, **__: print(*(name for name, one in sys.modules.items() if one))\n"
        "try: main(['run'])\nexcept SystemExit: pass"
    )
    loaded = set(printed(program).split())
    assert "ferryman_agent.process" in loaded
    assert UNNEEDED.isdisjoint(loaded)


def test_what_left_protobuf_out_still_has_all_of_it() -> None:
    program = (
        "from ferryman.v1 import agents_pb2 as pb\n"
        "one = pb.Hello(agent_version='1', open_command_ids=['d-1'])\n"
        "again = pb.Hello.FromString(one.SerializeToString())\n"
        "print(again == one, again)"
    )
    assert printed(program).split() == ["True", "agent_version:", '"1"', "open_command_ids:", '"d-1"']


def test_protobuf_in_python_is_not_taken_from_a_machine_that_has_no_other() -> None:
    program = (
        "from ferryman.v1 import agents_pb2 as pb\n"
        "print(pb.Hello.FromString(pb.Hello(agent_version='1').SerializeToString()).agent_version)\n"
        "print('google.protobuf.internal.decoder' in sys.modules)"
    )
    assert printed(program, PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION="python") == "1\nTrue"


BEGUN = (
    "from ferryman_agent import lean\nimport os, sys\n"
    "lean.leave_texts_out()\nprint(os.getpid(), sys.flags.optimize, lean.__doc__ is None)"
)


def begun(*options: str, **environ: str) -> tuple[bool, str, str]:
    """Whether a process is still the one that was started, how far it is optimised, whether its texts are gone."""
    process = subprocess.Popen(
        [sys.executable, *options, "-c", BEGUN],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **environ},
    )
    said, _ = process.communicate()
    pid, optimised, is_bare = said.split()
    return int(pid) == process.pid, optimised, is_bare


def test_where_all_is_compiled_without_texts_the_same_process_begins_again_like_that(tmp_path: Path) -> None:
    for package in (ferryman_agent, grpc):
        assert package.__file__ is not None
        place = tmp_path / Path(package.__file__).relative_to("/").parent
        place.mkdir(parents=True)
        (place / f"__init__.{sys.implementation.cache_tag}.opt-2.pyc").touch()
    assert begun(PYTHONPYCACHEPREFIX=str(tmp_path)) == (True, "2", "True")
    # Only once, of course.
    assert begun("-OO", PYTHONPYCACHEPREFIX=str(tmp_path)) == (True, "2", "True")


def test_where_something_would_have_to_be_compiled_first_all_stays_as_it_is(tmp_path: Path) -> None:
    assert begun(PYTHONPYCACHEPREFIX=str(tmp_path)) == (True, "0", "False")


def test_names_that_are_new_in_typing_are_found_under_their_old_name() -> None:
    program = "import typing, typing_extensions\nprint(typing_extensions.Self is typing.Self)"
    assert printed(program) == "True"


def test_what_means_more_than_in_typing_comes_from_the_library_itself() -> None:
    program = (
        "from typing_extensions import Self, TypeVar\n"
        "import sys, typing\n"
        "print(TypeVar('T', default=int).__default__ is int, Self is typing.Self,"
        " hasattr(sys.modules['typing_extensions'], 'deprecated'))"
    )
    assert printed(program) == "True True True"
