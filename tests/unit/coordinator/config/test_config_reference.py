"""The operators' reference and the sample file are what the schema says."""

from pathlib import Path

import pytest
import yaml

from ferryman_coordinator.config import Config, load
from ferryman_coordinator.config.reference import REFERENCE, SAMPLE, effective, reference, sample
from ferryman_coordinator.config.source import leaves

DOCS = Path(__file__).resolve().parents[4] / "docs" / "operating"


@pytest.mark.parametrize("name,text", [(REFERENCE, reference()), (SAMPLE, sample())])
def test_the_committed_files_are_up_to_date(name: str, text: str) -> None:
    assert (DOCS / name).read_text(encoding="utf-8") == text, (
        "run: python -m ferryman_coordinator.config.reference docs/operating"
    )


def test_every_setting_is_described_for_operators() -> None:
    for key, field in leaves():
        assert field.type.__metadata__[0].description, key


def test_the_sample_without_its_comment_marks_is_the_default(tmp_path: Path) -> None:
    lines = [line.replace("#", "", 1) for line in sample().splitlines() if line.strip() and "# " not in line]
    path = tmp_path / "coordinator.yml"
    path.write_text("\n".join(lines), encoding="utf-8")
    assert load(path, {}, {"data_dir": "/d"}) == load(None, {}, {"data_dir": "/d"})


def test_the_effective_settings_can_be_read_back(tmp_path: Path) -> None:
    path = tmp_path / "coordinator.yml"
    config = load(None, {}, {"data_dir": "/d", "public.names": "a,b", "agents.heartbeat_interval": "90s"})
    path.write_text(effective(config), encoding="utf-8")
    assert load(path, {}, {}) == config
    assert set(yaml.safe_load(effective(config))) == set(Config.__struct_fields__)
