"""How much of everything a bundle may take, and what it may hold."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1024 * 1024
GIB = 1024 * MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleLimits:
    """Limits of download and unpacking (AG-258, V2-110 … V2-112). Sizes are bytes, durations seconds.

    max_bundle_bytes: of the archive as it is fetched.
    max_unpacked_bytes, max_file_bytes: of what is really written, whatever the headers say.
    max_ratio: unpacked to packed; judged once more than `ratio_floor_bytes` are written.
    max_entries, max_path_bytes, max_depth: of the names in the archive.
    disk_reserve_bytes: free space that neither a download nor an archive may use up.
    budget_seconds: for a download with all its retries.
    connect_seconds, stall_seconds: until a connection stands; without a byte before the attempt counts as failed.
    retry_pauses: before each retry; as many retries as pauses, counted anew after every MiB of progress.
    require_digest: refuse revisions that come without a SHA-256 (V2-065).
    reject_links: refuse all symbolic links, not only those that leave the archive (V2-106).
    reject_hard_links: refuse hard links; otherwise they become copies (V2-107).
    reject_set_id: refuse files with set-user-id or set-group-id; otherwise the bits are dropped (V2-108).
    reuse_archives: take a bundle that an earlier deployment of the group left behind (V2-089).
    max_revisions_bytes: of all revisions of a group together; None for no limit (V2-071).
    """

    max_bundle_bytes: int = 64 * GIB
    max_unpacked_bytes: int = 64 * GIB
    max_file_bytes: int = 64 * GIB
    max_ratio: int = 200
    ratio_floor_bytes: int = GIB
    max_entries: int = 300_000
    max_path_bytes: int = 2048
    max_depth: int = 64
    disk_reserve_bytes: int = 16 * MIB
    budget_seconds: float = 3600
    connect_seconds: float = 30
    stall_seconds: float = 60
    retry_pauses: tuple[float, ...] = (1, 2, 5, 10, 30, 60)
    require_digest: bool = False
    reject_links: bool = False
    reject_hard_links: bool = True
    reject_set_id: bool = True
    reuse_archives: bool = True
    max_revisions_bytes: int | None = None
