"""InventoryService: each call maps its request, asks the operation, maps the answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import grpc.aio

from ferryman.v1 import inventory_pb2 as pb
from ferryman.v1 import inventory_pb2_grpc
from ferryman_coordinator.api.auth import Context
from ferryman_coordinator.api.mapping import group_options, selections, words
from ferryman_coordinator.api.mapping import inventory as mapping
from ferryman_coordinator.api.mapping.instances import instance_to
from ferryman_coordinator.api.mapping.values import (
    location_from,
    minimum_from,
    page_from,
    rollback_from,
    tags_from,
    zonal_from,
)
from ferryman_coordinator.core.group_options import DEFAULT_OPTIONS
from ferryman_coordinator.core.inventory import Application, ComputePlatform, DeploymentGroup, Instance
from ferryman_coordinator.core.model import AutoRollback
from ferryman_coordinator.errors import Invalid
from ferryman_coordinator.links.registry import Links
from ferryman_coordinator.operations import resource_arns
from ferryman_coordinator.operations.applications import Applications
from ferryman_coordinator.operations.arns import Account
from ferryman_coordinator.operations.configurations import Configurations
from ferryman_coordinator.operations.drift import Drift
from ferryman_coordinator.operations.groups import Groups, OptionChange
from ferryman_coordinator.operations.instances import Instances, KnownInstance, RegistrationStatus
from ferryman_coordinator.operations.revisions import Revisions
from ferryman_coordinator.store.queries.drift import DriftCount
from ferryman_coordinator.store.queries.revisions import RevisionFilter, RevisionSort, TargetFilter

_REGISTRATION = {
    pb.REGISTRATION_STATUS_UNSPECIFIED: "",
    pb.REGISTRATION_STATUS_REGISTERED: RegistrationStatus.REGISTERED,
    pb.REGISTRATION_STATUS_DEREGISTERED: RegistrationStatus.DEREGISTERED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class InventoryOperations:
    """What this service asks."""

    applications: Applications
    groups: Groups
    configurations: Configurations
    revisions: Revisions
    instances: Instances
    drift: Drift
    account: Account


class InventoryServicer(inventory_pb2_grpc.InventoryServiceServicer):
    """`links` knows which instances are connected now."""

    def __init__(self, operations: InventoryOperations, links: Links) -> None:
        self._applications = operations.applications
        self._groups = operations.groups
        self._configurations = operations.configurations
        self._revisions = operations.revisions
        self._instances = operations.instances
        self._drift = operations.drift
        self._account = operations.account
        self._links = links

    def register(self, server: grpc.aio.Server) -> str:
        inventory_pb2_grpc.add_InventoryServiceServicer_to_server(self, server)
        return "ferryman.v1.InventoryService"

    # Applications

    async def CreateApplication(
        self, request: pb.CreateApplicationRequest, context: Context
    ) -> pb.CreateApplicationResponse:
        platform = words.platforms.word_or(request.compute_platform, ComputePlatform.SERVER)
        created = await self._applications.create(request.name, platform, tags_from(request.resource_tags))
        return pb.CreateApplicationResponse(application_id=created.application_id)

    async def GetApplication(
        self, request: pb.GetApplicationRequest, context: Context
    ) -> pb.GetApplicationResponse:
        found = await self._applications.get(request.name)
        return pb.GetApplicationResponse(application=self._application(found))

    async def ListApplications(
        self, request: pb.ListApplicationsRequest, context: Context
    ) -> pb.ListApplicationsResponse:
        page = await self._applications.list(page_from(request.page))
        applications = [self._application(one) for one in page.items]
        return pb.ListApplicationsResponse(applications=applications, next_page_token=page.next_token)

    async def UpdateApplication(
        self, request: pb.UpdateApplicationRequest, context: Context
    ) -> pb.UpdateApplicationResponse:
        renamed = await self._applications.rename(request.name, request.new_name)
        return pb.UpdateApplicationResponse(application=self._application(renamed))

    async def DeleteApplication(
        self, request: pb.DeleteApplicationRequest, context: Context
    ) -> pb.DeleteApplicationResponse:
        await self._applications.delete(request.name)
        return pb.DeleteApplicationResponse()

    async def BatchGetApplications(
        self, request: pb.BatchGetApplicationsRequest, context: Context
    ) -> pb.BatchGetApplicationsResponse:
        found = await self._applications.several(request.names)
        return pb.BatchGetApplicationsResponse(applications=[self._application(one) for one in found])

    async def LinkApplication(
        self, request: pb.LinkApplicationRequest, context: Context
    ) -> pb.LinkApplicationResponse:
        linked = await self._applications.link(request.name, request.github_account_name)
        return pb.LinkApplicationResponse(application=self._application(linked))

    # Deployment groups

    async def CreateDeploymentGroup(
        self, request: pb.CreateDeploymentGroupRequest, context: Context
    ) -> pb.CreateDeploymentGroupResponse:
        saved = await self._groups.create(
            request.application_name,
            request.name,
            config_name=request.deployment_config_name,
            selection=selections.selection_from(request.selection),
            auto_rollback=rollback_from(request.auto_rollback)
            if request.HasField("auto_rollback")
            else AutoRollback(),
            options=_change_from(request.options) if request.HasField("options") else None,
            tags=tags_from(request.resource_tags),
        )
        return pb.CreateDeploymentGroupResponse(
            deployment_group_id=saved.group.group_id, warnings=saved.warnings
        )

    async def GetDeploymentGroup(
        self, request: pb.GetDeploymentGroupRequest, context: Context
    ) -> pb.GetDeploymentGroupResponse:
        found = await self._groups.get(request.application_name, request.name)
        (group,) = await self._counted([found])
        return pb.GetDeploymentGroupResponse(deployment_group=group)

    async def ListDeploymentGroups(
        self, request: pb.ListDeploymentGroupsRequest, context: Context
    ) -> pb.ListDeploymentGroupsResponse:
        page = await self._groups.list(request.application_name, page_from(request.page))
        groups = await self._counted(page.items)
        return pb.ListDeploymentGroupsResponse(deployment_groups=groups, next_page_token=page.next_token)

    async def BatchGetDeploymentGroups(
        self, request: pb.BatchGetDeploymentGroupsRequest, context: Context
    ) -> pb.BatchGetDeploymentGroupsResponse:
        found = await self._groups.several(request.application_name, request.names)
        return pb.BatchGetDeploymentGroupsResponse(
            deployment_groups=await self._counted(found.items), error_message=found.message
        )

    async def UpdateDeploymentGroup(
        self, request: pb.UpdateDeploymentGroupRequest, context: Context
    ) -> pb.UpdateDeploymentGroupResponse:
        saved = await self._groups.update(
            request.application_name,
            request.name,
            new_name=request.new_name if request.HasField("new_name") else None,
            config_name=request.deployment_config_name
            if request.HasField("deployment_config_name")
            else None,
            selection=selections.selection_from(request.selection) if request.HasField("selection") else None,
            auto_rollback=rollback_from(request.auto_rollback) if request.HasField("auto_rollback") else None,
            options=_change_from(request.options) if request.HasField("options") else None,
        )
        return pb.UpdateDeploymentGroupResponse(
            deployment_group=self._group(saved.group, DriftCount()), warnings=saved.warnings
        )

    async def DeleteDeploymentGroup(
        self, request: pb.DeleteDeploymentGroupRequest, context: Context
    ) -> pb.DeleteDeploymentGroupResponse:
        await self._groups.delete(request.application_name, request.name)
        return pb.DeleteDeploymentGroupResponse()

    async def ListMatchingInstances(
        self, request: pb.ListMatchingInstancesRequest, context: Context
    ) -> pb.ListMatchingInstancesResponse:
        selection = selections.selection_from(request.selection)
        options = group_options.changed(DEFAULT_OPTIONS, request.options)
        if request.application_name or request.deployment_group_name:
            group = await self._groups.get(request.application_name, request.deployment_group_name)
            selection, options = group.selection, group.options
        found = await self._groups.matching(selection, page_from(request.page), options)
        return pb.ListMatchingInstancesResponse(
            instances=[self._instance(one) for one in found.page.items],
            next_page_token=found.page.next_token,
            total=found.total,
        )

    # Deployment configurations

    async def CreateDeploymentConfig(
        self, request: pb.CreateDeploymentConfigRequest, context: Context
    ) -> pb.CreateDeploymentConfigResponse:
        has_minimum = request.HasField("minimum_healthy_hosts")
        has_routing = request.HasField("traffic_routing")
        created = await self._configurations.create(
            request.name,
            words.platforms.word_or(request.compute_platform, ComputePlatform.SERVER),
            minimum=minimum_from(request.minimum_healthy_hosts) if has_minimum else None,
            zonal=zonal_from(request.zonal) if request.HasField("zonal") else None,
            traffic_routing=mapping.routing_from(request.traffic_routing) if has_routing else None,
        )
        return pb.CreateDeploymentConfigResponse(deployment_config_id=created.config_id)

    async def GetDeploymentConfig(
        self, request: pb.GetDeploymentConfigRequest, context: Context
    ) -> pb.GetDeploymentConfigResponse:
        found = await self._configurations.get(request.name)
        return pb.GetDeploymentConfigResponse(deployment_config=mapping.config_to(found))

    async def ListDeploymentConfigs(
        self, request: pb.ListDeploymentConfigsRequest, context: Context
    ) -> pb.ListDeploymentConfigsResponse:
        page = await self._configurations.list(page_from(request.page))
        configs = [mapping.config_to(one) for one in page.items]
        return pb.ListDeploymentConfigsResponse(deployment_configs=configs, next_page_token=page.next_token)

    async def DeleteDeploymentConfig(
        self, request: pb.DeleteDeploymentConfigRequest, context: Context
    ) -> pb.DeleteDeploymentConfigResponse:
        await self._configurations.delete(request.name)
        return pb.DeleteDeploymentConfigResponse()

    # Revisions

    async def RegisterRevision(
        self, request: pb.RegisterRevisionRequest, context: Context
    ) -> pb.RegisterRevisionResponse:
        revision, warnings = await self._revisions.register(
            request.application_name, location_from(request.location), request.description
        )
        return pb.RegisterRevisionResponse(revision=mapping.revision_to(revision), warnings=warnings)

    async def GetRevision(self, request: pb.GetRevisionRequest, context: Context) -> pb.GetRevisionResponse:
        if request.HasField("location"):
            location = location_from(request.location)
            found = await self._revisions.at(request.application_name, location)
        else:
            found = await self._revisions.get(request.application_name, request.revision)
        return pb.GetRevisionResponse(revision=mapping.revision_to(found))

    async def ListRevisions(
        self, request: pb.ListRevisionsRequest, context: Context
    ) -> pb.ListRevisionsResponse:
        page = await self._revisions.list(
            request.application_name,
            page_from(request.page),
            wanted=RevisionFilter(
                source=words.revision_sources.word(request.source) if request.source else None,
                bucket=request.s3_bucket,
                key_prefix=request.s3_key_prefix,
                target=words.target_filters.word_or(request.target, TargetFilter.IGNORE),
            ),
            sort_by=words.revision_sorts.word_or(request.sort_by, RevisionSort.REGISTER_TIME),
            descending=request.descending,
        )
        revisions = [mapping.revision_to(one) for one in page.items]
        return pb.ListRevisionsResponse(revisions=revisions, next_page_token=page.next_token)

    async def BatchGetRevisions(
        self, request: pb.BatchGetRevisionsRequest, context: Context
    ) -> pb.BatchGetRevisionsResponse:
        locations = [location_from(one) for one in request.locations]
        found = await self._revisions.several(request.application_name, locations)
        return pb.BatchGetRevisionsResponse(
            revisions=[mapping.revision_to(one) for one in found.items], error_message=found.message
        )

    # Instances

    async def GetInstance(self, request: pb.GetInstanceRequest, context: Context) -> pb.GetInstanceResponse:
        return pb.GetInstanceResponse(instance=self._known(await self._instances.get(request.instance)))

    async def ListInstances(
        self, request: pb.ListInstancesRequest, context: Context
    ) -> pb.ListInstancesResponse:
        status = _REGISTRATION.get(request.registration_status)
        if status is None:
            number = int(request.registration_status)
            raise Invalid("InvalidRegistrationStatusException", f"registration status {number} is not known")
        page = await self._instances.list(
            page_from(request.page), status=status, tag_filters=selections.filters_from(request.tag_filters)
        )
        instances = [self._instance(one) for one in page.items]
        return pb.ListInstancesResponse(instances=instances, next_page_token=page.next_token)

    async def TagInstance(self, request: pb.TagInstanceRequest, context: Context) -> pb.TagInstanceResponse:
        tagged = await self._instances.tag(
            request.instance, add=tags_from(request.add), remove=tags_from(request.remove)
        )
        return pb.TagInstanceResponse(instance=self._instance(tagged))

    async def DeregisterInstance(
        self, request: pb.DeregisterInstanceRequest, context: Context
    ) -> pb.DeregisterInstanceResponse:
        await self._instances.deregister(request.instance)
        return pb.DeregisterInstanceResponse()

    async def CheckInstance(
        self, request: pb.CheckInstanceRequest, context: Context
    ) -> pb.CheckInstanceResponse:
        known = await self._drift.check(
            request.instance,
            application_name=request.application_name,
            group_name=request.deployment_group_name,
            with_digests=request.with_digests,
            wait_s=request.wait_seconds,
        )
        return pb.CheckInstanceResponse(instance=self._known(known))

    async def _counted(self, groups: Sequence[DeploymentGroup]) -> list[pb.DeploymentGroup]:
        counts = await self._drift.counts([group.group_id for group in groups])
        return [self._group(group, counts.get(group.group_id, DriftCount())) for group in groups]

    def _application(self, application: Application) -> pb.Application:
        return mapping.application_to(
            application, resource_arns.application_arn(self._account, application.name)
        )

    def _group(self, group: DeploymentGroup, drift: DriftCount) -> pb.DeploymentGroup:
        arn = resource_arns.group_arn(self._account, group.application_name, group.name)
        return mapping.group_to(group, arn, drift)

    def _known(self, known: KnownInstance) -> pb.Instance:
        return instance_to(known.instance, self._links, known.health)

    def _instance(self, instance: Instance) -> pb.Instance:
        return instance_to(instance, self._links)


def _change_from(message: pb.GroupOptions) -> OptionChange:
    return lambda options: group_options.changed(options, message)
