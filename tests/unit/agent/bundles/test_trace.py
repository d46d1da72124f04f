"""The trace of downloads holds what was asked and answered, and nothing that opens a door."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from ferryman_agent.bundles.trace import FILES, Trace
from ferryman_agent.files.rotate import MIB, BySize


@pytest.mark.req("AG-K10", "V2-273", "AG-C14")
def test_requests_and_answers_without_secrets(tmp_path: Path) -> None:
    path = tmp_path / "codedeploy-agent.aws_wire.log"
    trace = Trace(str(path))
    trace.request(
        "https://u:geheim@s3.corp/b/k?X-Amz-Signature=geheim",
        {"Range": "bytes=5-", "Authorization": "Bearer geheim", "x-amz-security-token": "geheim"},
    )
    answer = [
        ("ETag", '"e"'),
        ("Location", "https://h/x?sig=geheim"),
        ("Set-Cookie", "geheim"),
        ("X\n", "a\x1b[1m"),
    ]
    trace.answer(302, "Found", answer)
    trace.close()
    text = path.read_text()
    for part in (
        "GET https://s3.corp/b/k\n",
        "Range: bytes=5-",
        "302 Found",
        'ETag: "e"',
        "Location: https://h/x\n",
    ):
        assert part in text
    assert "geheim" not in text
    assert "\x1b" not in text
    assert text.count("<redacted>") == 3
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.req("V2-273")
def test_it_begins_anew_at_64_mib_sixteen_times() -> None:
    assert (BySize().max_bytes, FILES) == (64 * MIB, 16)


@pytest.mark.req("AG-K10")
def test_off_it_leaves_nothing_and_a_full_disk_costs_nothing(tmp_path: Path) -> None:
    off = Trace("")
    off.request("https://h/", {})
    off.close()
    broken = Trace(str(tmp_path / "none" / "x" / "y.log"))
    (tmp_path / "none").write_text("a file, no folder")
    broken.answer(200, "OK", [])
    broken.close()
    assert [path.name for path in tmp_path.iterdir()] == ["none"]
