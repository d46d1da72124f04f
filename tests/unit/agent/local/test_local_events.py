"""Which events a local deployment runs, in which order, and which lists are refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferryman_agent.core.lifecycle import LIFECYCLE_EVENTS
from ferryman_agent.local.events import Events, custom_events, plan_events

BUILT_IN = (
    "BeforeBlockTraffic",
    "AfterBlockTraffic",
    "ApplicationStop",
    "DownloadBundle",
    "BeforeInstall",
    "Install",
    "AfterInstall",
    "ApplicationStart",
    "ValidateService",
    "BeforeAllowTraffic",
    "AfterAllowTraffic",
)


def _plan(wanted: str | None, *, no_install: bool = False, simulate_traffic: bool = False) -> Events:
    return plan_events(wanted, no_install=no_install, simulate_traffic=simulate_traffic)


@pytest.mark.req("AG-477", "AG-478", "AG-O07")
def test_the_built_in_order() -> None:
    assert _plan(None) == Events(BUILT_IN)


@pytest.mark.req("AG-479", "AG-480", "AG-481", "AG-O07", "V2-372", "PF-333")
@pytest.mark.parametrize(
    "wanted, events",
    [
        ("ApplicationStop", "DownloadBundle,Install,ApplicationStop"),
        ("BeforeInstall,ApplicationStart", "DownloadBundle,Install,BeforeInstall,ApplicationStart"),
        ("DownloadBundle,ApplicationStart", "DownloadBundle,Install,ApplicationStart"),
        ("ApplicationStop,Install", "DownloadBundle,ApplicationStop,Install"),
        ("BeforeInstall,Install,AfterInstall", "DownloadBundle,BeforeInstall,Install,AfterInstall"),
        ("ApplicationStop,DownloadBundle,Install", "ApplicationStop,DownloadBundle,Install"),
        # What stands before DownloadBundle on purpose stays there: it is the previous revision's.
        ("ApplicationStop,DownloadBundle,Check", "ApplicationStop,DownloadBundle,Install,Check"),
        ("DownloadBundle,Install,ApplicationStart", "DownloadBundle,Install,ApplicationStart"),
        ("HealthCheck", "DownloadBundle,Install,HealthCheck"),
        ("DownloadBundle,BeforeInstall,Install", "DownloadBundle,BeforeInstall,Install"),
    ],
)
def test_what_is_missing_of_download_and_install_is_put_in(wanted: str, events: str) -> None:
    assert _plan(wanted) == Events(tuple(events.split(",")))


@pytest.mark.req("AG-483", "AG-484", "AG-485", "AG-T83")
@pytest.mark.parametrize(
    "wanted, mistake",
    [
        (
            "Install,DownloadBundle",
            "Install before DownloadBundle: only BeforeBlockTraffic, AfterBlockTraffic, ApplicationStop may",
        ),
        (
            "ApplicationStart,Install",
            "ApplicationStart before Install: only BeforeBlockTraffic, AfterBlockTraffic, ApplicationStop, "
            "DownloadBundle, BeforeInstall may",
        ),
        ("BeforeInstall,DownloadBundle", "BeforeInstall before DownloadBundle: only BeforeBlockTraffic"),
        ("Mine,DownloadBundle", "Mine before DownloadBundle: only BeforeBlockTraffic"),
        ("Mine,ApplicationStop,Install", "Mine before Install: only BeforeBlockTraffic"),
    ],
)
def test_what_may_not_stand_before_download_and_install_is_refused(wanted: str, mistake: str) -> None:
    (found,) = _plan(wanted).mistakes
    assert found.startswith(f"--events: {mistake}")


@pytest.mark.req("AG-486", "AG-T83")
def test_blanks_around_names_are_nothing_and_empty_names_are_refused() -> None:
    assert _plan(" A ,\tB") == Events(("DownloadBundle", "Install", "A", "B"))
    for wanted in ("", "A,,B", "A,", " "):
        assert any("empty name" in mistake for mistake in _plan(wanted).mistakes), wanted


def test_an_event_runs_once() -> None:
    assert "A is listed 2 times" in _plan("A,B,A").mistakes[0]


def test_names_that_a_terminal_would_obey_are_refused() -> None:
    (found,) = _plan("A\x1b[2J").mistakes
    assert "characters" in found
    assert found.isprintable()


@pytest.mark.req("AG-478", "PF-338")
def test_traffic_events_are_not_run_but_can_be_rehearsed() -> None:
    (found,) = _plan("BlockTraffic").mistakes
    assert "--simulate-traffic rehearses it" in found
    assert _plan(None, simulate_traffic=True) == Events(tuple(LIFECYCLE_EVENTS))
    wanted = "BlockTraffic,DownloadBundle,Install,AllowTraffic"
    assert _plan(wanted, simulate_traffic=True) == Events(tuple(wanted.split(",")))


@pytest.mark.req("AG-482")
def test_events_of_what_is_installed_come_as_they_are() -> None:
    assert _plan("ApplicationStop, Mine", no_install=True) == Events(("ApplicationStop", "Mine"))
    assert "needs --events" in _plan(None, no_install=True).mistakes[0]
    found = _plan("DownloadBundle,Install", no_install=True).mistakes
    assert [mistake.split()[1] for mistake in found] == ["DownloadBundle", "Install"]


@pytest.mark.req("AG-268")
def test_all_mistakes_are_named_at_once() -> None:
    found = _plan("A,,BlockTraffic,A,Install,DownloadBundle").mistakes
    assert len(found) == 5


@given(st.lists(st.sampled_from([*BUILT_IN, "Mine", "Yours"]), min_size=1, unique=True))
def test_accepted_lists_keep_their_order_and_hold_both(names: list[str]) -> None:
    found = _plan(",".join(names))
    if found.mistakes:
        return
    assert [name for name in found.names if name in names] == names
    assert set(found.names) == {*names, "DownloadBundle", "Install"}
    assert found.names.index("DownloadBundle") < found.names.index("Install")
    assert len(set(found.names)) == len(found.names)
    assert set(custom_events(found.names)) == {"Mine", "Yours"} & set(names)
