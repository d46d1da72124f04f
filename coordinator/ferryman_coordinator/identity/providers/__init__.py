"""Providers whose word about a machine is taken, each in a module of its own behind `core.provider_identity.Vouch`."""

from __future__ import annotations

from collections.abc import Mapping

from ferryman_coordinator.config.schema import AwsIdentity
from ferryman_coordinator.core.provider_identity import Vouch
from ferryman_coordinator.identity.providers.aws import NAME as AWS
from ferryman_coordinator.identity.providers.aws import AwsDocuments

__all__ = ["trusted_providers"]


def trusted_providers(aws: AwsIdentity) -> Mapping[str, Vouch]:
    """Those that are configured, by their names. Raises SetupError."""
    return {AWS: AwsDocuments.open(aws)} if aws.certificates else {}
