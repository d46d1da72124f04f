"""The house itself: one version, documented targets, portable locks, declared libraries, no trace of a machine."""

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.components import require_component

ROOT = Path(__file__).resolve().parents[3]
DISTRIBUTIONS = {
    "protos": "ferryman",
    "client": "ferryman_client",
    "agent": "ferryman_agent",
    "coordinator": "ferryman_coordinator",
}
LOCKS = ("dev", "coordinator", "agent")
# What is imported under another name than it is installed by.
IMPORT_NAMES = {
    "grpcio": "grpc",
    "grpcio-health-checking": "grpc_health",
    "grpcio-reflection": "grpc_reflection",
    "protobuf": "google",
    "pyyaml": "yaml",
    "prometheus-client": "prometheus_client",
    "ferryman-protos": "ferryman",
}


def project(folder: str) -> dict[str, Any]:
    """The [project] table of one distribution."""
    table: dict[str, Any] = tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"]
    return table


def needs(folder: str) -> dict[str, Requirement]:
    """What a distribution declares to need, by normalised name."""
    declared = [Requirement(text) for text in project(folder)["dependencies"]]
    return {canonicalize_name(requirement.name): requirement for requirement in declared}


def locked(name: str) -> dict[str, str]:
    """The version of each library in one lock."""
    text = (ROOT / "requirements" / f"{name}.lock").read_text()
    return dict(re.findall(r"^([a-z0-9.-]+)==([^\s;]+)", text, flags=re.MULTILINE))


@pytest.mark.parametrize("folder,package", DISTRIBUTIONS.items())
def test_one_version_everywhere(folder: str, package: str) -> None:
    expected = importlib.import_module("ferryman").__version__

    assert importlib.import_module(package).__version__ == expected
    assert version(f"ferryman-{folder}") == expected, "run `make setup` after a change of the version"
    if folder != "protos":
        assert str(needs(folder)["ferryman-protos"].specifier) == f"=={expected}"


def test_every_make_target_is_described_and_every_one_that_texts_name_exists() -> None:
    text = (ROOT / "Makefile").read_text()
    phony = set(re.findall(r"^\.PHONY: (\S+)$", text, flags=re.MULTILINE))
    described = set(re.findall(r"^([a-z][a-z0-9-]*):.*## \S", text, flags=re.MULTILINE))
    assert phony == described

    for document in ("README.md", "CONTRIBUTING.md", ".ci/run"):
        commands = re.findall(
            r"^ *make ([a-z-]+)|`make ([a-z-]+)", (ROOT / document).read_text(), re.MULTILINE
        )
        missing = {fenced or quoted for fenced, quoted in commands} - phony
        assert not missing, f"{document} names targets that do not exist: {missing}"


@pytest.mark.req("AG-H01")
@pytest.mark.parametrize("name", LOCKS)
def test_locks_hold_hashes_and_no_address(name: str) -> None:
    text = (ROOT / "requirements" / f"{name}.lock").read_text()

    assert "://" not in text
    assert not re.search(r"^-", text, flags=re.MULTILINE), "an option line would tie the lock to a machine"
    entries = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]
    assert len(entries) == len(locked(name)) > 5
    for entry in entries:
        assert "--hash=sha256:" in entry, entry.splitlines()[0]


@pytest.mark.parametrize("name", ["coordinator", "agent"])
def test_one_version_of_each_library_in_all_locks(name: str) -> None:
    assert locked(name).items() <= locked("dev").items()


@pytest.mark.req("AG-H01")
@pytest.mark.parametrize(
    "folder,lock",
    [(folder, "dev") for folder in DISTRIBUTIONS] + [("coordinator", "coordinator"), ("agent", "agent")],
)
def test_locks_satisfy_what_is_declared(folder: str, lock: str) -> None:
    versions = locked(lock)
    for name, requirement in needs(folder).items():
        if name != "ferryman-protos":
            assert name in versions, f"{name} is not in requirements/{lock}.lock; run `make lock`"
            assert versions[name] in requirement.specifier, f"{requirement}: locked {versions[name]}"


def _imports(path: Path) -> Iterator[str]:
    """The top-level names that a module imports, absolutely."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]


def _imported_libraries(folder: str) -> dict[str, str]:
    """Each foreign top-level name that a distribution imports, with a file that does."""
    package = DISTRIBUTIONS[folder]
    found = {
        name: str(path.relative_to(ROOT))
        for path in sorted((ROOT / folder / package).rglob("*.py"))
        for name in _imports(path)
    }
    return {name: path for name, path in found.items() if name not in sys.stdlib_module_names | {package}}


@pytest.mark.parametrize("folder", DISTRIBUTIONS)
def test_every_imported_library_is_declared(folder: str) -> None:
    declared = {IMPORT_NAMES.get(name, name) for name in needs(folder)}

    undeclared = {name: at for name, at in _imported_libraries(folder).items() if name not in declared}

    assert not undeclared, f"{folder}/pyproject.toml does not declare {undeclared}"


@pytest.mark.parametrize("folder", ["agent", "coordinator"])
def test_cores_import_only_what_is_pure(folder: str) -> None:
    package = DISTRIBUTIONS[folder]
    impure = {
        "asyncio",
        "time",
        "random",
        "os",
        "logging",
        "socket",
        "subprocess",
        "threading",
        "uuid",
        "secrets",
    }
    pure = (sys.stdlib_module_names - impure) | {package}
    if folder == "agent":
        pure = pure | {"ferryman"}  # its pure AppSpec; the import contract says that it is nothing else

    for path in (ROOT / folder / package / "core").rglob("*.py"):
        assert set(_imports(path)) <= pure, path


def test_no_file_names_a_machine_or_a_registry() -> None:
    git = require_component("git")
    listed = subprocess.run([git, "-C", ROOT, "ls-files", "-z"], capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    # Put together here, so that this file does not find itself.
    words = (
        "/work" + "/main",
        "/work" + "/shared",
        "/tmp" + "/brief",
        "pypi" + ".org",
        "python" + "hosted",
        "npmjs" + ".org",
    )
    forbidden = re.compile("|".join(map(re.escape, words)).encode())
    found = [
        name
        for name in listed.stdout.split("\0")
        if name and (ROOT / name).is_file() and forbidden.search((ROOT / name).read_bytes())
    ]
    assert not found
