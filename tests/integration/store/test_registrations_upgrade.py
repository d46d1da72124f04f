"""What was stored before instances could be registered without enrolling, and before join tokens had rights."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from sqlalchemy.ext.asyncio import create_async_engine

from ferryman_coordinator.core.tags import Tag
from ferryman_coordinator.store import migrate
from ferryman_coordinator.store.queries import instances, tokens
from ferryman_coordinator.store.store import Store

_INSTANCE = {
    "instance_id": "mi-1", "name": "web-1", "kind": "OnPremises", "arn": "arn", "tags": "[]", "zone": "",
    "registered_at": 1000, "facts": "{}",
}  # fmt: skip
_TOKEN = {
    "token_id": "t-1", "digest": "d", "uses": 1, "used": 0, "created_at": 1, "expires_at": 2,
    "instance_name": "", "tags": "[]",
}  # fmt: skip


def at_schema_3(connection: sa.Connection) -> None:
    configuration = Config()
    configuration.set_main_option("script_location", str(Path(migrate.__file__).with_name("migrations")))
    configuration.attributes["connection"] = connection
    command.upgrade(configuration, "0003")
    for table, row in (("instances", _INSTANCE), ("join_tokens", _TOKEN)):
        columns = ", ".join(row)
        values = ", ".join(f":{name}" for name in row)
        connection.execute(sa.text(f"INSERT INTO {table} ({columns}) VALUES ({values})"), row)


async def test_former_instances_have_enrolled_and_former_tokens_allow_everything(fresh_url: str) -> None:
    engine = create_async_engine(fresh_url)
    async with engine.begin() as connection:
        await connection.run_sync(at_schema_3)
    await engine.dispose()
    store = await Store.open(fresh_url)
    async with store.reading() as connection:
        instance = await instances.find(connection, "web-1")
        token = await tokens.join_token(connection, "d")
    await store.close()
    assert instance is not None
    assert instance.enrolled_at == instance.registered_at == 1000
    assert token is not None
    assert token[1].allows_tag(Tag("role", "web"))
    assert token[1].allows_name("web-2")
    assert not token[1].replaces_identity
