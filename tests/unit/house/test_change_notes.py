"""The check of change notes, which `make lint` runs."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


def _mistakes(folder: Path) -> list[str]:
    spec = importlib.util.spec_from_file_location("changes_check", ROOT / "changes" / "check.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: list[str] = module.mistakes(folder)
    return found


@pytest.mark.parametrize("kind", ["feature", "fix", "removal", "security"])
def test_a_good_note_passes(tmp_path: Path, kind: str) -> None:
    (tmp_path / f"agent-hooks.{kind}.md").write_text("Hooks end with their whole process group.\n")

    assert _mistakes(tmp_path) == []


@pytest.mark.parametrize(
    "name", ["hooks.md", "hooks.feature.txt", "Hooks.feature.md", "hooks.news.md", "a_b.fix.md"]
)
def test_a_wrong_name_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("A sentence.\n")

    (mistake,) = _mistakes(tmp_path)

    assert f"changes/{name}" in mistake


@pytest.mark.parametrize("text,says", [("", "empty"), ("no end", "sentence"), ("Long. " * 200, "characters")])
def test_a_note_has_to_say_something_short(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "hooks.fix.md").write_text(text)

    (mistake,) = _mistakes(tmp_path)

    assert says in mistake
