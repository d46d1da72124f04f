"""Generate the Python modules and type stubs of every .proto file, beside it.

`make protos` runs this file, the build hook imports it. New .proto files are found by themselves; modules
whose .proto is gone are removed. Nothing is touched when sources and generators are those of the last run.
"""

import hashlib
import os
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parent
SUFFIXES = ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py", "_pb2_grpc.pyi")
GENERATORS = ("grpcio-tools", "mypy-protobuf")
STAMP = ".generated"


def generate(root: Path = ROOT) -> bool:
    """Bring the generated modules below `root` up to date; tell whether there was anything to do.

    Raises SystemExit with protoc's own exit code after protoc has printed what is wrong, and with a sentence
    when a generator is not installed.
    """
    sources = sorted((root / "ferryman").rglob("*.proto"))
    stamp = root / "ferryman" / STAMP
    wanted = _fingerprint(root, sources)
    expected = {path for source in sources for path in _outputs(source)}
    present = set(_generated(root))
    if present == expected and stamp.is_file() and stamp.read_text() == wanted:
        return False
    if sources:
        with tempfile.TemporaryDirectory(prefix="protos-", dir=root) as scratch:
            _compile(root, sources, Path(scratch))
            for path in sorted(expected):
                _put(Path(scratch) / path.relative_to(root), path)
    for path in present - expected:
        path.unlink(missing_ok=True)
    stamp.write_text(wanted)
    return True


def _outputs(source: Path) -> list[Path]:
    return [source.with_name(source.stem + suffix) for suffix in SUFFIXES]


def _generated(root: Path) -> Iterator[Path]:
    for suffix in SUFFIXES:
        yield from (root / "ferryman").rglob(f"*{suffix}")


def _fingerprint(root: Path, sources: list[Path]) -> str:
    """A digest of all that decides the result: names and bytes of the sources, versions of the generators."""
    digest = hashlib.sha256()
    for name in GENERATORS:
        digest.update(f"{name}={version(name)}\n".encode())
    digest.update(Path(__file__).read_bytes())
    for source in sources:
        digest.update(f"{source.relative_to(root).as_posix()}\n".encode())
        digest.update(source.read_bytes())
    return digest.hexdigest()


def _compile(root: Path, sources: list[Path], target: Path) -> None:
    import grpc_tools
    from grpc_tools import protoc

    bundled = Path(grpc_tools.__file__).parent / "_proto"
    arguments = [
        "protoc",
        f"-I{root}",
        f"-I{bundled}",
        f"--python_out={target}",
        f"--grpc_python_out={target}",
        f"--plugin=protoc-gen-mypy={_plugin('protoc-gen-mypy')}",
        f"--plugin=protoc-gen-mypy_grpc={_plugin('protoc-gen-mypy_grpc')}",
        f"--mypy_out=quiet:{target}",
        f"--mypy_grpc_out=quiet:{target}",
        *(str(source) for source in sources),
    ]
    if code := protoc.main(arguments):
        raise SystemExit(code)


def _plugin(name: str) -> str:
    """The path of a protoc plugin: beside this interpreter, or on PATH as in an isolated build."""
    places = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")])
    found = shutil.which(name, path=places)
    if found is None:
        raise SystemExit(f"cannot generate the stubs: {name} is not installed (package mypy-protobuf)")
    return found


def _put(new: Path, path: Path) -> None:
    """Replace `path` in one step, and only when its content changes: type checkers cache by it."""
    if not path.is_file() or path.read_bytes() != new.read_bytes():
        new.replace(path)


if __name__ == "__main__":
    changed = generate()
    print("protos: generated" if changed else "protos: up to date", file=sys.stderr)
