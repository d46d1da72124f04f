"""Sets of defaults: what the original does where we are safer, and what we do where safer still is possible."""

from __future__ import annotations

from collections.abc import Mapping

from ferryman_agent.config.schema import MissingPrevious, Profile

Key = tuple[str, ...]

PROFILES: Mapping[Profile, Mapping[Key, object]] = {
    Profile.DEFAULT: {},
    Profile.COMPAT: {
        ("private_directories",): False,
        ("hooks", "pass_agent_env"): True,
        ("hooks", "strip_loader_variables"): False,
        ("hooks", "powershell_profile"): True,
        ("bundles", "reject_hard_links"): False,
        ("bundles", "reject_set_id"): False,
        ("install", "missing_previous_revision"): MissingPrevious.FAIL,
        ("install", "preserve_directory_modes"): False,
        ("install", "allow_set_id"): True,
        ("install", "reject_unconfined"): False,
        ("log", "private"): False,
    },
    Profile.STRICT: {
        ("bundles", "require_digest"): True,
        ("bundles", "reject_links"): True,
    },
}
"""Values of settings that neither the file nor a flag gives. Nothing here widens what leaves the archive (V2-103,
V2-214): no profile can."""
