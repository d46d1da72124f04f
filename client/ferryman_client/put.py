"""Sends a file to an address by HTTP PUT, as object stores take it; with the standard library, in a thread.

The address is a secret until it expires, so no message of an error repeats its query.
"""

from __future__ import annotations

import http.client
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ferryman.locations import bare_e_tag
from ferryman_client.errors import BundleProblem

_TIMEOUT_S = 60
_CODE = re.compile(rb"<Code>([A-Za-z]{1,64})</Code>")
_ANSWER_LIMIT = 64 * 1024


@dataclass(frozen=True, slots=True)
class Stored:
    """What the store says about the object; both empty where it says nothing."""

    e_tag: str
    version: str


def put_file(url: str, path: Path, headers: Mapping[str, str]) -> Stored:
    """Blocks until the store has the file. Raises BundleProblem."""
    parts = urlsplit(url)
    place = f"{parts.scheme}://{parts.netloc}{parts.path}"
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    connection = _connect(parts.scheme, parts.hostname or "", parts.port)
    try:
        with path.open("rb") as content:
            size = path.stat().st_size
            connection.request("PUT", target, content, {**headers, "Content-Length": str(size)})
            answer = connection.getresponse()
            body = answer.read(_ANSWER_LIMIT)
    except (OSError, http.client.HTTPException) as problem:
        raise BundleProblem(f"cannot upload {path} to {place}: {problem}") from problem
    finally:
        connection.close()
    if answer.status // 100 != 2:
        code = _CODE.search(body)
        why = code[1].decode() if code else answer.reason
        raise BundleProblem(f"cannot upload {path}: {place} answers {answer.status} {why}")
    return Stored(
        e_tag=bare_e_tag(answer.headers.get("ETag", "")), version=answer.headers.get("x-amz-version-id", "")
    )


def _connect(scheme: str, host: str, port: int | None) -> http.client.HTTPConnection:
    if scheme == "https":
        # Certificates of a private store: SSL_CERT_FILE names them.
        return http.client.HTTPSConnection(
            host, port, timeout=_TIMEOUT_S, context=ssl.create_default_context()
        )
    return http.client.HTTPConnection(host, port, timeout=_TIMEOUT_S)
