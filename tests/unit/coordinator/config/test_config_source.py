"""File, environment and flags into one checked configuration, or into all mistakes at once."""

from pathlib import Path

import pytest

from ferryman_coordinator.config import Address, Config, Duration, load
from ferryman_coordinator.config.source import environment_name, leaves
from ferryman_coordinator.errors import SetupError


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "coordinator.yml"
    path.write_text(text, encoding="utf-8")
    return path


def mistakes(path: Path | None, **environment: str) -> list[str]:
    with pytest.raises(SetupError) as caught:
        load(path, environment, {})
    return str(caught.value).splitlines()[1:]


@pytest.mark.req("CP-264")
def test_defaults_are_those_of_the_contract() -> None:
    config = load(None, {"HOME": "/home/someone"}, {})
    assert (str(config.listen.grpc), str(config.listen.for_agents), str(config.listen.http)) == (
        "127.0.0.1:7420",
        "127.0.0.1:7422",
        "127.0.0.1:7421",
    )
    assert (config.agents.heartbeat_interval, config.agents.missed_heartbeats) == (15_000, 3)
    timers = config.deployments
    assert (timers.event_start, timers.event_run, timers.reboot_grace, timers.run_cap) == (
        5 * 60_000,
        3_600_000,
        5 * 60_000,
        12 * 3_600_000,
    )


def test_later_sources_win(tmp_path: Path) -> None:
    path = written(
        tmp_path, "listen:\n  http: 127.0.0.1:1\nagents: {heartbeat_interval: 1s, missed_heartbeats: 7}\n"
    )
    environment = {
        "FERRYMAN_COORDINATOR_LISTEN_HTTP": "127.0.0.1:2",
        "FERRYMAN_COORDINATOR_AGENTS_MISSED_HEARTBEATS": "5",
        "FERRYMAN_COORDINATOR_PUBLIC_NAMES": "a.example, b.example",
    }
    config = load(path, environment, {"listen.http": "127.0.0.1:3"})
    assert config.listen.http == Address("127.0.0.1", 3)
    assert config.agents.missed_heartbeats == 5
    assert config.agents.heartbeat_interval == Duration(1_000)
    assert config.public.names == ("a.example", "b.example")


@pytest.mark.req("CP-264")
def test_every_setting_can_come_from_the_environment() -> None:
    names = [environment_name(key) for key, _ in leaves()]
    assert "FERRYMAN_COORDINATOR_DEPLOYMENTS_EVENT_START" in names
    assert len(names) == len(set(names))


def test_all_mistakes_are_named_at_once_with_place_and_nearest_name(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "listen:\n  grcp: 127.0.0.1:1\n  http: nowhere\nheartbeat_interval: 15s\n"
        "agents:\n  heartbeat_interval: 15\n  missed_heartbeats: 0\ncertificates: yes\nlog: {level: loud}\n",
    )
    found = mistakes(path, FERRYMAN_COORDINATOR_LIMITS_APPLICATIONS="many")
    assert [line.strip().removeprefix(str(path)) for line in found] == [
        ":2: listen.grcp: unknown setting, did you mean listen.grpc?",
        ":3: listen.http: 'nowhere' is no address: write host:port, such as 127.0.0.1:7420 or [::]:7420",
        ":4: heartbeat_interval: unknown setting, did you mean agents.heartbeat_interval?",
        ":6: agents.heartbeat_interval: 15 is no duration: write it with a unit, such as 30s, 5m, 12h or 7d",
        ":7: agents.missed_heartbeats: Expected `int` >= 1",
        ":8: certificates: is a section, so settings stand below it",
        ":9: log.level: Invalid enum value 'loud'",
        "environment FERRYMAN_COORDINATOR_LIMITS_APPLICATIONS: limits.applications: Expected `int`, got `str`",
    ]


def test_durations_out_of_their_span_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "agents:\n  heartbeat_interval: 11m\n")
    assert mistakes(path)[0].endswith("agents.heartbeat_interval: 11m is not between 1s and 10m")


def test_a_setting_that_is_there_twice_is_a_mistake(tmp_path: Path) -> None:
    path = written(tmp_path, "data_dir: /a\nlog:\n  level: info\ndata_dir: /b\n")
    assert mistakes(path) == [f"  {path}:4: data_dir: is there twice, first at {path}:1"]


@pytest.mark.parametrize(
    "text,message", [("[1, 2]", "must hold settings"), ("a: [", "is no YAML"), ("\x00", "is no YAML")]
)
def test_a_file_that_holds_no_settings_is_named(tmp_path: Path, text: str, message: str) -> None:
    assert message in mistakes(written(tmp_path, text))[0]


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert mistakes(tmp_path / "none.yml") == [
        f"  {tmp_path}/none.yml: cannot be read: No such file or directory"
    ]


def test_an_empty_file_and_empty_sections_mean_the_defaults(tmp_path: Path) -> None:
    assert load(written(tmp_path, "listen:\nlog:\n"), {}, {}).listen == Config().listen


def test_variables_that_a_platform_puts_there_are_no_mistakes() -> None:
    load(
        None,
        {"FERRYMAN_COORDINATOR_PORT": "tcp://10.0.0.1:7420", "FERRYMAN_COORDINATOR_SERVICE_HOST": "x"},
        {},
    )


def test_the_agents_port_follows_the_other_one() -> None:
    assert str(load(None, {}, {"listen.grpc": "0.0.0.0:0"}).listen.for_agents) == "0.0.0.0:0"
    assert str(load(None, {}, {"listen.grpc": "[::]:7420"}).listen.for_agents) == "[::]:7422"
    both = load(None, {}, {"listen.grpc": "h:1", "listen.agents": "h:2"})
    assert str(both.listen.for_agents) == "h:2"


def test_settings_that_contradict_each_other_are_named(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "listen: {grpc: 'h:1', agents: 'h:1'}\n"
        "public: {http_url: 'ftp://x', names: ['a b']}\n"
        "database: {password_file: /p}\n",
    )
    assert [line.split(": ", 1)[1] for line in mistakes(path)] == [
        "listen.agents: h:1 is taken by listen.grpc already",
        "public.http_url: 'ftp://x' does not begin with http:// or https://",
        "public.names: 'a b' is neither a host name nor an IP address",
        "database.password_file: needs database.url, since SQLite has no password",
    ]


def test_the_data_directory_depends_on_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert load(None, {}, {}).data_dir == "/var/lib/ferryman"
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert load(None, {"XDG_DATA_HOME": "/home/u/data"}, {}).data_dir == "/home/u/data/ferryman"
