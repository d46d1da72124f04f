"""A local deployment as a person waits for it: the whole process, from the command line to its last line."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.harness import Figure, Options, row
from tests.support.local_tool import SCRIPTABLE, LocalTool, application


def _bare(script: Path) -> float:
    """Milliseconds for an interpreter that starts, and runs as many scripts one after the other."""
    program = (
        "import os\nfor _ in range(9):\n"
        f"    pid = os.posix_spawn({str(script)!r}, [{str(script)!r}], {{}}, setsid=True)\n    os.waitpid(pid, 0)\n"
    )
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], stdout=subprocess.DEVNULL, check=True)
    return (time.perf_counter() - started) * 1000


@row(
    "agent.deploy_local",
    what="deploy-local of a directory, 9 trivial hooks, whole process (the original: 650 ms)",
    unit="ms",
    budget=200,
)
def deploy_local(options: Options) -> Figure:
    """The second deployment of a group and those after it: all nine hooks run."""
    rounds = 3 if options.quick else 31
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        app = application(base / "app", dict.fromkeys(SCRIPTABLE, "exit 0"), destination=base / "srv")
        tool = LocalTool(base / "home")
        # An installed agent has its bytecode; where tests run it may be forbidden to be written.
        tool.environ |= {"PYTHONPYCACHEPREFIX": str(base / "bytecode")}
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        taken, bare, used = [], [], []
        for _ in range(rounds + 2):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            started = time.perf_counter()
            done = subprocess.run(tool.command(), cwd=app, env=tool.environ, capture_output=True, check=False)
            taken.append((time.perf_counter() - started) * 1000)
            assert done.returncode == 0, done.stderr
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            used.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
            bare.append(_bare(app / "scripts" / "AfterInstall.sh"))
    taken, bare = sorted(taken[2:]), sorted(bare[2:])
    return Figure(
        value=taken[rounds // 2],
        reference=bare[rounds // 2],
        reference_name="ms bare interpreter and posix_spawn",
        details={
            "fastest_ms": round(taken[0]),
            "slowest_ms": round(taken[-1]),
            # With the nine scripts. On a machine that has other work to do, this says more than the time on the wall.
            "cpu_ms": round(sorted(used)[rounds // 2] * 1000),
            "hooks": len(SCRIPTABLE),
        },
    )
