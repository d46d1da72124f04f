"""Becoming an instance of a coordinator: trust its CA, make a key, exchange a join token for a certificate.

The token carries the fingerprint of the CA. Its secret is sent only once the server has shown a chain to that CA.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio

from ferryman.channel import open_channel
from ferryman.faults import decode_fault
from ferryman.v1 import agents_pb2 as pb
from ferryman.v1 import agents_pb2_grpc, types_pb2
from ferryman_agent.core.messages import Instant
from ferryman_agent.errors import IdentityError
from ferryman_agent.host import certificates
from ferryman_agent.host.identity import AGENT_METADATA, Identity
from ferryman_agent.host.provider_identity import ProviderIdentity
from ferryman_agent.host.tunnel import open_way

CONNECT_SECONDS = 10.0
ENROL_SECONDS = 80.0

_TOKEN = re.compile(r"ferryman-join-1-([0-9a-f]{64})-[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrolOrder:
    """What the operator says. `ca_pem` or else `ca_fingerprint` win over the fingerprint in the token.

    `provider_instance_id` makes it a cloud instance; with what its provider says, the token may be left out.
    """

    host: str
    port: int
    token: str
    facts: pb.Facts
    ca_pem: bytes | None = None
    ca_fingerprint: str | None = None
    instance_name: str = ""
    zone: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    call_seconds: float = ENROL_SECONDS
    provider_instance_id: str = ""
    provider_identity: ProviderIdentity | None = None
    # As in `ferryman.channel.open_channel`.
    proxy: str | None = field(default=None, repr=False)

    @property
    def address(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> tuple[str, int]:
    """Returns host and port of `host:port`, IPv6 in brackets. Raises IdentityError."""
    host, colon, port = text.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    if not colon or not bare or not port.isdecimal() or not 0 < int(port) < 65536:
        raise IdentityError(
            f"{text!r} is not an address: give host:port, for example coordinator.example:7420"
        )
    if ":" in bare and not host.startswith("["):
        raise IdentityError(f"{text!r} is not an address: write IPv6 as [{bare}]:{port}")
    return bare, int(port)


def parse_fingerprint(text: str) -> str:
    """Returns the lower-case digits of `sha256:HEX`, with or without colons between. Raises IdentityError."""
    digits = text.strip().lower().removeprefix("sha256:").replace(":", "")
    if not re.fullmatch(r"[0-9a-f]{64}", digits):
        raise IdentityError(f"{text!r} is not a fingerprint: give sha256: and 64 hexadecimal digits")
    return digits


def fingerprint_in(token: str) -> str:
    """Returns the CA's fingerprint that a join token carries. Raises IdentityError, without the token in its text."""
    match = _TOKEN.fullmatch(token.strip())
    if match is None:
        raise IdentityError(
            "this is not a join token: it must look like ferryman-join-1-<fingerprint>-<secret>; "
            "make one with `ferryman token create --join`"
        )
    return match[1]


async def enrol(order: EnrolOrder, now: Instant) -> Identity:
    """Returns the new identity of this machine. Raises IdentityError, which says what to do."""
    carried = _carried(order)
    ca_pem = order.ca_pem
    if ca_pem is None:
        ca_pem = await asyncio.to_thread(pinned_ca, order, order.ca_fingerprint or carried)
    made = certificates.make(order.instance_name or socket.gethostname())
    request = pb.EnrolRequest(
        join_token=order.token.strip(),
        certificate_signing_request=made.request.encode("ascii"),
        instance_name=order.instance_name,
        tags=[types_pb2.Tag(key=key, value=value) for key, value in order.tags.items()],
        zone=order.zone,
        facts=order.facts,
        provider_instance_id=order.provider_instance_id,
        provider_identity=_said(order.provider_identity),
    )
    async with open_channel(order.address, ca_certificates=ca_pem, proxy=order.proxy) as channel:
        stub: agents_pb2_grpc.AgentServiceAsyncStub = agents_pb2_grpc.AgentServiceStub(channel)
        try:
            answer = await stub.Enrol(request, timeout=order.call_seconds, metadata=AGENT_METADATA)
        except grpc.aio.AioRpcError as error:
            raise IdentityError(_refused(order, error)) from error
    return Identity(
        instance_id=answer.instance_id,
        instance_name=answer.instance_name,
        host=order.host,
        agents_port=answer.agents_port,
        private_key=made.private_key,
        certificate_chain=answer.certificate_chain.decode("ascii"),
        ca_certificates=answer.ca_certificates.decode("ascii"),
        issued_at=now,
        expires_at=Instant(answer.certificate_expires_at),
    )


def _carried(order: EnrolOrder) -> str:
    if order.token or order.provider_identity is None:
        return fingerprint_in(order.token)
    if order.ca_pem is None and order.ca_fingerprint is None:
        raise IdentityError(
            "without a join token nothing tells the coordinator from another: give --ca-file or --ca-fingerprint"
        )
    return ""


def _said(identity: ProviderIdentity | None) -> pb.ProviderIdentity | None:
    if identity is None:
        return None
    return pb.ProviderIdentity(
        provider=identity.provider, document=identity.document, signature=identity.signature
    )


def pinned_ca(order: EnrolOrder, fingerprint: str) -> bytes:
    """Returns the certificate with this fingerprint from the chain that the server shows, PEM.

    Nothing is sent to the server and nothing it says is believed but what has this digest. Raises IdentityError.
    """
    chain = _shown_chain(order)
    for certificate in chain:
        if hashlib.sha256(certificate).hexdigest() == fingerprint:
            return ssl.DER_cert_to_PEM_cert(certificate).encode("ascii")
    shown = f"sha256:{hashlib.sha256(chain[-1]).hexdigest()}" if chain else "no certificate at all"
    raise IdentityError(
        f"the server at {order.address} is not the coordinator that was meant: it shows {shown}, expected is the CA "
        f"sha256:{fingerprint}. Compare with `ca_fingerprint` in the coordinator's ready line, or give --ca-file"
    )


def _shown_chain(order: EnrolOrder) -> list[bytes]:
    # Verification is by the digest above, after the handshake; the connection is closed without a word.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2"])
    try:
        with (
            open_way(order.host, order.port, order.proxy, CONNECT_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=order.host) as secured,
        ):
            return _unverified_chain(secured)
    except ssl.SSLError as error:
        raise IdentityError(
            f"the server at {order.address} does not speak TLS as expected: {error.reason}"
        ) from error
    except TimeoutError as error:
        raise IdentityError(
            f"the coordinator at {order.address} does not answer: is it the right port?"
        ) from error
    except OSError as error:
        why = error.strerror or str(error)
        raise IdentityError(f"cannot reach the coordinator at {order.address}: {why}") from error


def _unverified_chain(secured: ssl.SSLSocket) -> list[bytes]:
    """The certificates that the server sent, DER, leaf first."""
    # Public since Python 3.13, where it gives bytes; before, a private object has it, and gives objects.
    source: Any = secured if hasattr(secured, "get_unverified_chain") else getattr(secured, "_sslobj", None)
    if not hasattr(source, "get_unverified_chain"):
        raise IdentityError("this Python cannot show the certificates of a server: give --ca-file")
    shown = source.get_unverified_chain() or []
    return [one if isinstance(one, bytes) else ssl.PEM_cert_to_DER_cert(one.public_bytes()) for one in shown]


def _refused(order: EnrolOrder, error: grpc.aio.AioRpcError) -> str:
    address = order.address
    fault = decode_fault(tuple(error.trailing_metadata() or ()))
    if fault is not None:
        return f"the coordinator at {address} refuses: {fault.message} ({fault.reason})"
    details = error.details() or error.code().name
    if error.code() is grpc.StatusCode.UNAVAILABLE and re.search(
        r"certificate|handshake|SSL|TLS", details, re.I
    ):
        return (
            f"the certificate of the coordinator at {address} cannot be verified: it does not lead to the given CA, "
            f"is not for this name, or is not valid at this machine's time ({details})"
        )
    if error.code() is grpc.StatusCode.UNAVAILABLE:
        return f"cannot reach the coordinator at {address}: {details}"
    if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        return f"the coordinator at {address} did not answer within {order.call_seconds:.0f} s"
    return f"the coordinator at {address} refuses: {details} ({error.code().name})"
