"""Whether a previous revision's scripts are still those that were deployed (AG-209).

Reads files: call it in a thread.
"""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Iterable

from ferryman_agent.files.digests import Digests, Row, mark_of, sha256_of
from ferryman_agent.files.layout import DeploymentDir
from ferryman_agent.system import fs, own


def changed(directory: DeploymentDir, names: Iterable[str]) -> list[str]:
    """Returns which of the files, named as in the AppSpec file, are not what was unpacked; missing ones are not named.

    Nothing can be said of a deployment whose digests were not recorded, as the original did not.
    """
    rows = Digests.load(directory.archive_digests).rows
    if not rows:
        return []
    inside = sorted({posixpath.normpath(own.slashes(name).lstrip("/")) for name in names})
    return [name for name in inside if _is_changed(f"{directory.archive}/{name}", rows.get(name))]


def _is_changed(path: str, row: Row | None) -> bool:
    try:
        descriptor = fs.open(path, fs.O_RDONLY | fs.O_NOFOLLOW | fs.O_NONBLOCK | fs.O_CLOEXEC)
    except FileNotFoundError:
        return False  # the hooks themselves say that (AG-208)
    except OSError:
        return True
    try:
        status = fs.fstat(descriptor)
        if row is None or not stat.S_ISREG(status.st_mode) or status.st_size != row.size:
            return True
        # A changed mode, such as an execute bit that was missing, leaves the contents as they were.
        return mark_of(status) != row.mark and sha256_of(descriptor) != row.sha256
    except OSError:
        return True
    finally:
        os.close(descriptor)
