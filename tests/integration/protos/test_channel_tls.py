"""Which TLS our own ends agree on with each other and with others."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from ferryman.channel import open_channel
from tests.support.small_ca import SmallCa


@dataclass
class Peer:
    """A server that notes what was agreed on, and says nothing."""

    ca: bytes
    port: int
    agreed: list[str] = field(default_factory=list)


@contextmanager
def peer(folder: Path, newest: ssl.TLSVersion) -> Iterator[Peer]:
    ca = SmallCa()
    signed = ca.server("localhost")
    (folder / "chain").write_bytes(signed.chain)
    (folder / "key").write_bytes(signed.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "chain", folder / "key")
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.maximum_version = newest
    context.set_alpn_protocols(["h2"])
    with socket.create_server(("127.0.0.1", 0)) as listening:
        found = Peer(ca.pem, listening.getsockname()[1])
        meeting = threading.Thread(target=meet, args=(listening, context, found.agreed))
        meeting.start()
        yield found
        listening.shutdown(socket.SHUT_RDWR)
        meeting.join()


def meet(listening: socket.socket, context: ssl.SSLContext, agreed: list[str]) -> None:
    """Shakes hands with whoever comes, until nobody can."""
    while True:
        try:
            plain, _ = listening.accept()
        except OSError:
            return
        with plain, contextlib.suppress(OSError), context.wrap_socket(plain, server_side=True) as secured:
            agreed.append(str(secured.version()))


@pytest.mark.req("CP-441", "PF-271", "V2-348")
@pytest.mark.parametrize(
    "newest,agreed",
    [
        (ssl.TLSVersion.TLSv1_3, {"TLSv1.3"}),
        (ssl.TLSVersion.TLSv1_2, {"TLSv1.2"}),
        pytest.param(
            ssl.TLSVersion.TLSv1_1, set(), marks=pytest.mark.filterwarnings("ignore::DeprecationWarning")
        ),
    ],
)
async def test_our_clients_take_the_newest_and_nothing_before_1_2(
    tmp_path: Path, newest: ssl.TLSVersion, agreed: set[str]
) -> None:
    """A coordinator always offers 1.3 (see test_auth_matrix.py), so between our own parts it is 1.3."""
    with peer(tmp_path, newest) as server:
        async with open_channel(f"localhost:{server.port}", ca_certificates=server.ca) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert set(server.agreed) == agreed
