"""The Install event with what the configuration says about it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ferryman_agent.clock import Clock
from ferryman_agent.config import Config
from ferryman_agent.core.messages import DeploymentDescription, DeploymentId, GroupId
from ferryman_agent.files.layout import Layout
from ferryman_agent.files.settings import InstallSettings
from ferryman_agent.runtime.group_turns import GroupTurns
from ferryman_agent.system import fs
from ferryman_agent.threads import in_thread

_RECOVERY = DeploymentId("d-recovery")


class Installs:
    """Loads the installer with the first install."""

    def __init__(self, config: Config, layout: Layout, clock: Clock) -> None:
        self._config = config
        self._layout = layout
        self._clock = clock

    async def recover(self) -> None:
        """Puts in order what installs left that were killed with the agent. Raises nothing for what cannot be."""
        if not self._layout.interrupted_groups():
            return
        from ferryman_agent.files.interrupted import recover_all

        turns = GroupTurns(self._layout, self._clock)

        @contextlib.contextmanager
        def turn(group_id: GroupId) -> Iterator[None]:
            turns.hold(group_id, _RECOVERY)
            try:
                yield
            finally:
                turns.release(group_id, _RECOVERY)

        await in_thread(lambda: recover_all(self._layout, turn))

    async def install(self, deployment: DeploymentDescription) -> str:
        """Does the whole Install event; returns the message of its success. Raises EventError."""
        from ferryman_agent.files.install import install

        now, settings = self._clock.now(), self.settings()
        report = await install(deployment, layout=self._layout, now=now, settings=settings)
        return report.message

    async def demand_rights(self, deployment: DeploymentDescription) -> None:
        """Sees that the agent may do all that an unpacked revision asks for (AG-015). Raises EventError."""
        if fs.geteuid() == 0:
            return
        from ferryman_agent.files.preview import demand_rights

        layout, settings = self._layout, self.settings()
        directory = layout.deployment(deployment.deployment_group_id, deployment.deployment_id)
        await in_thread(
            lambda: demand_rights(deployment, layout=layout, directory=directory, settings=settings)
        )

    def settings(self) -> InstallSettings:
        """What the configuration says about installs."""
        return InstallSettings(
            install_root=self._config.install.root,
            allow_set_id=self._config.install.allow_set_id,
            preserve_directory_modes=self._config.install.preserve_directory_modes,
            reject_unconfined=self._config.install.reject_unconfined,
            require_selinux=self._config.install.require_selinux,
        )
