"""How people write objects and commits."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferryman.locations import (
    LocationError,
    S3Name,
    bare_e_tag,
    bundle_type_of,
    is_s3,
    parse_commit,
    parse_s3,
    s3_text,
)


@pytest.mark.req("AG-529", "CP-208", "PF-300")
@pytest.mark.parametrize(
    "text, name",
    [
        ("s3://b/k.zip", S3Name("b", "k.zip")),
        ("s3://b/a/k.zip?versionId=v1", S3Name("b", "a/k.zip", "v1")),
        ("s3://b/k.zip?etag=abc", S3Name("b", "k.zip", "", "abc")),
        ('s3://b/k.zip?eTag="abc"', S3Name("b", "k.zip", "", "abc")),
        ("s3://b/k.zip?versionId=v1&etag=abc", S3Name("b", "k.zip", "v1", "abc")),
        ("s3://b/k.zip?etag=abc&versionId=v1", S3Name("b", "k.zip", "v1", "abc")),
        ("s3://b/k?x.zip", S3Name("b", "k?x.zip")),
        ("s3://b/k?x.zip?versionId=v1", S3Name("b", "k?x.zip", "v1")),
        ("s3://b/a%20b.zip", S3Name("b", "a%20b.zip")),
        ("b.s3.amazonaws.com/a/k.zip", S3Name("b", "a/k.zip")),
        ("https://b.s3.amazonaws.com/a%20b.zip?versionId=v%2F1", S3Name("b", "a b.zip", "v/1")),
        ("https://b.c.s3.eu-west-1.amazonaws.com/k.zip", S3Name("b.c", "k.zip")),
        ("https://b.s3-eu-west-1.amazonaws.com/k.zip", S3Name("b", "k.zip")),
        ("https://s3.eu-west-1.amazonaws.com/b/a/k.zip", S3Name("b", "a/k.zip")),
    ],
)
def test_every_form_of_the_console_is_read(text: str, name: S3Name) -> None:
    assert parse_s3(text) == name


@pytest.mark.req("AG-529")
@pytest.mark.parametrize(
    "text, complaint",
    [
        ("s3://b", "names no key"),
        ("s3://b/", "names no key"),
        ("s3:///k", "names no bucket"),
        ("b/k.zip", "names no object"),
        ("http://b.s3.amazonaws.com/k", "names no object"),
        ("https://b.s3.amazonaws.com.example.org/k", "names no object"),
        ("https://[b/k", "cannot be read"),
        ("s3://b/k?versionId=1&versionId=2", "versionId twice"),
    ],
)
def test_what_is_no_object_is_told_how_it_is_written(text: str, complaint: str) -> None:
    with pytest.raises(LocationError, match=complaint):
        parse_s3(text)


@given(
    st.from_regex(r"[a-z0-9][a-z0-9.-]{1,20}", fullmatch=True),
    st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1).filter(lambda key: "?" not in key),
    st.from_regex(r"[A-Za-z0-9._-]{0,10}", fullmatch=True),
    st.from_regex(r"[a-f0-9-]{0,10}", fullmatch=True),
)
def test_what_is_written_is_read_as_it_was(bucket: str, key: str, version: str, e_tag: str) -> None:
    text = s3_text(bucket, key, version, e_tag)
    assert is_s3(text)
    assert parse_s3(text) == S3Name(bucket, key, version, e_tag)


@given(st.text())
def test_no_text_breaks_the_readers(text: str) -> None:
    for read in (parse_s3, parse_commit):
        with contextlib.suppress(LocationError):
            read(text)


def test_commits_are_read() -> None:
    found = parse_commit("acme/web@abc")
    assert (found.repository, found.commit_id) == ("acme/web", "abc")
    for text in ("acme/web", "@abc", "acme/web@", "a@b@c", "acme/web @abc"):
        with pytest.raises(LocationError, match="owner/name@commit"):
            parse_commit(text)


@pytest.mark.req("AG-529", "AG-512")
@pytest.mark.parametrize(
    "name, kind",
    [("a.zip", "zip"), ("a.tar", "tar"), ("a.tgz", "tgz"), ("A.TAR.GZ", "tgz"), ("a", ""), ("zip", "")],
)
def test_the_kind_is_by_the_ending(name: str, kind: str) -> None:
    assert bundle_type_of(name) == kind


@pytest.mark.req("CP-201")
def test_etags_lose_their_quotes() -> None:
    assert bare_e_tag('"abc-2"') == bare_e_tag("abc-2") == bare_e_tag(' "abc-2" ') == "abc-2"
