"""The req mark and its report: what is recorded, what is refused, what counts."""

import json
from pathlib import Path

import pytest

from tests.support import conformance, requirements
from tests.support.requirements import Requirement

pytest_plugins = ["pytester"]

ROOT = Path(__file__).resolve().parents[3]

SOURCE = """
import pytest

@pytest.mark.req("CP-001", "W1")
def test_good(): pass

@pytest.mark.req("W1")
def test_bad(): assert False

@pytest.mark.req("Z1")
def test_skipped(): pytest.skip("not today")

@pytest.mark.req("Z2")
@pytest.mark.parametrize("n", [1, pytest.param(2, marks=pytest.mark.req("API-W1"))])
def test_cases(n): pass

@pytest.fixture
def broken():
    yield
    raise RuntimeError("at the end")

@pytest.mark.req("Z3")
def test_teardown(broken): pass
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """An empty project that uses our plugin."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    pytester.makeini("[pytest]\nmarkers = req(*ids): shown requirements\naddopts = -p tests.support.marks")
    return pytester


def test_results_hold_the_worst_outcome_of_each_test(project: pytest.Pytester) -> None:
    project.makepyfile(test_it=SOURCE)

    project.runpytest_subprocess("--req-results", "out/results.json")

    results = json.loads((project.path / "out/results.json").read_text())
    assert results == {
        "CP-001": {"test_it.py::test_good": "passed"},
        "W1": {"test_it.py::test_good": "passed", "test_it.py::test_bad": "failed"},
        "Z1": {"test_it.py::test_skipped": "skipped"},
        "Z2": {"test_it.py::test_cases[1]": "passed", "test_it.py::test_cases[2]": "passed"},
        "API-W1": {"test_it.py::test_cases[2]": "passed"},
        "Z3": {"test_it.py::test_teardown": "failed"},
    }


def test_a_mark_with_an_unknown_id_ends_the_run(project: pytest.Pytester) -> None:
    project.makepyfile(test_it="import pytest\n@pytest.mark.req('CP-9999')\ndef test_it(): pass\n")

    result = project.runpytest_subprocess()

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*test_it.py::test_it: no requirement 'CP-9999' in docs/spec"])


def test_the_spec_is_read_completely() -> None:
    spec = requirements.load()

    assert {"CP-001", "W1", "W30", "Z4", "T85", "AG-L01", "AG-V01", "AG-Q13", "V2-001"} <= spec.keys()
    assert {"API-W1", "API-C20", "PF-001", "E2E-1a"} <= spec.keys()
    assert spec["W7"].file == "control-plane"
    assert spec["W7"].section == "13"
    assert spec["API-W7"].file == "api"
    assert all(requirement.text for requirement in spec.values())


def test_an_id_that_stands_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "one.md").write_text("## 1. A\n- **AB-001** this\n")
    (tmp_path / "two.md").write_text("## 1. B\n- **AB-001** that\n")

    with pytest.raises(ValueError, match="AB-001 stands in one as well"):
        requirements.load(tmp_path)


def _requirement(name: str, section: str) -> Requirement:
    return Requirement(id=name, file="control-plane", section=section, title="A title", text="a text")


def test_tally_counts_passing_without_failing() -> None:
    spec = [_requirement(name, "13") for name in ("W1", "W2", "W3", "W4")]
    outcomes = {
        "W1": {"a": "passed", "b": "skipped"},
        "W2": {"a": "passed", "b": "failed"},
        "W3": {"a": "skipped"},
    }

    (section,) = conformance.tally(spec, outcomes)

    assert [r.id for r in section.shown] == ["W1"]
    assert [r.id for r in section.failing] == ["W2"]
    assert [r.id for r in section.missing] == ["W3", "W4"]
    assert section.percent == 25.0


def test_select_by_file_and_section() -> None:
    sections = conformance.tally([_requirement("W1", "13"), _requirement("CP-001", "1")], {})

    assert [s.number for s in conformance.select(sections, ["control-plane:13"])] == ["13"]
    assert [s.number for s in conformance.select(sections, ["control-plane"])] == ["13", "1"]
    with pytest.raises(LookupError, match="control-plane:99"):
        conformance.select(sections, ["control-plane:99"])


def test_report_lists_what_is_not_shown_and_minds_the_minimum(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "results.json"
    results.write_text(json.dumps({"Z1": {"a": "passed"}, "Z2": {"a": "failed"}}))

    code = conformance.main([str(results), "--section", "control-plane:13", "--min", "50"])

    out, err = capsys.readouterr()
    assert code == 1
    assert "failing: Z2" in out
    assert "no passing test: W30" in out
    assert "no passing test: Z1 " not in out
    assert "control-plane:13 has" in err


def test_report_refuses_results_for_unknown_requirements(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "results.json"
    results.write_text(json.dumps({"CP-9999": {"a": "passed"}}))

    assert conformance.main([str(results)]) == 2
    assert "CP-9999" in capsys.readouterr().err
