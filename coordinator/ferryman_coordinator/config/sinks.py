"""Where notices go: what a sink in the settings can say, and what cannot be right about it (CP-374)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from ferryman_coordinator.config.values import Duration


class SinkKind(StrEnum):
    WEBHOOK = "webhook"
    SLACK = "slack"
    SNS = "sns"


class PayloadForm(StrEnum):
    DOCUMENTED = "documented"
    OBSERVED = "observed"


class Sink(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One place that notices can go to. Triggers and rules name it by its name, or by the ARN that it stands for."""

    kind: Annotated[
        SinkKind,
        Meta(
            description="webhook: the message as JSON, signed. slack: one line of text, for Slack and what speaks like"
            " it. sns: a topic of SNS, or of a service that speaks like it."
        ),
    ]
    arn: Annotated[
        str,
        Meta(
            description="The target ARN that it stands for, such as arn:aws:sns:eu-central-1:123456789012:deploys;"
            " `*` stands for any characters."
        ),
    ] = ""
    url: Annotated[
        str,
        Meta(description="Where to post to. For sns the endpoint; empty there: Amazon's."),
    ] = ""
    url_file: Annotated[
        str, Meta(description="A file that holds the address instead, for one that is a secret itself.")
    ] = ""
    secret_file: Annotated[
        str,
        Meta(
            description="A file with the secret that webhook messages are signed with. Several lines are several"
            " secrets, each of which signs, so that one can be replaced."
        ),
    ] = ""
    ca_file: Annotated[
        str, Meta(description="Certificates (PEM) that the other end's is checked with; empty: the system's.")
    ] = ""
    proxy: Annotated[
        str, Meta(description="The HTTP proxy to go through, such as http://proxy.example.org:3128.")
    ] = ""
    timeout: Annotated[Duration, Meta(description="What one attempt may take in all; from 100ms to 60s.")] = (
        Duration(10_000)
    )
    payload: Annotated[
        PayloadForm,
        Meta(
            description="documented: as the user guide describes messages of triggers. observed: as the original sends"
            " them, with statuses in upper case and nested objects as JSON text."
        ),
    ] = PayloadForm.DOCUMENTED
    allow_http: Annotated[
        bool, Meta(description="Whether `url` may be plain http on a host that is not this one.")
    ] = False
    allow_link_local: Annotated[
        bool,
        Meta(
            description="Whether the host may have a link-local address, where clouds keep what a machine must not"
            " tell."
        ),
    ] = False
    region: Annotated[str, Meta(description="Of the topic, for sns; empty: that in the target's ARN.")] = ""
    credentials_file: Annotated[
        str,
        Meta(
            description="For sns: a file with aws_access_key_id and aws_secret_access_key under [default]. Empty: the"
            " environment, ~/.aws, or the machine's own role."
        ),
    ] = ""
    topic_arn: Annotated[
        str, Meta(description="For sns: the topic to publish to; empty: the target's ARN itself.")
    ] = ""


_LEAST_TIMEOUT = 100
_MOST_TIMEOUT = 60_000


def mistakes(sinks: Mapping[str, Sink]) -> Iterator[tuple[str, str]]:
    """What is wrong about them, with the setting's name below `sinks`."""
    arns: dict[str, str] = {}
    for name, sink in sinks.items():
        if not name or name.startswith("arn:"):
            yield name, "a sink's name must not be empty, nor look like an ARN: put that into `arn`"
        if sink.arn and arns.setdefault(sink.arn, name) != name:
            yield f"{name}.arn", f"{sink.arn} is that of sink {arns[sink.arn]} already"
        if not _LEAST_TIMEOUT <= sink.timeout <= _MOST_TIMEOUT:
            yield f"{name}.timeout", f"{sink.timeout} is not between 100ms and 60s"
        if sink.url and sink.url_file:
            yield f"{name}.url_file", "give the address once: url or url_file"
        elif sink.url and (wrong := wrong_address(sink.url, allow_http=sink.allow_http)):
            yield f"{name}.url", wrong
        elif sink.kind is not SinkKind.SNS and not sink.url and not sink.url_file:
            yield f"{name}.url", "is missing: where shall the messages go?"
        if sink.secret_file and sink.kind is not SinkKind.WEBHOOK:
            yield f"{name}.secret_file", f"a sink of kind {sink.kind} is not signed: leave it out"
        if sink.proxy and not urlsplit(sink.proxy).hostname:
            yield f"{name}.proxy", f"{sink.proxy!r} is no address: write http://HOST:PORT"


def wrong_address(url: str, *, allow_http: bool) -> str:
    """Why messages cannot be sent there, as far as the text shows it; empty when they can."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as problem:
        return f"cannot be read as an address: {problem}"
    if parts.scheme not in ("http", "https") or not host:
        return "is no address: write https://HOST/PATH"
    if any(character.isspace() or not character.isprintable() for character in url):
        return "holds blanks or control characters"
    if parts.username is not None or parts.password is not None:
        return (
            "holds a user or password, which would show up in logs: use url_file with a secret path instead"
        )
    if parts.scheme == "http" and not allow_http and not is_loopback(host):
        return "would carry messages in clear text: use https, or set allow_http"
    return ""


def is_loopback(host: str) -> bool:
    """Whether only this machine answers there."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
