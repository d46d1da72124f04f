"""What the configuration says about Install."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallSettings:
    """allow_set_id: accept set-user-id and set-group-id modes in `permissions` (V2-216).

    preserve_directory_modes: new directories take mode and owner of the archive's (AG-C12).
    install_root: put before every destination and permission object; "/" on a real instance.
    require_selinux: an SELinux context on a host without SELinux is a mistake, not a warning (AG-366).
    reject_unconfined: refuse SELinux types that confine nothing (V2-380).
    """

    allow_set_id: bool = False
    preserve_directory_modes: bool = True
    install_root: str = "/"
    require_selinux: bool = False
    reject_unconfined: bool = True
