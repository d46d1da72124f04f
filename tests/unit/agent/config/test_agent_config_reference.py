"""The reference and the sample of the agent's configuration are what the schema says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ferryman_agent.config import parse, reference
from ferryman_agent.config.walk import leaves

DOCS = Path(__file__).parents[4] / "docs" / "operating"
HOME = {"FERRYMAN_AGENT_HOME": "/srv/agent"}


@pytest.mark.parametrize(
    "name,wanted", [(reference.REFERENCE, reference.reference()), (reference.SAMPLE, reference.sample())]
)
def test_the_files_are_up_to_date(name: str, wanted: str) -> None:
    found = (DOCS / name).read_text(encoding="utf-8")
    assert found == wanted, "run: python -m ferryman_agent.config.reference docs/operating"


def test_the_sample_with_its_comments_taken_away_is_the_default() -> None:
    uncommented = re.sub(r"^( *)#(\w+:)", r"\1\2", reference.sample(), flags=re.MULTILINE)
    found = parse(uncommented.encode(), "sample", HOME)
    assert found.warnings == ()
    assert found.config == parse(b"", "none", HOME).config


def test_every_setting_says_what_it_is_for() -> None:
    for key, field in leaves():
        assert reference._description(field), key
