"""S3 as a process of its own (moto), and buckets in it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.components import require_component

ACCESS_KEY = "AKIAFERRYMANTEST0001"
SECRET_KEY = "never+to+be+seen+by/an/agent/0123456789x"
REGION = "eu-central-1"

_RUNNING = re.compile(r"Running on (http://127\.0\.0\.1:\d+)")


@dataclass(frozen=True, slots=True)
class S3Server:
    """Where it listens."""

    url: str

    def client(self) -> Any:
        """Of botocore: what an operator's tools would use."""
        from botocore.config import Config
        from botocore.session import Session

        return Session().create_client(
            "s3",
            region_name=REGION,
            endpoint_url=self.url,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            config=Config(s3={"addressing_style": "path"}),
        )

    def settings(self, home: Path) -> dict[str, str]:
        """Settings of a coordinator that uses it, with the keys in a file under `home`."""
        home.mkdir(parents=True, exist_ok=True)
        file = home / "s3.keys"
        file.write_text(
            f"[default]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n"
        )
        file.chmod(0o600)
        return {"s3.endpoint_url": self.url, "s3.region": REGION, "s3.credentials_file": str(file)}

    def make_bucket(self, name: str, *, versioned: bool = False) -> None:
        client = self.client()
        client.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
        if versioned:
            client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})

    def put(self, bucket: str, key: str, content: bytes) -> tuple[str, str]:
        """Stores an object; returns its version (empty in a bucket without them) and its ETag without quotes."""
        answer = self.client().put_object(Bucket=bucket, Key=key, Body=content)
        return answer.get("VersionId", ""), answer["ETag"].strip('"')


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    require_component("moto")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    try:
        yield S3Server(_address(process))
    finally:
        process.terminate()
        process.wait(10)
        assert process.stderr is not None
        process.stderr.close()


def _address(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    seen = []
    for line in process.stderr:
        seen.append(line)
        if match := _RUNNING.search(line):
            # From here on it logs each request: somebody has to read that.
            _drain(process)
            return match[1]
    raise AssertionError(f"moto did not start:\n{''.join(seen)}")


def _drain(process: subprocess.Popen[str]) -> None:
    def read() -> None:
        assert process.stderr is not None
        for _ in process.stderr:
            pass

    threading.Thread(target=read, daemon=True).start()
