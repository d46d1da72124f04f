"""What both ends of a connection must agree on: TLS, keepalive, sizes.

The server permits exactly the pings that `channel_options` makes a client send; a client with livelier pings would be
sent away. TLS is gRPC's own: 1.2 or newer, and only suites with forward secrecy (CP-441, PF-271).
"""

from __future__ import annotations

import grpc
import grpc.aio

MESSAGE_LIMIT = 4 * 1024 * 1024
"""Largest message in bytes, either way."""

UPLOAD_PART_LIMIT = 1024 * 1024
"""Largest `content` of one UploadBundleRequest, in bytes."""

SMALL_BUNDLE_LIMIT = 1024 * 1024
"""Largest archive in bytes that agents may have by FetchBundle."""

PROTOCOL_VERSION = 1
"""What an agent's Hello says; a coordinator refuses those that it does not speak."""

METADATA_LIMIT = 64 * 1024
"""Bytes of headers or trailers: a fault may list every mistake of an AppSpec."""

_PING_MS = 30_000
_PING_TIMEOUT_MS = 20_000

# A whole fleet connects at once after a restart. With gRPC's own 1,000 the server refuses streams at random
# (`CANCELLED` without a message): 29 % of 5,000 in a trial.
_PENDING_REQUESTS = 100_000

_STREAMS = 1_000
"""Calls of one connection at the same time; a client keeps the others waiting by itself."""

_IDLE_MS = 10 * 60_000
"""A connection without calls is closed after this; gRPC opens another with the next call, and nobody notices."""

_HANDSHAKE_MS = 60_000
"""Enough for the last of a fleet that comes back all at once, and half of gRPC's own patience with strangers."""

Options = tuple[tuple[str, int | str], ...]

_BOTH_ENDS: Options = (
    ("grpc.max_receive_message_length", MESSAGE_LIMIT),
    ("grpc.max_send_message_length", MESSAGE_LIMIT),
    ("grpc.max_metadata_size", METADATA_LIMIT),
    ("grpc.absolute_max_metadata_size", METADATA_LIMIT),
    ("grpc.keepalive_timeout_ms", _PING_TIMEOUT_MS),
)


def channel_options() -> Options:
    """Options of a client's channel, for `grpc.aio.secure_channel`."""
    return (
        *_BOTH_ENDS,
        ("grpc.keepalive_time_ms", _PING_MS),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
    )


def server_options() -> Options:
    """Options of the coordinator's server, for `grpc.aio.server`."""
    return (
        *_BOTH_ENDS,
        # A peer that is gone without a word is noticed after two intervals, and its stream ended.
        ("grpc.keepalive_time_ms", 2 * _PING_MS),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", _PING_MS // 2),
        # 0 would permit any number.
        ("grpc.http2.max_ping_strikes", 3),
        ("grpc.max_concurrent_streams", _STREAMS),
        ("grpc.max_connection_idle_ms", _IDLE_MS),
        ("grpc.server_handshake_timeout_ms", _HANDSHAKE_MS),
        ("grpc.server.max_pending_requests", _PENDING_REQUESTS),
        ("grpc.server.max_pending_requests_hard_limit", 2 * _PENDING_REQUESTS),
        # Otherwise two coordinators would share a port, each with half of the calls, and neither would say so.
        ("grpc.so_reuseport", 0),
    )


def open_channel(
    address: str,
    *,
    ca_certificates: bytes,
    certificate_chain: bytes | None = None,
    private_key: bytes | None = None,
    proxy: str | None = None,
) -> grpc.aio.Channel:
    """Returns a TLS channel to the coordinator at `address` (`host:port`); it connects with the first call.

    All PEM. `ca_certificates` are the only ones trusted; the other two, given together, are a client certificate, leaf
    first, and its key. `proxy` (`http://[user:password@]host:port`) is asked for the way by CONNECT, and TLS goes
    through it end to end; empty text: directly, whatever the environment says; None: as the environment says.
    """
    credentials = grpc.ssl_channel_credentials(
        root_certificates=ca_certificates, private_key=private_key, certificate_chain=certificate_chain
    )
    return grpc.aio.secure_channel(address, credentials, options=(*channel_options(), *_way(proxy)))


def _way(proxy: str | None) -> Options:
    if proxy is None:
        return ()
    return (("grpc.http_proxy", proxy),) if proxy else (("grpc.enable_http_proxy", 0),)
