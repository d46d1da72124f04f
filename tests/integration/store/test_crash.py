"""The store's process is killed in the middle of committed rounds: nothing that was acknowledged is lost."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from ferryman_coordinator.store import tables
from ferryman_coordinator.store.store import Store

WRITERS = 8
ROWS = 20

_PROGRAM = """
import asyncio, itertools, sys
from ferryman_coordinator.store import tables
from ferryman_coordinator.store.batch import Batch
from ferryman_coordinator.store.store import Store

async def rounds(store, writer):
    for number in itertools.count(1):
        batch = Batch()
        for row in range({rows}):
            batch.put(tables.settings, {{"key": f"{{writer}}-{{row}}", "value": str(number)}})
        await store.write(batch)
        sys.stdout.write(f"{{writer}} {{number}}\\n")
        sys.stdout.flush()

async def main():
    store = await Store.open(sys.argv[1])
    await asyncio.gather(*(rounds(store, writer) for writer in range({writers})))

asyncio.run(main())
"""


@pytest.mark.req("CP-423")
@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_every_acknowledged_round_is_there_and_whole(store_url: str, seed: int, tmp_path: Path) -> None:
    program = tmp_path / "writer.py"
    program.write_text(_PROGRAM.format(rows=ROWS, writers=WRITERS), encoding="utf-8")
    process = subprocess.Popen([sys.executable, program, store_url], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    acknowledged = dict.fromkeys(range(WRITERS), 0)
    try:
        for _ in range(random.Random(seed).randrange(50, 400)):
            line = process.stdout.readline()
            if not line:
                break
            writer, number = map(int, line.split())
            acknowledged[writer] = number
    finally:
        process.kill()
        # What it still said before it died counts as well.
        for line in process.stdout.read().splitlines()[:-1]:
            writer, number = map(int, line.split())
            acknowledged[writer] = number
        process.stdout.close()
        process.wait()
    assert any(acknowledged.values())

    store = await Store.open(store_url)
    async with store.reading() as connection:
        rows = (
            await connection.execute(sa.select(tables.settings).where(tables.settings.c.key.like("%-%")))
        ).all()
    await store.close()
    stored: dict[int, set[int]] = {}
    for row in rows:
        stored.setdefault(int(row.key.partition("-")[0]), set()).add(int(row.value))
    for writer, number in acknowledged.items():
        if number:
            assert len(stored[writer]) == 1, "a round is whole or not there"
            assert stored[writer].pop() >= number
