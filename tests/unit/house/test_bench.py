"""The bench harness: what is judged how, and that a row that fails does not end the others."""

import json
from pathlib import Path

import pytest

from tests.bench import __main__ as bench
from tests.bench import harness
from tests.bench.harness import Figure, Options, Row


def _row(**changes: object) -> Row:
    settings: dict[str, object] = {
        "name": "a.row",
        "what": "something",
        "unit": "ms",
        "measure": lambda _: Figure(value=1.0),
    }
    return Row(**(settings | changes))  # type: ignore[arg-type]  # a test's own defaults


@pytest.mark.parametrize(
    "row,figure,verdict",
    [
        (_row(), Figure(value=5), ""),
        (_row(budget=5), Figure(value=5), "ok"),
        (_row(budget=5), Figure(value=5.1), "over"),
        (_row(budget=5, higher_is_better=True), Figure(value=5.1), "ok"),
        (_row(budget=5, higher_is_better=True), Figure(value=4.9), "over"),
        (_row(ratio_budget=2), Figure(value=6, reference=3), "ok"),
        (_row(ratio_budget=2), Figure(value=7, reference=3), "over"),
        (_row(ratio_budget=2), Figure(value=7), ""),
        (_row(budget=10, ratio_budget=2), Figure(value=7, reference=3), "over"),
    ],
)
def test_verdict(row: Row, figure: Figure, verdict: str) -> None:
    assert row.verdict(figure) == verdict


def test_two_rows_of_one_name_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "_registry", {})
    register = harness.row("a.row", what="something", unit="ms")
    register(lambda _: Figure(value=1.0))

    with pytest.raises(ValueError, match="a.row"):
        register(lambda _: Figure(value=2.0))


def _breaks(_: Options) -> Figure:
    raise RuntimeError("cannot measure")


async def _measures(options: Options) -> Figure:
    return Figure(value=3.0 if options.quick else 300.0, reference=2.0, reference_name="bare")


def test_results_are_shown_and_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [_row(name="good", measure=_measures, budget=1)]
    monkeypatch.setattr(bench, "all_rows", lambda: rows)

    code = bench.main(["--in-process", "--quick", "--json", str(tmp_path / "result.json")])

    assert code == 0
    (entry,) = json.loads((tmp_path / "result.json").read_text())["rows"]
    assert entry["value"] == 3.0
    assert entry["ratio"] == 1.5
    assert entry["verdict"] == "over"
    assert "2 bare" in capsys.readouterr().out
    assert bench.main(["--in-process", "--quick", "--strict"]) == 1


def test_a_row_that_fails_does_not_end_the_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [_row(name="bad", measure=_breaks), _row(name="good", measure=_measures)]
    monkeypatch.setattr(bench, "all_rows", lambda: rows)

    code = bench.main(["--in-process"])

    assert code == 1
    out = capsys.readouterr().out
    assert "cannot measure" in out
    assert "300 ms" in out


def test_unknown_pattern_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "all_rows", lambda: [_row()])

    assert bench.main(["nothing.*"]) == 2
    assert "nothing.*" in capsys.readouterr().err
