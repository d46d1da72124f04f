"""The process of the agent: its user, directories, log, lock and signals; one agent runs in it, once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import structlog

from ferryman_agent.app import Agent
from ferryman_agent.clock import Clock, SystemClock
from ferryman_agent.config import Config, Loaded
from ferryman_agent.errors import AgentError
from ferryman_agent.host import identity, memory, service_manager, trust
from ferryman_agent.host.hardening import harden
from ferryman_agent.host.instance import InstanceLock
from ferryman_agent.log import set_up as log_set_up
from ferryman_agent.system import own, signal
from ferryman_agent.wiring import become_user, demand_directories, log_settings

THREADS = 40
"""Installs of sixteen groups may each hold one for minutes, and hooks need some for moments."""

log = structlog.stdlib.get_logger(__name__)


def run(
    config: Config, warnings: tuple[str, ...] = (), load_again: Callable[[], Loaded] | None = None
) -> None:
    """Is the agent, until somebody stops it. Raises AgentError: what keeps it from starting, or from going on."""
    memory.begin()
    clock = SystemClock()
    service_manager.keep_from_children()
    become_user(config)
    identity.load(config.identity_path)
    demand_directories(config)
    directories = (
        ("root_dir", config.root),
        ("state_dir", Path(config.state_dir)),
        ("pid_dir", Path(config.pid_dir)),
    )
    warnings = (*warnings, *trust.remarks(directories))
    handler = log_set_up(log_settings(config), clock)
    harden(core_dumps=config.core_dumps)
    for warning in warnings:
        log.warning("config.warning", warning=warning)
    try:
        with InstanceLock(config.pid_path):
            asyncio.run(_main(config, clock, warnings, load_again))
    except ExceptionGroup as group:
        fatal = _expected(group)
        if fatal is None:
            raise
        log.critical("agent.failed", error=str(fatal))
        raise fatal from None
    finally:
        handler.close()


def _expected(error: Exception) -> AgentError | None:
    """The error of ours that ended the agent; None when there was any other as well."""
    if isinstance(error, ExceptionGroup):
        found = [_expected(each) for each in error.exceptions]
        return None if None in found else found[0]
    return error if isinstance(error, AgentError) else None


async def _main(
    config: Config, clock: Clock, warnings: tuple[str, ...], load_again: Callable[[], Loaded] | None
) -> None:
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(THREADS, thread_name_prefix="work"))
    agent = Agent(
        config,
        clock=clock,
        random_number=random.SystemRandom().random,
        warnings=warnings,
        load_again=load_again,
    )
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        own.add_signal_handler(loop, number, agent.stop)
    own.add_signal_handler(loop, signal.SIGHUP, agent.reload)
    await agent.run()
