"""The Install event with what the configuration says about it."""

from __future__ import annotations

from ferryman_agent.clock import Clock
from ferryman_agent.config import Config
from ferryman_agent.core.messages import DeploymentDescription
from ferryman_agent.files.layout import Layout


class Installs:
    """Loads the installer with the first install."""

    def __init__(self, config: Config, layout: Layout, clock: Clock) -> None:
        self._config = config
        self._layout = layout
        self._clock = clock

    async def install(self, deployment: DeploymentDescription) -> str:
        """Does the whole Install event; returns the message of its success. Raises EventError."""
        from ferryman_agent.files.install import InstallSettings, install

        settings = InstallSettings(install_root=self._config.install.root)
        report = await install(deployment, layout=self._layout, now=self._clock.now(), settings=settings)
        return report.message
