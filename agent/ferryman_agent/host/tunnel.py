"""A plain connection to the coordinator, through an HTTP proxy where there is one, for the first look at its CA."""

from __future__ import annotations

import base64
import socket
from urllib.parse import unquote, urlsplit

_ANSWER_BYTES = 16 * 1024


def open_way(host: str, port: int, proxy: str | None, seconds: float) -> socket.socket:
    """Returns a connected socket; each step takes at most `seconds`. `proxy` as in `ferryman.channel.open_channel`.

    Raises OSError; one without a number where it was the proxy that said no.
    """
    if not proxy:
        return socket.create_connection((host, port), timeout=seconds)
    parts = urlsplit(proxy)
    way = socket.create_connection((parts.hostname or "", parts.port or 80), timeout=seconds)
    try:
        place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        lines = [f"CONNECT {place} HTTP/1.1", f"Host: {place}"]
        if parts.username:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            lines.append(f"Proxy-Authorization: Basic {base64.b64encode(pair.encode()).decode()}")
        way.sendall("\r\n".join([*lines, "", ""]).encode())
        status = _status(way)
        if status[:1] != ["200"]:
            raise OSError(
                f"the proxy {parts.hostname}:{parts.port or 80} does not let it through: {' '.join(status)}"
            )
    except BaseException:
        way.close()
        raise
    return way


def _status(way: socket.socket) -> list[str]:
    """Status and reason of the proxy's answer, which ends with an empty line; not a byte more is taken."""
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        byte = way.recv(1)
        if not byte or len(answer) > _ANSWER_BYTES:
            return ["no", "answer"]
        answer += byte
    return answer.split(b"\r\n", 1)[0].decode("latin-1").split()[1:]
