"""Rights, over real gRPC: who may do what, what is not shown, and how a refusal reads."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path

import grpc
import grpc.aio
import pytest

from ferryman.v1 import (
    bundles_pb2,
    deployments_pb2,
    events_pb2,
    events_pb2_grpc,
    faults_pb2,
    identity_pb2,
    inventory_pb2,
    tokens_pb2,
    types_pb2,
)
from tests.support.coordinator import (
    Metadata,
    RunningCoordinator,
    bundles_stub,
    deployments_stub,
    inventory_stub,
    refusal,
    running_coordinator,
    tokens_stub,
)
from tests.support.people import allow, deny, identity_stub, person, records, role_with

WEB = ("application:web", "deploymentgroup:web/*", "deploymentconfig:*")
SHA = "ab" * 32


@pytest.fixture
async def coordinator(tmp_path: Path) -> AsyncIterator[RunningCoordinator]:
    """With two applications of one group each, and a deployment of either."""
    async with running_coordinator(tmp_path / "data") as running:
        async with running.channel() as channel:
            stub = inventory_stub(channel)
            for name in ("web", "shop"):
                await stub.CreateApplication(
                    inventory_pb2.CreateApplicationRequest(name=name), metadata=running.admin
                )
                await stub.CreateDeploymentGroup(group(name), metadata=running.admin)
        yield running


def group(application: str, name: str = "prod") -> inventory_pb2.CreateDeploymentGroupRequest:
    return inventory_pb2.CreateDeploymentGroupRequest(
        application_name=application,
        name=name,
        selection=inventory_pb2.Selection(tag_filters=[inventory_pb2.TagFilter(key="role", value=name)]),
    )


def options(application: str, **fields: object) -> deployments_pb2.DeploymentOptions:
    return deployments_pb2.DeploymentOptions(
        application_name=application,
        deployment_group_name="prod",
        revision=types_pb2.RevisionLocation(
            url=types_pb2.UrlLocation(
                url="https://example.org/a.tgz", bundle_type=types_pb2.BUNDLE_TYPE_TGZ, sha256=SHA
            )
        ),
        **fields,  # type: ignore[arg-type]  # as the test says
    )


async def deploy(coordinator: RunningCoordinator, who: Metadata, application: str, **fields: object) -> str:
    async with coordinator.channel() as channel:
        request = deployments_pb2.CreateDeploymentRequest(options=options(application, **fields))
        answer = await deployments_stub(channel).CreateDeployment(request, metadata=who)
    return answer.deployment_id


async def denied(call: Awaitable[object]) -> faults_pb2.Fault:
    code, fault = await refusal(call)
    assert (code, fault.reason) == (grpc.StatusCode.PERMISSION_DENIED, "AccessDeniedException")
    return fault


@pytest.mark.req("CP-433", "PF-230")
async def test_a_new_user_may_nothing_but_know_who_it_is(coordinator: RunningCoordinator) -> None:
    ann = await person(coordinator, "ann")
    async with coordinator.channel() as channel:
        inventory, identity = inventory_stub(channel), identity_stub(channel)
        fault = await denied(
            inventory.GetApplication(inventory_pb2.GetApplicationRequest(name="web"), metadata=ann)
        )
        await denied(inventory.ListApplications(inventory_pb2.ListApplicationsRequest(), metadata=ann))
        await denied(identity.GetUser(identity_pb2.GetUserRequest(name="admin"), metadata=ann))
        me = await identity.WhoAmI(identity_pb2.WhoAmIRequest(), metadata=ann)
    assert (me.user.name, list(me.statements)) == ("ann", [])
    # What was asked, on what, and the way out.
    arn = "arn:aws:codedeploy:local:000000000000:application:web"
    assert dict(fault.details) == {"action": "codedeploy:GetApplication", "resource": arn}
    for part in ("'ann'", "codedeploy:GetApplication", arn, "ferryman role grant viewer --user ann"):
        assert part in fault.message


@pytest.mark.req("CP-434", "CP-438", "PF-233")
async def test_a_role_reaches_as_far_as_its_grant(coordinator: RunningCoordinator) -> None:
    build = await person(coordinator, "build", "ci", on=WEB)
    deployment_id = await deploy(coordinator, build, "web")
    async with coordinator.channel() as channel:
        stub = deployments_stub(channel)
        found = await stub.GetDeployment(
            deployments_pb2.GetDeploymentRequest(deployment_id=deployment_id), metadata=build
        )
        assert found.deployment.application_name == "web"
        fault = await denied(
            stub.StopDeployment(
                deployments_pb2.StopDeploymentRequest(deployment_id=deployment_id), metadata=build
            )
        )
    assert "codedeploy:StopDeployment" in fault.message
    await denied(deploy(coordinator, build, "shop"))


@pytest.mark.req("CP-435", "PF-237")
@pytest.mark.parametrize("missing", ["config", "config by name", "revision", "nothing"])
async def test_deploying_needs_configuration_and_revision_as_well(
    coordinator: RunningCoordinator, missing: str
) -> None:
    statements = [allow("codedeploy:CreateDeployment")]
    if not missing.startswith("config"):
        statements.append(
            allow("codedeploy:GetDeploymentConfig", on=["deploymentconfig/CodeDeployDefault.*"])
        )
    if missing != "revision":
        # Either of the two will do.
        right = "GetApplicationRevision" if missing == "nothing" else "RegisterApplicationRevision"
        statements.append(allow(f"codedeploy:{right}", on=["application:web"]))
    await role_with(coordinator, "narrow", *statements)
    ann = await person(coordinator, "ann", "narrow")
    if missing == "nothing":
        assert await deploy(coordinator, ann, "web")
        return
    named = {"deployment_config_name": "CodeDeployDefault.AllAtOnce"} if missing == "config by name" else {}
    fault = await denied(deploy(coordinator, ann, "web", **named))
    lacking = {
        "config": "deploymentconfig:CodeDeployDefault.OneAtATime",
        "config by name": "deploymentconfig:CodeDeployDefault.AllAtOnce",
        "revision": "application:web",
    }
    assert fault.details["resource"].endswith(lacking[missing])


@pytest.mark.req("CP-214", "T81")
async def test_overriding_alarms_needs_the_right_to_change_the_group(coordinator: RunningCoordinator) -> None:
    ann = await person(coordinator, "ann", "deployer")
    override = inventory_pb2.AlarmConfiguration(enabled=False)
    fault = await denied(deploy(coordinator, ann, "web", override_alarms=override))
    assert fault.details["action"] == "codedeploy:UpdateDeploymentGroup"
    (record,) = await records(coordinator, user="ann", denied=True)
    assert (record.event_name, record.error_code) == ("CreateDeployment", "AccessDeniedException")
    await role_with(
        coordinator, "group-keeper", allow("codedeploy:UpdateDeploymentGroup", on=["deploymentgroup:web/*"])
    )
    async with coordinator.channel() as channel:
        request = identity_pb2.GrantRoleRequest(user="ann", role="group-keeper")
        await identity_stub(channel).GrantRole(request, metadata=coordinator.admin)
    assert await deploy(coordinator, ann, "web", override_alarms=override)


@pytest.mark.req("CP-436", "PF-238")
async def test_renaming_needs_the_right_on_both_names(coordinator: RunningCoordinator) -> None:
    await role_with(
        coordinator,
        "renamer",
        allow(
            "codedeploy:Update*",
            on=[
                "application:web",
                "application:web2",
                "deploymentgroup:web/prod",
                "deploymentgroup:web/live",
            ],
        ),
    )
    ann = await person(coordinator, "ann", "renamer")
    async with coordinator.channel() as channel:
        stub = inventory_stub(channel)

        def rename_group(new_name: str) -> Awaitable[object]:
            request = inventory_pb2.UpdateDeploymentGroupRequest(
                application_name="web", name="prod", new_name=new_name
            )
            return stub.UpdateDeploymentGroup(request, metadata=ann)

        def rename(name: str, new_name: str) -> Awaitable[object]:
            request = inventory_pb2.UpdateApplicationRequest(name=name, new_name=new_name)
            return stub.UpdateApplication(request, metadata=ann)

        assert (await denied(rename_group("other"))).details["resource"].endswith("deploymentgroup:web/other")
        await rename_group("live")
        assert (await denied(rename("web", "other"))).details["resource"].endswith("application:other")
        assert (await denied(rename("shop", "web2"))).details["resource"].endswith("application:shop")
        await rename("web", "web2")


@pytest.mark.req("CP-437", "PF-239")
async def test_the_right_to_list_a_group_s_deployments_counts_when_the_group_is_named(
    coordinator: RunningCoordinator,
) -> None:
    for application in ("web", "shop"):
        await deploy(coordinator, coordinator.admin, application)
    await role_with(
        coordinator, "lister", allow("codedeploy:ListDeployments", on=["deploymentgroup:web/prod"])
    )
    ann = await person(coordinator, "ann", "lister")
    bob = await person(coordinator, "bob", "viewer", on=["deploymentgroup:web/*"])
    async with coordinator.channel() as channel:
        stub = deployments_stub(channel)

        async def listed(who: Metadata, application: str = "") -> list[str]:
            request = deployments_pb2.ListDeploymentsRequest(
                application_name=application, deployment_group_name="prod" if application else ""
            )
            answer = await stub.ListDeployments(request, metadata=who)
            return sorted(one.application_name for one in answer.deployments)

        assert await listed(ann, "web") == ["web"]
        await denied(listed(ann))
        await denied(listed(ann, "shop"))
        # Who may see some is shown those.
        assert await listed(bob) == ["web"]
        assert await listed(coordinator.admin) == ["shop", "web"]


@pytest.mark.req("PF-240")
async def test_lists_show_what_the_caller_may_see(coordinator: RunningCoordinator) -> None:
    ann = await person(coordinator, "ann", "viewer", on=["application:w*", "deploymentgroup:web/prod"])
    async with coordinator.channel() as channel:
        stub = inventory_stub(channel)
        await stub.CreateDeploymentGroup(group("web", "test"), metadata=coordinator.admin)
        applications = await stub.ListApplications(inventory_pb2.ListApplicationsRequest(), metadata=ann)
        assert [one.name for one in applications.applications] == ["web"]
        groups = await stub.ListDeploymentGroups(
            inventory_pb2.ListDeploymentGroupsRequest(application_name="web"), metadata=ann
        )
        assert [one.name for one in groups.deployment_groups] == ["prod"]
        configs = await stub.ListDeploymentConfigs(inventory_pb2.ListDeploymentConfigsRequest(), metadata=ann)
        assert list(configs.deployment_configs) == []


async def test_a_page_token_does_not_name_what_it_ends_at(coordinator: RunningCoordinator) -> None:
    async with coordinator.channel() as channel:
        request = inventory_pb2.ListApplicationsRequest()
        request.page.size = 1
        answer = await inventory_stub(channel).ListApplications(request, metadata=coordinator.admin)
    token = answer.next_page_token
    assert answer.applications[0].name == "shop"
    assert b"shop" not in base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))


async def test_what_does_not_exist_is_not_told_from_what_may_not_be_seen(
    coordinator: RunningCoordinator,
) -> None:
    hidden = await deploy(coordinator, coordinator.admin, "shop")
    ann = await person(coordinator, "ann", "operator", on=WEB)
    everywhere = await person(coordinator, "bob", "operator")
    async with coordinator.channel() as channel:
        stub = deployments_stub(channel)
        texts = []
        for deployment_id in (hidden, "d-ABCDEFGHI"):
            request = deployments_pb2.GetDeploymentRequest(deployment_id=deployment_id)
            fault = await denied(stub.GetDeployment(request, metadata=ann))
            texts.append(fault.message.replace(deployment_id, "ID"))
            assert "shop" not in fault.message
        assert len(set(texts)) == 1
        request = deployments_pb2.GetDeploymentRequest(deployment_id="d-ABCDEFGHI")
        code, _ = await refusal(stub.GetDeployment(request, metadata=everywhere))
        assert code is grpc.StatusCode.NOT_FOUND
        inventory = inventory_stub(channel)
        for name in ("shop", "nothing"):
            fault = await denied(
                inventory.GetApplication(inventory_pb2.GetApplicationRequest(name=name), metadata=ann)
            )
            assert fault.message.count(name) == 2


@pytest.mark.req("PF-231")
async def test_a_deny_wins_over_the_administrator_s_role(coordinator: RunningCoordinator) -> None:
    await role_with(coordinator, "freeze", deny("codedeploy:CreateDeployment", on=["deploymentgroup:*/prod"]))
    ann = await person(coordinator, "ann", "admin")
    async with coordinator.channel() as channel:
        request = identity_pb2.GrantRoleRequest(user="ann", role="freeze")
        await identity_stub(channel).GrantRole(request, metadata=coordinator.admin)
    fault = await denied(deploy(coordinator, ann, "web"))
    assert "role freeze forbids it" in fault.message


@pytest.mark.req("PF-231", "PF-240")
async def test_nobody_gets_at_what_is_denied_by_asking_for_everything(
    coordinator: RunningCoordinator,
) -> None:
    await role_with(coordinator, "no-shop", deny("*", on=["deploymentgroup:shop/*", "instance/db-*"]))
    ann = await person(coordinator, "ann", "operator")
    async with coordinator.channel() as channel:
        await identity_stub(channel).GrantRole(
            identity_pb2.GrantRoleRequest(user="ann", role="no-shop"), metadata=coordinator.admin
        )
        stub = events_pb2_grpc.EventServiceStub(channel)
        for application in ("", "shop"):
            request = events_pb2.WatchEventsRequest(last=1, application_name=application)
            fault = await denied(stub.WatchEvents(request, metadata=ann).read())
            assert "role no-shop forbids it" in fault.message
        request = events_pb2.WatchEventsRequest(last=1, application_name="web")
        assert await stub.WatchEvents(request, metadata=ann).read() is not grpc.aio.EOF
        await denied(stub.ReplayDeliveries(events_pb2.ReplayDeliveriesRequest(all_dead=True), metadata=ann))
        matching = inventory_pb2.ListMatchingInstancesRequest(
            application_name="web", deployment_group_name="prod"
        )
        await denied(inventory_stub(channel).ListMatchingInstances(matching, metadata=ann))


@pytest.mark.req("PF-240")
async def test_groups_of_all_applications_are_shown_as_those_of_one_are(
    coordinator: RunningCoordinator,
) -> None:
    await role_with(coordinator, "no-shop", deny("*", on=["deploymentgroup:shop/*"]))
    ann = await person(coordinator, "ann", "viewer")
    bob = await person(coordinator, "bob", "ci", on=WEB)
    cid = await person(coordinator, "cid", "ci", on=["deploymentgroup:web/prod"])
    async with coordinator.channel() as channel:
        await identity_stub(channel).GrantRole(
            identity_pb2.GrantRoleRequest(user="ann", role="no-shop"), metadata=coordinator.admin
        )
        stub = inventory_stub(channel)
        for who in (ann, bob, cid):
            for application in ("", "web"):
                request = inventory_pb2.ListDeploymentGroupsRequest(application_name=application)
                listed = await stub.ListDeploymentGroups(request, metadata=who)
                assert [(one.application_name, one.name) for one in listed.deployment_groups] == [
                    ("web", "prod")
                ]
        # Whether there is an application is told to nobody who may see nothing of it.
        for who in (bob, cid):
            told = [
                await denied(
                    stub.ListDeploymentGroups(
                        inventory_pb2.ListDeploymentGroupsRequest(application_name=application), metadata=who
                    )
                )
                for application in ("shop", "none")
            ]
            assert told[0].message.replace("shop", "none") == told[1].message
        await denied(
            stub.ListDeploymentGroups(
                inventory_pb2.ListDeploymentGroupsRequest(application_name="shop"), metadata=ann
            )
        )
        events = events_pb2_grpc.EventServiceStub(channel)
        lim = await person(coordinator, "lim", "viewer", on=WEB)
        for application in ("shop", "none"):
            await denied(
                events.ListNotificationRules(
                    events_pb2.ListNotificationRulesRequest(application_name=application), metadata=lim
                )
            )


async def test_a_refusal_does_not_tell_the_name_behind_an_id(coordinator: RunningCoordinator) -> None:
    other = await coordinator.enrol("db-1")
    ann = await person(coordinator, "ann", "operator", on=["instance/web-*"])
    async with coordinator.channel() as channel:
        told = [
            await denied(
                inventory_stub(channel).GetInstance(
                    inventory_pb2.GetInstanceRequest(instance=text), metadata=ann
                )
            )
            for text in (other.instance_id, "mi-00000000000000000")
        ]
    assert "db-1" not in str(told[0])
    assert told[0].message.replace(other.instance_id, "mi-00000000000000000") == told[1].message


async def test_instances_are_known_by_name_and_id(coordinator: RunningCoordinator) -> None:
    mine, other = await coordinator.enrol("web-1"), await coordinator.enrol("db-1")
    ann = await person(coordinator, "ann", "operator", on=["instance/web-*"])
    async with coordinator.channel() as channel:
        stub = inventory_stub(channel)
        for text in ("web-1", mine.instance_id):
            request = inventory_pb2.GetInstanceRequest(instance=text)
            assert (await stub.GetInstance(request, metadata=ann)).instance.name == "web-1"
        for text in ("db-1", other.instance_id, "nobody"):
            await denied(stub.GetInstance(inventory_pb2.GetInstanceRequest(instance=text), metadata=ann))
        listed = await stub.ListInstances(inventory_pb2.ListInstancesRequest(), metadata=ann)
        assert [one.name for one in listed.instances] == ["web-1"]
        tags = [types_pb2.Tag(key="a", value="b")]
        await stub.TagInstance(inventory_pb2.TagInstanceRequest(instance="web-1", add=tags), metadata=ann)
        await denied(
            stub.TagInstance(inventory_pb2.TagInstanceRequest(instance="db-1", add=tags), metadata=ann)
        )


async def test_stored_secrets_are_used_by_whoever_may_use_them(coordinator: RunningCoordinator) -> None:
    ann = await person(coordinator, "ann", "deployer", on=[*WEB, "github-token/web-*", "s3/builds/web/*"])
    async with coordinator.channel() as channel:
        inventory, tokens, bundles = inventory_stub(channel), tokens_stub(channel), bundles_stub(channel)

        def register(token_name: str) -> Awaitable[object]:
            location = types_pb2.GitHubLocation(repository="o/r", commit_id="ab" * 20, token_name=token_name)
            request = inventory_pb2.RegisterRevisionRequest(
                application_name="web", location=types_pb2.RevisionLocation(github=location)
            )
            return inventory.RegisterRevision(request, metadata=ann)

        fault = await denied(register("shop-token"))
        assert fault.details["action"] == "ferryman:UseGitHubToken"
        put = tokens_pb2.PutGitHubTokenRequest(name="web-token", token="github_pat_" + "a" * 20)
        await tokens.PutGitHubToken(put, metadata=coordinator.admin)
        await register("web-token")
        await denied(tokens.PutGitHubToken(put, metadata=ann))
        upload = bundles_pb2.PrepareS3UploadRequest(bucket="builds", key="shop/a.zip", size_bytes=1)
        assert (
            (await denied(bundles.PrepareS3Upload(upload, metadata=ann)))
            .details["resource"]
            .endswith("s3/builds/shop/a.zip")
        )


async def test_a_registrar_of_some_names_makes_join_tokens_for_those_alone(
    coordinator: RunningCoordinator,
) -> None:
    ann = await person(coordinator, "ann", "registrar", on=["instance/edge-*"])
    async with coordinator.channel() as channel:
        stub = tokens_stub(channel)
        named = tokens_pb2.CreateJoinTokenRequest(instance_name="edge-7")
        assert (await stub.CreateJoinToken(named, metadata=ann)).token
        for request in (
            tokens_pb2.CreateJoinTokenRequest(),
            tokens_pb2.CreateJoinTokenRequest(instance_name="web-1"),
        ):
            await denied(stub.CreateJoinToken(request, metadata=ann))


async def test_whoever_hands_out_roles_can_be_limited_to_some(coordinator: RunningCoordinator) -> None:
    await role_with(coordinator, "hr", allow("ferryman:GrantRole", on=["user/*", "role/viewer"]))
    ann = await person(coordinator, "ann", "hr")
    async with coordinator.channel() as channel:
        stub = identity_stub(channel)
        await stub.GrantRole(identity_pb2.GrantRoleRequest(user="ann", role="viewer"), metadata=ann)
        fault = await denied(
            stub.GrantRole(identity_pb2.GrantRoleRequest(user="ann", role="admin"), metadata=ann)
        )
    assert fault.details["resource"].endswith("role/admin")


async def test_an_administrator_of_an_application_is_none_of_users(coordinator: RunningCoordinator) -> None:
    ann = await person(coordinator, "ann", "admin", on=WEB)
    async with coordinator.channel() as channel:
        stub = identity_stub(channel)
        await denied(stub.CreateUser(identity_pb2.CreateUserRequest(name="eve"), metadata=ann))
        await denied(stub.GrantRole(identity_pb2.GrantRoleRequest(user="ann", role="admin"), metadata=ann))
        await denied(
            stub.CreateAccessToken(identity_pb2.CreateAccessTokenRequest(user="admin"), metadata=ann)
        )


@pytest.mark.req("PF-244")
async def test_a_call_can_be_simulated(coordinator: RunningCoordinator) -> None:
    ann = await person(coordinator, "ann", "deployer", on=WEB)
    async with coordinator.channel() as channel:
        stub = identity_stub(channel)

        async def check(
            who: Metadata, user: str, action: str, resource: str
        ) -> identity_pb2.CheckAccessResponse:
            request = identity_pb2.CheckAccessRequest(user=user, action=action, resource=resource)
            return await stub.CheckAccess(request, metadata=who)

        yes = await check(coordinator.admin, "ann", "codedeploy:CreateDeployment", "deploymentgroup:web/prod")
        assert (yes.is_allowed, yes.cause) == (True, identity_pb2.ACCESS_CAUSE_ALLOWED)
        assert yes.origin == f"role deployer on {', '.join(sorted(WEB))}"
        no = await check(ann, "", "codedeploy:StopDeployment", "deploymentgroup:web/prod")
        assert (no.is_allowed, no.cause) == (False, identity_pb2.ACCESS_CAUSE_NOT_ALLOWED)
        assert "ferryman role grant operator --user ann --on 'deploymentgroup:web/prod'" in no.explanation
        await denied(check(ann, "admin", "codedeploy:StopDeployment", "*"))
        for action, resource in (("codedeploy:Nonsense", "*"), ("codedeploy:GetDeployment", "nonsense")):
            code, _ = await refusal(check(coordinator.admin, "ann", action, resource))
            assert code is grpc.StatusCode.INVALID_ARGUMENT
        me = await stub.WhoAmI(identity_pb2.WhoAmIRequest(), metadata=ann)
    (statement,) = me.statements
    assert "codedeploy:CreateDeployment" in statement.actions
    assert list(statement.within) == sorted(WEB)
