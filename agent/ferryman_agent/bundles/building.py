"""What is asked of `archive.build_archive`, and what it answers: values that a child process can be sent."""

from __future__ import annotations

from dataclasses import dataclass

from ferryman_agent.bundles.limits import BundleLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """`bundle` is a file or a directory, `directory` that of the deployment; both are paths.

    declared: the bundle's type as registered. is_github: warn of what GitHub leaves out of its archives (AG-240).
    """

    bundle: str
    declared: str
    directory: str
    wanted_appspec: str
    limits: BundleLimits
    possible_events: tuple[str, ...] = ()
    is_github: bool = False


@dataclass(frozen=True, slots=True)
class Built:
    """The archive that now lies in its place."""

    files: int
    written_bytes: int
    warnings: tuple[str, ...]
