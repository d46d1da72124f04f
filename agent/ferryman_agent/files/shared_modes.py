"""Write permission that an archive gives to group and others: kept from the archive, and given to what is installed.

Root runs scripts out of the archive, which every local user can reach, so nobody else may be able to write there. An
application that wants such modes gets them where it is installed (V2-124, AG-308).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from ferryman_agent.files.atomic import write_atomic
from ferryman_agent.files.digests import from_text, to_text
from ferryman_agent.files.logged import warn

OTHERS_WRITE = 0o022

_decoder = msgspec.json.Decoder(dict[str, int])


def save_shared_modes(path: Path, withheld: Mapping[str, int]) -> None:
    """Writes down the bits that files and folders of an archive lack, by path. Raises OSError."""
    if withheld:
        write_atomic(path, msgspec.json.encode({to_text(name): bits for name, bits in withheld.items()}))
    else:
        path.unlink(missing_ok=True)


def load_shared_modes(path: Path) -> dict[str, int]:
    """Returns what `save_shared_modes` wrote; nothing where there is none or it cannot be used (V2-288)."""
    try:
        found = _decoder.decode(path.read_bytes())
        return {from_text(name): bits & OTHERS_WRITE for name, bits in found.items()}
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.MsgspecError, UnicodeError, ValueError) as problem:
        warn("shared_modes.unusable", path=str(path), reason=str(problem))
        return {}
