"""The typed asynchronous client: one TLS channel, one stub per service, errors of our own.

`Client.call` takes a stub's method and a request, so that everything in the wire contract can be called without a
wrapper of its own; what needs more than one call (push, watch to the end) has a verb here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import grpc

from ferryman.channel import UPLOAD_PART_LIMIT, channel_options
from ferryman.v1 import (
    alarms_pb2_grpc,
    audit_pb2_grpc,
    bundles_pb2,
    bundles_pb2_grpc,
    deployments_pb2,
    deployments_pb2_grpc,
    events_pb2,
    events_pb2_grpc,
    identity_pb2_grpc,
    instances_pb2_grpc,
    inventory_pb2,
    inventory_pb2_grpc,
    resources_pb2_grpc,
    scaling_pb2,
    scaling_pb2_grpc,
    tokens_pb2_grpc,
    types_pb2,
)
from ferryman_client.bundle import Bundle
from ferryman_client.errors import BundleProblem, CoordinatorFault, Unreachable, from_rpc_error
from ferryman_client.profiles import Profile
from ferryman_client.put import put_file

CALL_TIMEOUT_SECONDS = 30.0
# A watch that lost its coordinator tries again after these pauses, then every last one.
RECONNECT_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)

FINAL_STATUSES = frozenset(
    (
        types_pb2.DEPLOYMENT_STATUS_SUCCEEDED,
        types_pb2.DEPLOYMENT_STATUS_FAILED,
        types_pb2.DEPLOYMENT_STATUS_STOPPED,
    )
)

Request = TypeVar("Request")
Response = TypeVar("Response")


class Client:
    """A coordinator, as one caller sees it. Use as an asynchronous context manager, inside the loop that calls it.

    Every call raises `ferryman_client.errors.ClientError` of the fitting kind.
    """

    def __init__(self, profile: Profile) -> None:
        """Raises ProfileError when the profile or its files cannot be used. Connects with the first call."""
        self.address = profile.address()
        credentials = grpc.composite_channel_credentials(
            grpc.ssl_channel_credentials(root_certificates=profile.ca()),
            grpc.access_token_call_credentials(profile.token()),
        )
        self._channel = grpc.aio.secure_channel(self.address, credentials, options=channel_options())
        self.deployments: deployments_pb2_grpc.DeploymentServiceAsyncStub
        self.deployments = deployments_pb2_grpc.DeploymentServiceStub(self._channel)
        self.inventory: inventory_pb2_grpc.InventoryServiceAsyncStub
        self.inventory = inventory_pb2_grpc.InventoryServiceStub(self._channel)
        self.instances: instances_pb2_grpc.InstanceServiceAsyncStub
        self.instances = instances_pb2_grpc.InstanceServiceStub(self._channel)
        self.events: events_pb2_grpc.EventServiceAsyncStub
        self.events = events_pb2_grpc.EventServiceStub(self._channel)
        self.alarms: alarms_pb2_grpc.AlarmServiceAsyncStub
        self.alarms = alarms_pb2_grpc.AlarmServiceStub(self._channel)
        self.bundles: bundles_pb2_grpc.BundleServiceAsyncStub
        self.bundles = bundles_pb2_grpc.BundleServiceStub(self._channel)
        self.identity: identity_pb2_grpc.IdentityServiceAsyncStub
        self.identity = identity_pb2_grpc.IdentityServiceStub(self._channel)
        self.audit: audit_pb2_grpc.AuditServiceAsyncStub
        self.audit = audit_pb2_grpc.AuditServiceStub(self._channel)
        self.resources: resources_pb2_grpc.ResourceServiceAsyncStub
        self.resources = resources_pb2_grpc.ResourceServiceStub(self._channel)
        self.scaling: scaling_pb2_grpc.AutoScalingServiceAsyncStub
        self.scaling = scaling_pb2_grpc.AutoScalingServiceStub(self._channel)
        self.tokens: tokens_pb2_grpc.TokenServiceAsyncStub
        self.tokens = tokens_pb2_grpc.TokenServiceStub(self._channel)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._channel.close()

    async def call(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[Request, Response],
        request: Request,
        *,
        timeout: float = CALL_TIMEOUT_SECONDS,
    ) -> Response:
        """Returns the answer to one call; `timeout` in seconds. Raises ClientError."""
        try:
            return await method(request, timeout=timeout)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error, self.address) from error

    async def stream(
        self, method: grpc.aio.UnaryStreamMultiCallable[Request, Response], request: Request
    ) -> AsyncIterator[Response]:
        """Yields the answers of a streaming call until the coordinator ends it. Raises ClientError."""
        call = method(request)
        try:
            async for response in call:
                yield response
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error, self.address) from error
        finally:
            call.cancel()

    async def watch(
        self, deployment_id: str, after_sequence: int = 0, *, patience_seconds: float = 600.0
    ) -> AsyncIterator[deployments_pb2.WatchDeploymentResponse]:
        """Yields what is stored about a deployment, then what follows, until it is final.

        Outlives the coordinator: after a lost stream it goes on behind the last change that was seen. Raises
        Unreachable when there was no answer for `patience_seconds`, NotFoundError for an unknown deployment.
        """
        request = deployments_pb2.WatchDeploymentRequest(
            deployment_id=deployment_id, after_sequence=after_sequence
        )
        async for change in self._resumed(self.deployments.WatchDeployment, request, patience_seconds):
            request.after_sequence = max(request.after_sequence, change.sequence)
            yield change

    async def watch_events(
        self, request: events_pb2.WatchEventsRequest, *, patience_seconds: float = 600.0
    ) -> AsyncIterator[events_pb2.WatchEventsResponse]:
        """Yields what the request asks for, signs of life included, each event once.

        Outlives the coordinator: after a lost stream it goes on behind the last position that was seen. Raises
        Unreachable when there was no answer for `patience_seconds`.
        """
        async for one in self._resumed(self.events.WatchEvents, request, patience_seconds):
            request.after_position = one.position
            request.last = 0
            yield one

    async def lifecycle_answer(
        self, auto_scaling_group: str, token: str, *, patience_seconds: float = 600.0
    ) -> scaling_pb2.LifecycleAction:
        """Returns the action once it has its answer, however long that takes.

        Outlives the coordinator. Raises Unreachable when there was no answer at all for `patience_seconds`,
        NotFoundError for an unknown action.
        """
        request = scaling_pb2.WatchLifecycleActionRequest(auto_scaling_group=auto_scaling_group, token=token)
        while True:
            async for one in self._resumed(self.scaling.WatchLifecycleAction, request, patience_seconds):
                if one.action.result:
                    return one.action
            await asyncio.sleep(RECONNECT_SECONDS[0])

    async def _resumed(
        self,
        method: grpc.aio.UnaryStreamMultiCallable[Request, Response],
        request: Request,
        patience_seconds: float,
    ) -> AsyncIterator[Response]:
        """Yields the answers of a call that is made again whenever its stream is lost; the caller keeps `request` at
        what it has seen. Raises Unreachable or CoordinatorFault when there was no answer for `patience_seconds`.
        """
        lost_at: float | None = None
        attempt = 0
        while True:
            try:
                async for response in self.stream(method, request):
                    lost_at, attempt = None, 0
                    yield response
                return
            except (Unreachable, CoordinatorFault):
                now = asyncio.get_running_loop().time()
                lost_at = lost_at or now
                if now - lost_at > patience_seconds:
                    raise
            await asyncio.sleep(RECONNECT_SECONDS[min(attempt, len(RECONNECT_SECONDS) - 1)])
            attempt += 1

    async def push(
        self, application_name: str, bundle: Bundle, description: str = ""
    ) -> inventory_pb2.Revision:
        """Stores the bundle at the coordinator, unless it is there, and registers it as a revision."""
        location = await self.upload(bundle)
        request = inventory_pb2.RegisterRevisionRequest(
            application_name=application_name,
            location=types_pb2.RevisionLocation(bundle=location),
            description=description,
        )
        response = await self.call(self.inventory.RegisterRevision, request)
        return response.revision

    async def push_to_s3(
        self, application_name: str, bundle: Bundle, bucket: str, key: str, description: str = ""
    ) -> inventory_pb2.Revision:
        """Uploads the bundle to an object store with an address of the coordinator's, and registers what is there.

        With version, ETag and SHA-256, so that exactly this content is deployed, wherever (AG-517, AG-525).
        """
        wish = bundles_pb2.PrepareS3UploadRequest(bucket=bucket, key=key, size_bytes=bundle.size_bytes)
        place = await self.call(self.bundles.PrepareS3Upload, wish)
        stored = await asyncio.to_thread(put_file, place.url, bundle.path, dict(place.headers))
        location = types_pb2.S3Location(
            bucket=bucket,
            key=key,
            version="" if stored.version == "null" else stored.version,
            e_tag=stored.e_tag,
            bundle_type=bundle.bundle_type,
            sha256=bundle.sha256,
        )
        request = inventory_pb2.RegisterRevisionRequest(
            application_name=application_name,
            location=types_pb2.RevisionLocation(s3=location),
            description=description,
        )
        return (await self.call(self.inventory.RegisterRevision, request)).revision

    async def upload(self, bundle: Bundle) -> types_pb2.BundleLocation:
        """Streams the bundle to the coordinator's store in pieces; sends nothing when its digest is known there."""
        known = await self.call(self.bundles.FindBundle, bundles_pb2.FindBundleRequest(sha256=bundle.sha256))
        if known.is_known:
            return known.bundle
        call = self.bundles.UploadBundle()
        try:
            await _send(call, bundle)
            response = await call
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error, self.address) from error
        finally:
            call.cancel()
        return response.bundle


async def _send(
    call: grpc.aio.StreamUnaryCall[bundles_pb2.UploadBundleRequest, bundles_pb2.UploadBundleResponse],
    bundle: Bundle,
) -> None:
    header = bundles_pb2.UploadHeader(
        sha256=bundle.sha256, size_bytes=bundle.size_bytes, bundle_type=bundle.bundle_type
    )
    try:
        await call.write(bundles_pb2.UploadBundleRequest(header=header))
        # Comes when the coordinator wants the content: one that refuses is not sent it in vain.
        await call.initial_metadata()
        async for content in _chunks(bundle.path):
            await call.write(bundles_pb2.UploadBundleRequest(content=content))
        await call.done_writing()
    except asyncio.InvalidStateError:
        # The coordinator has answered already: the caller reads why.
        return


async def _chunks(path: Path) -> AsyncIterator[bytes]:
    try:
        file = await asyncio.to_thread(path.open, "rb")
        with file:
            while content := await asyncio.to_thread(file.read, UPLOAD_PART_LIMIT):
                yield content
    except OSError as problem:
        raise BundleProblem(f"cannot read {path}: {problem.strerror}") from problem
