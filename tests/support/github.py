"""GitHub's API and its archive host as two real HTTP servers, which remember what they were asked."""

from __future__ import annotations

import io
import tarfile
import threading
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

TOKEN = "ghp_0123456789abcdefghijklmnopqrstuvwxyz"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass(frozen=True, slots=True)
class Asked:
    """One request."""

    host: str
    path: str
    authorization: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What it says instead of the archive."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b"{}"


@dataclass
class FakeGitHub:
    """`repositories` by `owner/name`: the files of the one commit. Those in `private` need the token."""

    repositories: dict[str, Mapping[str, str]] = field(default_factory=dict)
    private: set[str] = field(default_factory=set)
    token: str = TOKEN
    # Taken one after another before anything else is looked at.
    answers: list[Answer] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    api_url: str = ""
    archive_url: str = ""

    def of_host(self, host: str) -> list[Asked]:
        return [one for one in self.asked if one.host == host]

    def api(self, path: str, authorization: str) -> Answer:
        if self.answers:
            return self.answers.pop(0)
        parts = path.strip("/").split("/")
        if len(parts) != 5 or parts[0] != "repos" or parts[3] not in ("tarball", "zipball"):
            return Answer(404, body=b'{"message": "Not Found"}')
        repository = "/".join(parts[1:3])
        if authorization and authorization != f"token {self.token}":
            return Answer(401, body=b'{"message": "Bad credentials"}')
        is_hidden = repository in self.private and not authorization
        if is_hidden or repository not in self.repositories or parts[4] != COMMIT:
            return Answer(404, body=b'{"message": "Not Found"}')
        # Without the token, but good for this archive: as codeload does it.
        place = f"{self.archive_url}/{repository}/{parts[3]}?token=ONCE"
        return Answer(302, {"Location": place}, b"")

    def archive(self, path: str) -> Answer:
        repository, _, kind = path.partition("?")[0].strip("/").rpartition("/")
        files = self.repositories.get(repository)
        if files is None:
            return Answer(404)
        top = f"{repository.replace('/', '-')}-{COMMIT[:7]}"
        return Answer(200, {}, _zip(top, files) if kind == "zipball" else _tar(top, files))


@pytest.fixture
def github() -> Iterator[FakeGitHub]:
    fake = FakeGitHub()
    servers = [_serve(fake, "api"), _serve(fake, "archive")]
    fake.api_url, fake.archive_url = (f"http://127.0.0.1:{server.server_port}" for server in servers)
    yield fake
    for server in servers:
        server.shutdown()
        server.server_close()


def _serve(fake: FakeGitHub, host: str) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            authorization = self.headers.get("Authorization", "")
            fake.asked.append(Asked(host, self.path, authorization))
            answer = fake.api(self.path, authorization) if host == "api" else fake.archive(self.path)
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, format: str, *args: object) -> None:
            """Quiet: what was asked is remembered."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def _tar(top: str, files: Mapping[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"{top}/{name}")
            member.size, member.mode = len(content.encode()), 0o755
            archive.addfile(member, io.BytesIO(content.encode()))
    return buffer.getvalue()


def _zip(top: str, files: Mapping[str, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            member = zipfile.ZipInfo(f"{top}/{name}")
            member.external_attr = 0o100755 << 16
            archive.writestr(member, content)
    return buffer.getvalue()
