"""What of a message is written down: all but what is secret, and not endlessly much."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor

import ferryman.v1
from ferryman.v1 import bundles_pb2, identity_pb2, inventory_pb2, tokens_pb2, types_pb2
from ferryman_coordinator.api.audit_entries import MASKED, plain

SUSPICIOUS = re.compile(
    r"token|secret|passw|credential|private|signature|key\b|_key|appspec|raw_string", re.I
)
# Names, ids, digests and places; nobody gets in with one of these.
HARMLESS = {
    "access_key_id",
    "access_keys",
    "access_token",
    "access_tokens",
    "credential_id",
    "credential_kind",
    "git_hub_token",
    "git_hub_tokens",
    "join_token_id",
    "join_tokens",
    "next_page_token",
    "request_key",
    "s3_key_prefix",
    "tag_keys",
    "token_id",
    "token_name",
}
# Of these messages, by their full name.
ALSO_HARMLESS = {
    "ferryman.v1.Page.token": "says where a page begins",
    "ferryman.v1.Tag.key": "of a tag",
    "ferryman.v1.TagFilter.key": "of a tag",
    "ferryman.v1.S3Location.key": "names an object",
    "ferryman.v1.LifecycleAction.token": "an autoscaler's name of an action",
    "ferryman.v1.NotifyTransitionRequest.token": "an autoscaler's name of an action",
    "ferryman.v1.GetLifecycleActionRequest.token": "an autoscaler's name of an action",
    "ferryman.v1.WatchLifecycleActionRequest.token": "an autoscaler's name of an action",
    "ferryman.v1.PrepareS3UploadRequest.key": "names an object",
    "ferryman.v1.CreateJoinTokenResponse.join_token": "what is known of it",
}


def messages() -> Iterator[Descriptor]:
    for module in pkgutil.iter_modules(ferryman.v1.__path__):
        if module.name.endswith("_pb2"):
            file = importlib.import_module(f"ferryman.v1.{module.name}").DESCRIPTOR
            for message in file.message_types_by_name.values():
                yield from _nested(message)


def _nested(message: Descriptor) -> Iterator[Descriptor]:
    yield message
    for inner in message.nested_types:
        yield from _nested(inner)


def _is_secret(field: FieldDescriptor) -> bool:
    return bool(field.GetOptions().debug_redact)


@pytest.mark.req("CP-447", "PF-266")
def test_whatever_is_named_like_a_secret_is_marked_as_one() -> None:
    """A field that comes later is marked `debug_redact` in its .proto, or added to the lists above with a reason."""
    found = []
    for message in messages():
        if message.GetOptions().map_entry:
            continue
        for field in message.fields:
            is_known = field.name in HARMLESS or field.full_name in ALSO_HARMLESS or _is_secret(field)
            if SUSPICIOUS.search(field.name) and not is_known:
                found.append(field.full_name)
    assert found == []


@pytest.mark.req("CP-447")
def test_marked_fields_are_masked_wherever_they_are() -> None:
    request = tokens_pb2.PutGitHubTokenRequest(name="main", token="github_pat_secret")
    assert plain(request) == {"name": "main", "token": MASKED}
    upload = bundles_pb2.PrepareS3UploadResponse(
        url="https://b/k?s", headers={"authorization": "x"}, expires_at=5
    )
    assert plain(upload) == {"url": MASKED, "headers": MASKED, "expiresAt": 5}
    key = identity_pb2.CreateAccessKeyResponse(access_key_id="FKIA", secret_access_key="s")
    assert plain(key) == {"accessKeyId": "FKIA", "secretAccessKey": MASKED}


@pytest.mark.req("CP-447")
@pytest.mark.parametrize(
    "text, kept",
    [
        ("plain words", "plain words"),
        ("https://example.org/a.tgz", "https://example.org/a.tgz"),
        ("https://example.org/a.tgz?X-Amz-Signature=abc&x=1", "https://example.org/a.tgz?***"),
        ("https://user:hunter2@example.org/a", "https://user:[redacted]@example.org/a"),
        ("see ferryman-access-1-abcDEF for it", "see [redacted] for it"),
        ("see ferryman-session-1-abcDEF for it", "see [redacted] for it"),
        ("ghp_0123456789abcdef0123", "[redacted]"),
        ("Bearer abc.def", "Bearer [redacted]"),
    ],
)
def test_secrets_in_free_text_are_taken_out(text: str, kept: str) -> None:
    request = inventory_pb2.RegisterRevisionRequest(description=text)
    assert plain(request) == {"description": kept}


def test_a_record_does_not_grow_with_its_request() -> None:
    tags = [types_pb2.Tag(key=f"key-{number}", value="v" * 5_000) for number in range(10_000)]
    shown = plain(inventory_pb2.TagInstanceRequest(instance="web-1", add=tags))["add"]
    assert len(shown) == 101
    assert shown[-1] == "… and 9900 more"
    assert len(shown[0]["value"]) == 1_025


def test_words_and_numbers_keep_their_kind() -> None:
    request = inventory_pb2.CreateApplicationRequest(
        name="web", compute_platform=types_pb2.COMPUTE_PLATFORM_SERVER
    )
    assert plain(request) == {"name": "web", "computePlatform": "COMPUTE_PLATFORM_SERVER"}
    location = types_pb2.BundleLocation(sha256="ab", size_bytes=2**40)
    assert plain(types_pb2.RevisionLocation(bundle=location)) == {
        "bundle": {"sha256": "ab", "sizeBytes": 2**40}
    }
    unknown = inventory_pb2.CreateApplicationRequest()
    unknown.ParseFromString(b"\x10\x63")
    assert plain(unknown) == {"computePlatform": 99}
