"""Whether a stored bundle can be deployed: its AppSpec file is there and right. The same rules as `lint` (AG-276)."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

from ferryman.appspec import DEFAULT_NAME, Finding, check_against, find_appspec_name, parse, similar_names
from ferryman.archives import ArchiveProblem, Contents, read_contents
from ferryman_coordinator.bundles.storage import BundleStorage, check_digest
from ferryman_coordinator.core.model import BundleLocation
from ferryman_coordinator.errors import Invalid

_AT_ONCE = 2
_REMEMBERED = 256


class BundleInspector:
    """Satisfies `operations.revisions.Inspector`."""

    def __init__(self, storage: BundleStorage) -> None:
        self._storage = storage
        # A large archive costs seconds of a thread, so few at a time.
        self._places = asyncio.Semaphore(_AT_ONCE)
        # A digest never changes its content: what was found good stays good.
        self._good: OrderedDict[str, tuple[str, ...]] = OrderedDict()

    async def inspect(self, location: BundleLocation) -> Sequence[str]:
        """Returns warnings. Raises Invalid (`InvalidRevisionException`) with everything that is wrong."""
        stored = await self._storage.find(check_digest(location.sha256))
        if stored is None:
            raise _invalid(
                location, "it is not in the coordinator's store: upload it first, as `ferryman push` does"
            )
        if stored.size_bytes != location.size_bytes:
            raise _invalid(
                location, f"the stored bundle has {stored.size_bytes} bytes, not {location.size_bytes}"
            )
        warnings = self._good.get(location.key + location.bundle_type)
        if warnings is None:
            async with self._places:
                path = self._storage.path(location.sha256)
                warnings = await asyncio.to_thread(_look_into, path, location)
            self._good[location.key + location.bundle_type] = warnings
            if len(self._good) > _REMEMBERED:
                self._good.popitem(last=False)
        return warnings


def _look_into(path: Path, location: BundleLocation) -> tuple[str, ...]:
    try:
        contents = read_contents(path)
    except ArchiveProblem as problem:
        raise _invalid(location, f"the archive {problem}") from problem
    name, source = _app_spec(contents, location)
    parsed = parse(source, strict=True)
    findings = parsed.findings
    if parsed.appspec is not None:
        findings += check_against(parsed.appspec, contents.at_root(), strict=True)
    errors = [finding for finding in findings if finding.is_error]
    if errors:
        raise _invalid(location, _list(name, errors, findings), errors=str(len(errors)))
    warnings = [finding.describe(name) for finding in findings]
    if contents.found_type != location.bundle_type.value:
        # Agents go by the content as well (AG-250).
        said, found = location.bundle_type.value, contents.found_type
        warnings.append(f"the bundle is said to be a {said}, but is a {found}")
    return tuple(warnings)


def _app_spec(contents: Contents, location: BundleLocation) -> tuple[str, bytes]:
    """Its name and content."""
    listing = contents.at_root()
    name = find_appspec_name(listing)
    source = contents.documents.get(contents.root + name) if name else None
    if name is not None and source is not None:
        return name, source
    if name is not None:
        raise _invalid(location, f"{name} is no plain file but a {listing[name].value}")
    similar = similar_names(entry.name for entry in contents.entries)
    elsewhere = f"; found {', '.join(map(repr, similar))}, but it must be at the root" if similar else ""
    raise _invalid(location, f"there is no {DEFAULT_NAME} at its root{elsewhere}")


def _list(name: str, errors: Sequence[Finding], findings: Sequence[Finding]) -> str:
    count = "an error" if len(errors) == 1 else f"{len(errors)} errors"
    lines = "\n".join(finding.describe(name) for finding in findings)
    return f"{name} has {count}:\n{lines}"


def _invalid(location: BundleLocation, why: str, **details: str) -> Invalid:
    return Invalid(
        "InvalidRevisionException", f"cannot register bundle {location.sha256[:12]}: {why}", **details
    )
