from __future__ import annotations

import asyncio

import pytest
import sqlalchemy as sa

from ferryman_coordinator.core.inventory import ANY_TAG, TokenId
from ferryman_coordinator.core.tags import Tag
from ferryman_coordinator.errors import Invalid, LimitExceeded, Unauthenticated
from ferryman_coordinator.operations.join_tokens import JoinTokens
from ferryman_coordinator.store import tables
from ferryman_coordinator.store.cursors import PageRequest
from tests.support.desk import FINGERPRINT, Desk


async def reason_of(desk: Desk, text: str) -> str:
    with pytest.raises(Unauthenticated) as refused:
        await desk.tokens.consume(text)
    return refused.value.reason


@pytest.mark.req("CP-079")
async def test_a_token_carries_the_ca_and_lives_an_hour(desk: Desk) -> None:
    text, token = await desk.tokens.create()
    assert text.startswith(f"ferryman-join-1-{FINGERPRINT}-")
    assert token.expires_at == desk.clock.now() + 3_600_000
    assert (token.uses, token.uses_left) == (1, 1)
    assert await desk.tokens.check(f"  {text}\n") == token


async def test_only_a_digest_is_stored(desk: Desk) -> None:
    text, _ = await desk.tokens.create()
    kept: list[str] = []
    await desk.first_administrator.ensure(kept.append)
    secrets = [text.rpartition("-")[2], kept[0].rpartition("-")[2]]
    for table in (tables.join_tokens, tables.access_tokens):
        async with desk.store.reading() as connection:
            rows = (await connection.execute(sa.select(table))).all()
        assert rows
        assert not [secret for secret in secrets for row in rows for value in row if secret in str(value)]


async def test_each_refusal_says_what_it_is(desk: Desk) -> None:
    used, _ = await desk.tokens.create()
    await desk.tokens.consume(used)
    revoked, token = await desk.tokens.create()
    await desk.tokens.revoke(token.token_id)
    expired, _ = await desk.tokens.create(ttl_seconds=10)
    desk.clock.advance(10_000)
    fresh, _ = await desk.tokens.create()
    assert await reason_of(desk, used) == "JoinTokenUsedUp"
    assert await reason_of(desk, revoked) == "JoinTokenRevoked"
    assert await reason_of(desk, expired) == "JoinTokenExpired"
    assert await reason_of(desk, fresh[:-1] + ("a" if fresh[-1] != "a" else "b")) == "JoinTokenUnknown"
    assert await reason_of(desk, fresh.replace(FINGERPRINT, "cb" * 32)) == "JoinTokenForeign"
    for malformed in ("", "token", fresh[:40], fresh + "-x", fresh.upper(), "ferryman-access-1-abc"):
        assert await reason_of(desk, malformed) == "JoinTokenMalformed"
    await desk.tokens.consume(fresh)


async def test_a_token_expires_to_the_millisecond(desk: Desk) -> None:
    text, _ = await desk.tokens.create(ttl_seconds=1)
    desk.clock.advance(999)
    await desk.tokens.check(text)
    desk.clock.advance(1)
    assert await reason_of(desk, text) == "JoinTokenExpired"


@pytest.mark.parametrize("uses", [1, 3])
async def test_exactly_as_many_get_in_as_there_are_uses(desk: Desk, uses: int) -> None:
    text, _ = await desk.tokens.create(uses=uses)
    results = await asyncio.gather(*(desk.tokens.consume(text) for _ in range(12)), return_exceptions=True)
    refused = [result for result in results if isinstance(result, Unauthenticated)]
    assert len(refused) == 12 - uses
    assert {one.reason for one in refused} == {"JoinTokenUsedUp"}
    (token,) = (await desk.tokens.list(PageRequest())).items
    assert (token.used, token.uses_left) == (uses, 0)


async def test_an_unlimited_token_is_good_until_it_expires(desk: Desk) -> None:
    text, _ = await desk.tokens.create(is_unlimited=True)
    for _ in range(5):
        await desk.tokens.consume(text)
    (token,) = (await desk.tokens.list(PageRequest())).items
    assert (token.uses, token.used, token.uses_left) == (0, 5, 0)


@pytest.mark.parametrize(
    "options, complaint",
    [
        ({"uses": -1}, "1 to 1000000 uses, not -1"),
        ({"uses": 1_000_001}, "not 1000001"),
        ({"uses": 5, "is_unlimited": True}, "either 5 uses or unlimited"),
        ({"ttl_seconds": -1}, "seconds, not -1"),
        ({"ttl_seconds": 367 * 86_400}, "lives 1 to 31622400 seconds"),
        ({"uses": 2, "instance_name": "web-1"}, "has one use, since a name is there once"),
        ({"is_unlimited": True, "instance_name": "web-1"}, "leave the name out"),
        ({"instance_name": "i-Abc"}, "begin with 'i-' are reserved"),
        ({"tags": [Tag("role", "")]}, "its value is empty"),
        ({"allowed_tags": [Tag("role", "")]}, "its value is empty"),
        ({"allowed_tags": [Tag("role", str(number)) for number in range(51)]}, "at most 50 patterns"),
        ({"allowed_names": ["web *"]}, "'web \\*' is no pattern of names"),
        ({"allowed_names": [""]}, "is no pattern"),
        ({"allowed_names": ["x"] * 51}, "at most 50 patterns"),
        ({"replaces_identity": True}, "say which with --instance-name"),
    ],
)
async def test_what_makes_no_sense_is_refused(desk: Desk, options: dict[str, object], complaint: str) -> None:
    with pytest.raises(Invalid, match=complaint):
        await desk.tokens.create(**options)  # type: ignore[arg-type]
    assert (await desk.tokens.list(PageRequest())).items == ()


async def test_more_preset_tags_than_an_instance_may_have_are_refused(desk: Desk) -> None:
    with pytest.raises(LimitExceeded) as refused:
        await desk.tokens.create(tags=[Tag("number", str(number)) for number in range(11)])
    assert refused.value.reason == "TagLimitExceededException"


async def test_tokens_are_listed_newest_first(desk: Desk) -> None:
    made = []
    for number in range(5):
        _, token = await desk.tokens.create(tags=[Tag("number", str(number))])
        made.append(token)
        desk.clock.advance(number % 2)
    first = await desk.tokens.list(PageRequest(size=3))
    second = await desk.tokens.list(PageRequest(size=3, token=first.next_token))
    shown = [*first.items, *second.items]
    assert sorted(shown, key=lambda token: -token.created_at) == shown
    assert {token.token_id for token in shown} == {token.token_id for token in made}
    assert second.next_token == ""


async def test_revoking_twice_or_what_is_not_there_succeeds(desk: Desk) -> None:
    _, token = await desk.tokens.create()
    await desk.tokens.revoke(token.token_id)
    desk.clock.advance(5)
    await desk.tokens.revoke(token.token_id)
    await desk.tokens.revoke(TokenId("nothing"))
    (kept,) = (await desk.tokens.list(PageRequest())).items
    assert kept.revoked_at == desk.clock.now() - 5


async def test_the_admin_token_is_made_once_and_lets_its_holder_in(desk: Desk) -> None:
    kept: list[str] = []
    assert await desk.first_administrator.ensure(kept.append)
    assert not await desk.first_administrator.ensure(kept.append)
    (text,) = kept
    admitted = await desk.access.authenticate(text)
    assert admitted is not None
    assert admitted.caller.name == "admin"
    assert admitted.rights.everywhere("ferryman:CreateUser")
    for wrong in ("", "x", text[:-1], text + "x", text.lower()):
        assert await desk.access.authenticate(wrong) is None


async def test_another_admin_token_leaves_the_first_one_valid(desk: Desk) -> None:
    kept: list[str] = []
    await desk.first_administrator.ensure(kept.append)
    await desk.first_administrator.add_token(kept.append)
    first, second = kept
    assert first != second
    for text in kept:
        assert await desk.access.authenticate(text) is not None


async def test_an_admin_token_that_could_not_be_put_away_is_made_again(desk: Desk) -> None:
    def full(_text: str) -> None:
        raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space"):
        await desk.first_administrator.ensure(full)
    kept: list[str] = []
    assert await desk.first_administrator.ensure(kept.append)
    assert await desk.access.authenticate(kept[0]) is not None


async def test_what_a_token_allows_is_settled_when_it_is_made(desk: Desk) -> None:
    _, anything = await desk.tokens.create()
    assert anything.allows_tag(Tag("role", "web"))
    assert anything.allows_name("web-1")
    _, narrow = await desk.tokens.create(
        allowed_tags=[Tag("role", "web-*"), Tag("zone*", "*")], allowed_names=["web-*", "i-*"]
    )
    assert (await desk.tokens.list(PageRequest(size=1))).items in ((narrow,), (anything,))
    allowed = [Tag("role", "web-1"), Tag("zone", "x"), Tag("zone-b", "y")]
    refused = [Tag("role", "db"), Tag("Role", "web-1"), Tag("rack", "1"), Tag("my-zone", "x")]
    assert [narrow.allows_tag(tag) for tag in (*allowed, *refused)] == [True] * 3 + [False] * 4
    assert [narrow.allows_name(name) for name in ("web-", "i-0", "db-web-1", "Web-1")] == [
        True,
        True,
        False,
        False,
    ]
    _, nothing = await desk.tokens.create(allowed_tags=[])
    assert not nothing.allows_tag(Tag("role", "web"))


async def test_the_coordinator_says_what_a_token_allows_that_does_not_say(desk: Desk) -> None:
    strict = JoinTokens(desk.store, desk.clock, desk.ids, desk.limits, FINGERPRINT, ())
    _, token = await strict.create()
    assert token.allowed_tags == ()
    _, wide = await strict.create(allowed_tags=ANY_TAG)
    assert wide.allows_tag(Tag("role", "web"))
