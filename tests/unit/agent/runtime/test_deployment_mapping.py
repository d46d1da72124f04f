"""What a deployment's description on the wire becomes: V2 section 9."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from ferryman.v1 import agents_pb2 as pb
from ferryman.v1 import types_pb2 as types
from ferryman_agent.core.lifecycle import refusal
from ferryman_agent.core.messages import BundleType, FileExistsBehavior, GitHubCommit, S3Object
from ferryman_agent.runtime import mapping

BASE = "https://coordinator:7421"


def described(**fields: Any) -> pb.DeploymentDescription:
    values: dict[str, Any] = {
        "deployment_id": "d-ABC123",
        "deployment_group_id": "g-1",
        "deployment_group_name": "web",
        "application_name": "shop",
        "revision": types.RevisionLocation(bundle=types.BundleLocation(sha256="0" * 64)),
    }
    return pb.DeploymentDescription(**(values | fields))


@pytest.mark.req("V2-134", "AG-F01")
@pytest.mark.parametrize(
    "told", ["d-ABC123", "arn:aws:codedeploy:eu-west-1:1234:deployment/d-ABC123", "arn:x:y:::d-ABC123"]
)
def test_an_arn_is_reduced_to_its_last_part(told: str) -> None:
    assert mapping.deployment(described(deployment_id=told), BASE).deployment_id == "d-ABC123"


@pytest.mark.req("V2-137", "AG-F05", "AG-F06", "AG-F07", "AG-F08")
def test_what_is_not_said_has_the_originals_defaults() -> None:
    found = mapping.deployment(described(), BASE)
    assert (found.deployment_creator, found.deployment_type) == ("user", "IN_PLACE")
    assert found.app_spec_file_name == "appspec.yml"
    assert found.file_exists_behavior is FileExistsBehavior.DISALLOW
    assert not found.adopt


@pytest.mark.req("AG-326")
def test_files_of_other_groups_are_taken_over_only_when_it_is_said() -> None:
    assert mapping.deployment(described(adopt=True), BASE).adopt


@pytest.mark.req("V2-139", "V2-140", "AG-218", "AG-F11", "AG-F10")
@pytest.mark.parametrize("kind", [BundleType.ZIP, BundleType.TAR, BundleType.TGZ])
def test_an_object_of_s3(kind: BundleType) -> None:
    value = types.BundleType.Value(f"BUNDLE_TYPE_{kind.name}")
    s3 = types.S3Location(
        bucket="b", key="k/x", version="v", e_tag='"AbC-2"', bundle_type=value, sha256="1" * 64
    )
    found = mapping.deployment(
        described(revision=types.RevisionLocation(s3=s3), download_url="https://s3/b/k?sig=1"), BASE
    ).revision
    assert found.s3 == S3Object(bucket="b", key="k/x", version="v", etag="AbC-2")
    assert (found.url, found.bundle_type, found.sha256) == ("https://s3/b/k?sig=1", kind, "1" * 64)
    assert found.github is None


@pytest.mark.req("V2-139", "AG-229", "AG-F12")
@pytest.mark.parametrize(
    "told, kind", [("ZIP", BundleType.ZIP), ("TAR", BundleType.TAR), ("UNSPECIFIED", BundleType.TAR)]
)
def test_a_commit_of_github_is_a_tar_unless_zip_is_said(told: str, kind: BundleType) -> None:
    value = types.BundleType.Value(f"BUNDLE_TYPE_{told}")
    github = types.GitHubLocation(repository="a/b", commit_id="c" * 40, bundle_type=value, token_name="ci")
    found = mapping.deployment(
        described(revision=types.RevisionLocation(github=github), download_url="https://api/x"), BASE
    ).revision
    assert found.github == GitHubCommit(repository="a/b", commit_id="c" * 40, token_name="ci")
    assert (found.bundle_type, found.s3) == (kind, None)


@pytest.mark.req("V2-139", "AG-F14")
def test_the_own_store_and_any_address() -> None:
    own = types.BundleLocation(sha256="0" * 64, size_bytes=7, bundle_type=types.BUNDLE_TYPE_TGZ)
    found = mapping.deployment(
        described(revision=types.RevisionLocation(bundle=own), download_url="/bundles/0?signature=s"), BASE
    ).revision
    assert (found.url, found.size_bytes) == (f"{BASE}/bundles/0?signature=s", 7)
    other = types.UrlLocation(url="file:///srv/x.tgz", bundle_type=types.BUNDLE_TYPE_TGZ)
    found = mapping.deployment(described(revision=types.RevisionLocation(url=other)), BASE).revision
    assert (found.url, found.bundle_type, found.sha256) == ("file:///srv/x.tgz", BundleType.TGZ, None)


@pytest.mark.req("V2-130", "V2-133")
def test_an_empty_order_is_refused_and_says_what_is_missing() -> None:
    found = mapping.segment(pb.RunSegment(), BASE)
    reason = refusal(found, "i-1")
    assert reason


@pytest.mark.req("V2-139", "AG-F10", "AG-F11", "AG-F12")
@pytest.mark.parametrize(
    "location, missing",
    [
        (types.RevisionLocation(s3=types.S3Location(key="k")), "bucket"),
        (types.RevisionLocation(s3=types.S3Location(bucket="b")), "key"),
        (types.RevisionLocation(github=types.GitHubLocation(repository="a/b")), "commit id"),
        (types.RevisionLocation(github=types.GitHubLocation(commit_id="c")), "repository"),
        (types.RevisionLocation(url=types.UrlLocation()), "download address"),
        (types.RevisionLocation(), "download address"),
    ],
)
def test_each_kind_of_revision_has_fields_that_it_needs(
    location: types.RevisionLocation, missing: str
) -> None:
    is_address = missing == "download address"
    message = pb.RunSegment(
        command_id="d-ABC123/i-1/1/0",
        deployment=described(revision=location, download_url="" if is_address else "https://x/y"),
        lifecycle_events=["DownloadBundle"],
    )
    assert refusal(mapping.segment(message, BASE), "i-1") == f"command {message.command_id} has no {missing}"


@pytest.mark.req("V2-143", "V2-131")
@given(st.binary(max_size=300))
def test_any_bytes_are_an_order_or_an_error_and_never_a_crash(payload: bytes) -> None:
    message = pb.ConnectResponse()
    try:
        message.ParseFromString(payload)
    except DecodeError:
        return
    found = mapping.segment(message.run_segment, BASE)
    assert refusal(found, "i-1") or found.lifecycle_events


@pytest.mark.req("V2-143")
@given(st.data())
def test_a_damaged_order_is_an_order_or_an_error_and_never_a_crash(data: st.DataObject) -> None:
    whole = pb.RunSegment(
        command_id="d-ABC123/i-1/1/0", deployment=described(), lifecycle_events=["DownloadBundle"]
    ).SerializeToString()
    place = data.draw(st.integers(0, len(whole) - 1))
    broken = whole[:place] + data.draw(st.binary(max_size=4)) + whole[place + 1 :]
    message = pb.RunSegment()
    try:
        message.ParseFromString(broken)
    except DecodeError:
        return
    found = mapping.segment(message, BASE)
    assert isinstance(refusal(found, "i-1"), str | None)
