"""What `ferryman instance` and `ferryman token` say about instances and tokens."""

from __future__ import annotations

from pathlib import Path

import pytest

from ferryman.v1 import agents_pb2, inventory_pb2, tokens_pb2, types_pb2
from ferryman_client.cli.hostfile import HostFile
from ferryman_client.cli.instances import _agent, _details
from ferryman_client.cli.tokens import _allowed

NOW = 1_700_000_000_000


def details(**fields: object) -> dict[str, str]:
    item = inventory_pb2.Instance(name="web-1", registered_at=NOW, **fields)  # type: ignore[arg-type]
    return {label: str(value) for label, value in _details(item) if value}


@pytest.mark.req("CP-113")
def test_times_of_a_registration_are_shown() -> None:
    waiting = details(iam_user_arn="arn:aws:iam::123456789012:user/x")
    assert waiting["IAM user"] == "arn:aws:iam::123456789012:user/x"
    assert (waiting["Registered"], waiting["Enrolled"]) == ("2023-11-14T22:13:20.000Z", "not yet")
    gone = details(enrolled_at=NOW + 1, deregistered_at=NOW + 2)
    assert (gone["Enrolled"], gone["Deregistered"]) == (
        "2023-11-14T22:13:20.001Z",
        "2023-11-14T22:13:20.002Z",
    )


def test_what_a_provider_s_group_does_with_it_is_shown() -> None:
    assert "Lifecycle state" not in details(lifecycle_state="InService")
    launched = details(lifecycle_state="Launching", auto_scaling_group="web-asg")
    assert (launched["Lifecycle state"], launched["Autoscaling group"]) == ("Launching", "web-asg")
    assert details(lifecycle_state="Terminating")["Lifecycle state"] == "Terminating"


@pytest.mark.req("CP-078")
def test_who_was_turned_away_is_shown() -> None:
    trouble = inventory_pb2.IdentityTrouble(
        reason="IdentityInUse", message="another machine is connected", host_name="clone", at=NOW
    )
    assert details(identity_trouble=trouble)["Identity trouble"] == (
        "IdentityInUse at 2023-11-14T22:13:20.000Z, clone: another machine is connected"
    )
    assert "Identity trouble" not in details()


@pytest.mark.parametrize(
    "fields,word",
    [
        ({"is_connected": True, "enrolled_at": NOW}, "connected"),
        ({"enrolled_at": NOW}, "silent"),
        ({}, "not enrolled"),
        ({"enrolled_at": NOW, "deregistered_at": NOW}, "deregistered"),
        # What runs on it still goes on to its end.
        ({"is_connected": True, "deregistered_at": NOW}, "connected"),
    ],
)
def test_how_its_agent_is(fields: dict[str, object], word: str) -> None:
    assert str(_agent(inventory_pb2.Instance(**fields))) == word  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "fields,text",
    [
        ({"tags": [("*", "*")], "names": ["*"]}, "any name; any tag"),
        (
            {"tags": [("role", "web*"), ("zone", "*")], "names": ["web-*", "i-*"]},
            "web-*, i-*; role=web*, zone=*",
        ),
        ({"tags": [], "names": ["*"]}, "any name; no tags"),
        ({"tags": [], "names": ["*"], "instance_name": "web-1"}, "no tags"),
        (
            {"tags": [], "names": ["*"], "instance_name": "web-1", "replaces_identity": True},
            "replaces its identity; no tags",
        ),
    ],
)
def test_what_a_token_allows(fields: dict[str, object], text: str) -> None:
    tags = [types_pb2.Tag(key=key, value=value) for key, value in fields.pop("tags")]  # type: ignore[attr-defined]
    names = fields.pop("names")
    token = tokens_pb2.JoinToken(allowed_tags=tags, allowed_names=names, **fields)  # type: ignore[arg-type]
    assert _allowed(token) == text


@pytest.mark.req("CP-083")
def test_a_host_file_is_private_from_its_first_moment_and_gone_when_nothing_came_of_it(
    tmp_path: Path,
) -> None:
    path = tmp_path / "f.yml"
    empty = HostFile(path, overwrite=False)
    assert path.stat().st_mode & 0o777 == 0o600
    empty.close()
    assert not path.exists()
    path.write_text("old")
    path.chmod(0o644)
    with pytest.raises(FileExistsError):
        HostFile(path, overwrite=False)
    assert path.read_text() == "old"
    made = HostFile(path, overwrite=True)
    made.fill(name='a"b', coordinator="h:1", token="t")  # no secret
    made.close()
    assert path.stat().st_mode & 0o777 == 0o600
    assert 'host_name: "a\\"b"\n' in path.read_text()


@pytest.mark.req("K24")
@pytest.mark.parametrize(
    "skew_ms, text",
    [(90_000, "90 s ahead of the coordinator's"), (-90_000, "90 s behind the coordinator's"), (4_999, "")],
)
def test_a_clock_that_is_off_is_shown(skew_ms: int, text: str) -> None:
    assert details(facts=agents_pb2.Facts(clock_skew_ms=skew_ms)).get("Clock", "") == text
