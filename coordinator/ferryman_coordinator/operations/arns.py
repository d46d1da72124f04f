"""ARNs, and the account and region in them (CP-021, CP-022)."""

from __future__ import annotations

from dataclasses import dataclass

from ferryman_coordinator.core.inventory import Instance, InstanceKind
from ferryman_coordinator.core.model import InstanceId


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What CodeDeploy's clients see as account and region."""

    account_id: str = "000000000000"
    region: str = "local"

    def instance_arn(self, name: str, suffix: str) -> str:
        """`suffix` tells a registration from an earlier one under the same name (CP-075)."""
        return f"arn:aws:codedeploy:{self.region}:{self.account_id}:instance/{name}_{suffix}"

    def cloud_arn(self, instance_id: InstanceId) -> str:
        """Of a cloud instance whose provider does not say where it is."""
        return f"arn:aws:ec2:{self.region}:{self.account_id}:instance/{instance_id}"

    def target_arn(self, instance: Instance) -> str:
        """Of a target on that instance: its provider's ARN, or that of its registration here (CP-249)."""
        if instance.kind is InstanceKind.CLOUD and not instance.arn:
            return self.cloud_arn(instance.instance_id)
        return instance.arn
