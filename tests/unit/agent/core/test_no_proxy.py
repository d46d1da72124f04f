"""Who is reached without a proxy."""

from __future__ import annotations

import pytest

from ferryman_agent.core.no_proxy import is_direct


@pytest.mark.req("V2-350")
@pytest.mark.parametrize(
    "host,rules,direct",
    [
        ("localhost", [], True),
        ("127.0.0.9", [], True),
        ("::1", [], True),
        ("coordinator.example", [], False),
        ("coordinator.example", ["*"], True),
        ("coordinator.example", ["example"], True),
        ("coordinator.example", [".example"], True),
        ("coordinator.example", ["*.example"], True),
        ("coordinator.example", ["ample"], False),
        ("Coordinator.Example.", ["coordinator.example"], True),
        ("10.1.2.3", ["10.0.0.0/8"], True),
        ("11.1.2.3", ["10.0.0.0/8"], False),
        ("10.1.2.3", ["10.1.2.3"], True),
        ("fd00::7", ["[fd00::7]"], True),
        ("10.1.2.3", ["not a network", ""], False),
        ("coordinator.example", ["", " "], False),
    ],
)
def test_names_addresses_and_networks(host: str, rules: list[str], direct: bool) -> None:
    assert is_direct(host, rules) is direct
