"""Both ends must agree on sizes and pings, or the server sends lively clients away."""

from ferryman import channel


def test_server_permits_the_pings_that_clients_send() -> None:
    client = dict(channel.channel_options())
    server = dict(channel.server_options())
    assert int(server["grpc.http2.min_ping_interval_without_data_ms"]) < int(client["grpc.keepalive_time_ms"])
    assert int(server["grpc.http2.max_ping_strikes"]) > 0, "0 would permit any number of pings"


def test_both_ends_have_the_same_sizes() -> None:
    client = dict(channel.channel_options())
    server = dict(channel.server_options())
    for option in (
        "grpc.max_receive_message_length",
        "grpc.max_send_message_length",
        "grpc.max_metadata_size",
    ):
        assert client[option] == server[option]
    assert channel.UPLOAD_PART_LIMIT < channel.MESSAGE_LIMIT


def test_a_whole_fleet_may_connect_at_once() -> None:
    server = dict(channel.server_options())
    pending = int(server["grpc.server.max_pending_requests"])
    assert pending >= 20_000
    assert int(server["grpc.server.max_pending_requests_hard_limit"]) >= pending


def test_two_servers_never_share_a_port() -> None:
    assert dict(channel.server_options())["grpc.so_reuseport"] == 0
