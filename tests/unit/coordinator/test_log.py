"""Log lines: one JSON object each, and no secret in any of them."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from ferryman_coordinator import log as log_module
from ferryman_coordinator.log import REDACTED, configure


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    configure("info", stream)
    yield stream
    structlog.reset_defaults()
    root.handlers[:], root.level = handlers, level


def read(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_one_json_object_with_time_level_and_event(lines: io.StringIO) -> None:
    structlog.get_logger().info("hook.exited", hook="a\nb", exit_code=1)
    (line,) = read(lines)
    assert line["event"] == "hook.exited"
    assert line["level"] == "info"
    assert str(line["timestamp"]).endswith("Z")
    assert (line["hook"], line["exit_code"]) == ("a\nb", 1)


def test_less_than_the_level_is_not_written(lines: io.StringIO) -> None:
    structlog.get_logger().debug("plumbing")
    assert read(lines) == []


def test_what_libraries_log_takes_the_same_way(lines: io.StringIO) -> None:
    logging.getLogger("some.library").warning("bad request with Bearer %s", "abcdef")
    logging.getLogger("some.library").info("chatter")
    (line,) = read(lines)
    assert line["event"] == f"bad request with Bearer {REDACTED}"
    assert line["logger"] == "some.library"


SECRET = "s3cr3tS3cr3tS3cr3t"


@pytest.mark.parametrize(
    "fields",
    [
        {"token": SECRET},
        {"join_token": SECRET},
        {"password": SECRET},
        {"db_passwd": SECRET},
        {"secretAccessKey": SECRET},
        {"authorization": f"Bearer {SECRET}"},
        {"private_key": SECRET},
        {"header": f"bearer {SECRET}"},
        {"text": f"enroll --token ferryman-join-1-{'ab' * 32}-{SECRET} failed"},
        {"text": f"ferryman-access-1-{SECRET}"},
        {"url": f"https://h/bundles/abc?expires=1&signature={SECRET}"},
        {"url": f"https://bucket.s3/x?X-Amz-Signature={SECRET}&a=b"},
        {"database": f"postgresql://ferryman:{SECRET}@db/ferryman"},
        {"key": f"-----BEGIN EC PRIVATE KEY-----\n{SECRET}\n-----END EC PRIVATE KEY-----"},
        {"nested": {"list": [f"Bearer {SECRET}", {"token": SECRET}]}},
        {"error": ValueError(f"postgresql://u:{SECRET}@h/d")},
    ],
)
def test_secrets_are_taken_out(lines: io.StringIO, fields: dict[str, object]) -> None:
    structlog.get_logger().warning("something", **fields)
    assert SECRET not in lines.getvalue()
    assert REDACTED in lines.getvalue()


def test_secrets_are_taken_out_of_tracebacks(lines: io.StringIO) -> None:
    def failing() -> None:
        raise RuntimeError(f"cannot connect to postgresql://u:{SECRET}@h/d")

    try:
        failing()
    except RuntimeError:
        structlog.get_logger().exception("store.failed")
    (line,) = read(lines)
    assert "RuntimeError" in str(line["exception"])
    assert SECRET not in lines.getvalue()


def test_ids_and_digests_stay_readable(lines: io.StringIO) -> None:
    fields = {
        "deployment": "d-ABCDEF123",
        "sha256": "ab" * 32,
        "token_id": "3f0c",
        "text": f"ferryman-join-1-{'ab' * 32}",
        "url": "https://host:7421/bundles",
    }
    structlog.get_logger().info("something", **fields)
    assert read(lines)[0].items() >= fields.items()


def test_what_json_does_not_know_is_written_as_text(lines: io.StringIO) -> None:
    structlog.get_logger().info("something", path=io.BytesIO, value={1, 2})
    assert read(lines)[0]["value"] == [1, 2]
    assert log_module.REDACTED not in lines.getvalue()


def test_nothing_in_a_line_is_obeyed_by_a_terminal(lines: io.StringIO) -> None:
    """What agents and callers say stands in it; U+009B begins a control sequence as ESC [ does."""
    said = "\x1b[2J \x9b31m \x7f \u202e \u2028 \x85 ümlaut"
    structlog.get_logger().info("agent.goodbye", reason=said)
    try:
        raise ValueError(said)
    except ValueError:
        logging.getLogger("library").exception("broke")
    text = lines.getvalue()
    assert [character for character in text if not character.isprintable()] == ["\n", "\n"]
    assert "ümlaut" in text
    assert read(lines)[0]["reason"] == said
