"""Revisions that are not on the machine: objects in S3, and repositories at GitHub, private ones too."""

from __future__ import annotations

import io
import ssl
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.support.local_tool import LocalTool, application
from tests.support.s3 import ACCESS_KEY, REGION, SECRET_KEY, S3Server
from tests.support.small_ca import SmallCa

TOKEN = "ghp_very_secret"


@pytest.fixture
def tool(tmp_path: Path) -> LocalTool:
    return LocalTool(tmp_path / "home")


def _zipped(app: Path, top: str = "") -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as made:
        for path in sorted(app.rglob("*")):
            made.write(path, top + str(path.relative_to(app)))
    return data.getvalue()


def _words_of(home: Path) -> bytes:
    """Everything that a run has left behind."""
    return b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())


@pytest.mark.req("AG-497", "AG-O01", "V2-371", "PF-334", "AG-504", "AG-501", "AG-T05", "AG-T06", "AG-219")
def test_objects_in_s3(tool: LocalTool, tmp_path: Path, s3_server: S3Server) -> None:
    bucket = "local-deployments"
    s3_server.make_bucket(bucket, versioned=True)
    app = application(tmp_path / "app", {"AfterInstall": "env | grep BUNDLE_"}, text="one")
    version, etag = s3_server.put(bucket, "a/app.zip", _zipped(app))
    s3_server.put(bucket, "a/app.zip", _zipped(application(app, ["AfterInstall"], text="two")))
    keys = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AWS_REGION": REGION}
    store = {"AWS_ENDPOINT_URL_S3": s3_server.url}
    place = f"s3://{bucket}/a/app.zip"

    newest = tool.run("-l", place, cwd=tmp_path, **keys, **store)
    assert newest.code == 0, newest.err
    assert "content two" not in newest.out
    assert " two" in newest.out
    pinned = tool.run("-l", f'{place}?versionId={version}&etag="{etag}"', cwd=tmp_path, **keys, **store)
    assert pinned.code == 0, pinned.err
    for line in (f"BUNDLE_BUCKET={bucket}", "BUNDLE_KEY=a/app.zip", f"BUNDLE_VERSION={version}"):
        assert f"    [stdout]{line}" in pinned.out.splitlines()
    other = tool.run("-l", f"{place}?etag=0123456789", cwd=tmp_path, **keys, **store)
    assert other.code == 1
    assert "0123456789" in other.err
    assert "DownloadBundle failed (code 5)" in other.err
    assert SECRET_KEY.encode() not in _words_of(tool.home)

    none = tool.run("-l", place, cwd=tmp_path, **store)
    assert (none.code, none.out) == (1, "")
    assert "there are no credentials. Set AWS_ACCESS_KEY_ID" in none.err
    # Those of the machine's identity file serve as well.
    identity = tmp_path / "codedeploy.onpremises.yml"
    identity.write_text(
        "iam_user_arn: arn:aws:iam::123456789012:user/me\n"
        f"aws_access_key_id: {ACCESS_KEY}\naws_secret_access_key: {SECRET_KEY}\nregion: {REGION}\n"
    )
    identity.chmod(0o600)
    config = tmp_path / "agent.yml"
    config.write_text(f"on_premises_config_file: {identity}\n")
    by_file = tool.run("-l", place, "-c", str(config), cwd=tmp_path, **store)
    assert by_file.code == 0, by_file.err
    missing = tool.run("-l", f"s3://{bucket}/none.zip", cwd=tmp_path, **keys, **store)
    assert missing.code == 1
    assert "none.zip" in missing.err


class GitHub:
    """A proxy that leads every name to itself, and answers there as api.github.com with one private repository."""

    def __init__(self, folder: Path, archive: bytes) -> None:
        authority = SmallCa()
        signed = authority.server("api.github.com")
        self.ca_file = folder / "ca.pem"
        chain, key = folder / "chain.pem", folder / "key.pem"
        self.ca_file.write_bytes(authority.pem)
        chain.write_bytes(signed.chain)
        key.write_bytes(signed.key)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(chain, key)
        self.asked: list[tuple[str, str]] = []
        asked = self.asked

        class Handler(BaseHTTPRequestHandler):
            def do_CONNECT(self) -> None:
                asked.append(("CONNECT", self.path))
                self.send_response_only(200)
                self.end_headers()
                self.connection = context.wrap_socket(self.connection, server_side=True)
                self.rfile = self.connection.makefile("rb")
                self.wfile = self.connection.makefile("wb", 0)
                with self.connection:
                    self.handle_one_request()
                self.close_connection = True

            def do_GET(self) -> None:
                asked.append((self.headers.get("Authorization", ""), self.path))
                is_welcome = self.headers.get("Authorization") == f"token {TOKEN}"
                self.send_response(200 if is_welcome else 404)
                body = archive if is_welcome else b"{}"
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def github(tmp_path: Path) -> Iterator[GitHub]:
    app = application(tmp_path / "app", {"AfterInstall": "env | grep BUNDLE_"})
    made = GitHub(tmp_path, _zipped(app, "owner-repo-1a2b3c4/"))
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.mark.req("V2-373", "AG-495", "AG-496", "AG-238", "PF-334", "AG-236", "V2-371", "AG-095")
def test_a_private_repository_at_github(tool: LocalTool, tmp_path: Path, github: GitHub) -> None:
    config = tmp_path / "agent.yml"
    config.write_text(f"proxy:\n  downloads: http://127.0.0.1:{github.server.server_port}\n")
    trust = {"SSL_CERT_FILE": str(github.ca_file)}
    options = ("-c", str(config), "-l", "https://github.com/owner/repo.git/")
    done = tool.run(*options, cwd=tmp_path, FERRYMAN_GITHUB_TOKEN=TOKEN, **trust)
    assert done.code == 0, done.err
    assert github.asked == [
        ("CONNECT", "api.github.com:443"),
        (f"token {TOKEN}", "/repos/owner/repo/zipball/HEAD"),
    ]
    assert "    [stdout]BUNDLE_COMMIT=HEAD" in done.out.splitlines()
    assert (done.folder / "deployment-archive" / "appspec.yml").is_file()
    assert TOKEN not in done.out + done.err
    assert TOKEN.encode() not in _words_of(tool.home)
    github.asked.clear()
    refused = tool.run(*options, cwd=tmp_path, **trust)
    assert refused.code == 1
    assert github.asked == [("CONNECT", "api.github.com:443"), ("", "/repos/owner/repo/zipball/HEAD")]
    assert "owner/repo" in refused.err
