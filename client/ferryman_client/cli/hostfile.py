"""The file that tells a machine who it is to be and where to enrol (AG-081); private, since a token stands in it."""

from __future__ import annotations

import json
import os
from pathlib import Path

FILE_NAME = "ferryman.onpremises.yml"
PLACE = f"/etc/ferryman-agent/conf/{FILE_NAME}"
"""Where an agent that runs as root looks for it."""


class HostFile:
    """Made empty and private before anything else is done, filled in the end, or else discarded."""

    def __init__(self, path: Path, *, overwrite: bool) -> None:
        """Raises OSError; FileExistsError where it is, unless `overwrite`."""
        if overwrite:
            path.unlink(missing_ok=True)
        self.path = path
        self.is_filled = False
        # Held open, so that nobody who may write to the folder can have another file filled.
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)

    def fill(self, *, name: str, coordinator: str, token: str) -> None:
        """Raises OSError."""
        # Quoted as JSON, which is YAML too.
        lines = {"host_name": name, "coordinator": coordinator, "join_token": token}
        text = "# Written by `ferryman instance register`. Private: its token lets one machine in.\n"
        text += "".join(f"{key}: {json.dumps(value)}\n" for key, value in lines.items())
        content = text.encode()
        while content:
            content = content[os.write(self._descriptor, content) :]
        self.is_filled = True

    def close(self) -> None:
        """Removes it when it was not filled."""
        os.close(self._descriptor)
        if not self.is_filled:
            self.path.unlink(missing_ok=True)
