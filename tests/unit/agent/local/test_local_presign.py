"""The signature of an address in S3, against Amazon's own example."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from ferryman_agent.core.messages import S3Object
from ferryman_agent.local.presign import Credentials, presigned

# From "Authenticating Requests: Using Query Parameters (AWS Signature Version 4)" of the Amazon S3 API reference.
EXAMPLE = Credentials(
    access_key="AKIAIOSFODNN7EXAMPLE", secret_key="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
)
NOW = datetime(2013, 5, 24, tzinfo=UTC)


@pytest.mark.req("AG-497")
def test_amazons_example() -> None:
    found = presigned(
        S3Object(bucket="examplebucket", key="test.txt"), EXAMPLE, now=NOW, valid_seconds=86_400
    )
    assert found == (
        "https://examplebucket.s3.amazonaws.com/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256"
        "&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
        "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
        "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    )


@pytest.mark.parametrize(
    "bucket, region, endpoint, start",
    [
        ("b-1", "eu-west-1", "", "https://b-1.s3.eu-west-1.amazonaws.com/a/b%20c%2B.zip?"),
        ("b.1", "eu-west-1", "", "https://s3.eu-west-1.amazonaws.com/b.1/a/b%20c%2B.zip?"),
        ("b-1", "cn-north-1", "", "https://b-1.s3.cn-north-1.amazonaws.com.cn/a/b%20c%2B.zip?"),
        ("b-1", "us-east-1", "http://127.0.0.1:9000/", "http://127.0.0.1:9000/b-1/a/b%20c%2B.zip?"),
    ],
)
def test_addresses(bucket: str, region: str, endpoint: str, start: str) -> None:
    thing = S3Object(bucket=bucket, key="a/b c+.zip", version="v 1")
    found = presigned(thing, EXAMPLE, now=NOW, region=region, endpoint=endpoint)
    assert found.startswith(start)
    assert "&versionId=v%201&" in found


def test_secrets_are_not_shown() -> None:
    assert "wJalr" not in repr(EXAMPLE)
