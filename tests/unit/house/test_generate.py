"""`make protos`: what appears, what goes away, and that nothing happens when nothing changed."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
SUFFIXES = ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py", "_pb2_grpc.pyi")

PROTO = """
syntax = "proto3";
package ferryman.v1;
message Crate { string label = 1; }
"""


@pytest.fixture
def generate() -> Callable[[Path], bool]:
    """The generator's entry, loaded as the build hook loads it."""
    spec = importlib.util.spec_from_file_location("generate", ROOT / "protos" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    entry: Callable[[Path], bool] = module.generate
    return entry


@pytest.fixture
def contract(tmp_path: Path) -> Path:
    """A contract of one file."""
    folder = tmp_path / "ferryman" / "v1"
    folder.mkdir(parents=True)
    (folder / "crate.proto").write_text(PROTO)
    return folder


def test_stubs_appear_once(generate: Callable[[Path], bool], contract: Path, tmp_path: Path) -> None:
    assert generate(tmp_path) is True
    assert all((contract / f"crate{suffix}").is_file() for suffix in SUFFIXES)
    assert generate(tmp_path) is False


def test_a_new_file_imports_the_old_one_by_its_package(
    generate: Callable[[Path], bool], contract: Path, tmp_path: Path
) -> None:
    generate(tmp_path)
    before = (contract / "crate_pb2.py").stat()
    (contract / "ship.proto").write_text(
        PROTO.replace("message Crate { string label = 1; }", "")
        + 'import "ferryman/v1/crate.proto";\nmessage Ship { repeated Crate crates = 1; }\n'
    )

    assert generate(tmp_path) is True

    assert "from ferryman.v1 import crate_pb2" in (contract / "ship_pb2.py").read_text()
    assert (contract / "crate_pb2.py").stat().st_mtime_ns == before.st_mtime_ns, (
        "unchanged, so not written again"
    )


def test_stubs_go_with_their_source(generate: Callable[[Path], bool], contract: Path, tmp_path: Path) -> None:
    generate(tmp_path)
    (contract / "crate.proto").unlink()

    assert generate(tmp_path) is True
    assert list(contract.iterdir()) == []


def test_a_lost_stub_comes_back(generate: Callable[[Path], bool], contract: Path, tmp_path: Path) -> None:
    generate(tmp_path)
    (contract / "crate_pb2_grpc.pyi").unlink()

    assert generate(tmp_path) is True
    assert (contract / "crate_pb2_grpc.pyi").is_file()


def test_a_mistake_ends_with_protocs_exit_code(
    generate: Callable[[Path], bool], contract: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (contract / "crate.proto").write_text(PROTO.replace("string", "strnig"))

    with pytest.raises(SystemExit) as ended:
        generate(tmp_path)

    assert ended.value.code == 1
    assert "strnig" in capfd.readouterr().err
