"""An AppSpec file to begin with, which is right as it stands (AG-278)."""

from __future__ import annotations

_TEMPLATE = """\
# What a revision installs and which of its scripts run when. `ferryman lint` checks it.
version: 0.0
os: linux
files:
  # Every source is a file or folder of the revision; / is all of it.
  - source: /
    destination: /opt/my-application
# What happens to files that are there already and were not put there by a deployment:
# DISALLOW (the deployment fails), OVERWRITE or RETAIN.
file_exists_behavior: DISALLOW
# permissions:
#   - object: /opt/my-application
#     pattern: "*.sh"
#     owner: root
#     group: root
#     mode: 755
#     type:
#       - file
# hooks:
#   BeforeInstall:
#     - location: scripts/prepare.sh
#       timeout: 300
#       runas: root
#   ApplicationStart:
#     - location: scripts/start.sh
#   ValidateService:
#     - location: scripts/validate.sh
"""


def template() -> str:
    """The text of the file: with the guide's indentation, and what is optional as comments (AG-269)."""
    return _TEMPLATE
