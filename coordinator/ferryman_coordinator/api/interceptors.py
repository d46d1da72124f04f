"""Around every call: who makes it, how its end is told, and that it is counted. One interceptor, so one order."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Protocol

import grpc
import grpc.aio
import structlog
from google.protobuf.message import DecodeError

from ferryman_coordinator.api.answers import Answer, answer_to
from ferryman_coordinator.api.auth import Authenticator
from ferryman_coordinator.errors import Invalid

log = structlog.get_logger(__name__)

Context = grpc.aio.ServicerContext[Any, Any]
Handler = grpc.RpcMethodHandler[Any, Any]


class CallCounter(Protocol):
    """Hears of the end of each call."""

    def call_ended(self, method: str, code: str, seconds: float) -> None: ...


class _Malformed:
    """Stands for a request that is no such message."""


class Gate(grpc.aio.ServerInterceptor):
    """Lets a call through to its servicer only for a caller that may make it, and ends it in words."""

    def __init__(self, authenticator: Authenticator, counter: CallCounter) -> None:
        self._authenticator = authenticator
        self._counter = counter
        self._wrapped: dict[str, Handler] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        method = handler_call_details.method
        wrapped = self._wrapped.get(method)
        if wrapped is None:
            handler = await continuation(handler_call_details)
            if handler is None:
                return handler
            wrapped = self._wrapped[method] = self._wrap(method, handler)
        return wrapped

    def _wrap(self, method: str, handler: Handler) -> Handler:
        behaviour: Any = (
            handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
        )

        async def unary(request: Any, context: Context) -> Any:
            async with _Call(self, method, context):
                return await behaviour(_checked(request, handler.request_streaming), context)

        async def stream(request: Any, context: Context) -> None:
            async with _Call(self, method, context):
                given = _checked(request, handler.request_streaming)
                if inspect.isasyncgenfunction(behaviour):
                    async for answer in behaviour(given, context):
                        await context.write(answer)
                else:
                    await behaviour(given, context)

        make = {
            (False, False): grpc.unary_unary_rpc_method_handler,
            (False, True): grpc.unary_stream_rpc_method_handler,
            (True, False): grpc.stream_unary_rpc_method_handler,
            (True, True): grpc.stream_stream_rpc_method_handler,
        }[bool(handler.request_streaming), bool(handler.response_streaming)]
        return make(
            stream if handler.response_streaming else unary,
            request_deserializer=_tolerant(handler.request_deserializer),
            response_serializer=handler.response_serializer,
        )

    async def begin(self, method: str, context: Context) -> None:
        await self._authenticator.admit(method, context)

    def ended(self, method: str, code: str, began: float) -> None:
        self._counter.call_ended(method, code, time.monotonic() - began)


class _Call:
    """One call, from the question who makes it to how it ends."""

    def __init__(self, gate: Gate, method: str, context: Context) -> None:
        self._gate = gate
        self._method = method
        self._context = context
        self._began = time.monotonic()

    async def __aenter__(self) -> None:
        try:
            await self._gate.begin(self._method, self._context)
        except Exception as error:
            await self._end(error)

    async def __aexit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is None:
            self._gate.ended(self._method, "OK", self._began)
        elif isinstance(error, (asyncio.CancelledError, grpc.aio.AbortError)):
            self._gate.ended(self._method, "CANCELLED", self._began)
        elif isinstance(error, Exception):
            await self._end(error)

    async def _end(self, error: Exception) -> None:
        answer = answer_to(error, self._method)
        self._gate.ended(self._method, answer.code.name, self._began)
        _log_refusal(self._method, self._context, answer)
        await self._context.abort(answer.code, answer.status_text, answer.trailing_metadata)


def _log_refusal(method: str, context: Context, answer: Answer) -> None:
    if answer.code in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED):
        log.warning("api.caller_refused", method=method, peer=context.peer(), reason=answer.reason)
    else:
        log.debug("api.refused", method=method, reason=answer.reason, message=answer.message)


def _tolerant(deserialize: Callable[[bytes], Any] | None) -> Callable[[bytes], Any] | None:
    """gRPC would end the call with a status that says nothing, before anybody could say more."""
    if deserialize is None:
        return None

    def tolerant(source: bytes) -> Any:
        try:
            return deserialize(source)
        except DecodeError:
            return _Malformed

    return tolerant


def _checked(request: Any, is_stream: bool) -> Any:
    if is_stream:
        return _checked_stream(request)
    _refuse_malformed(request)
    return request


async def _checked_stream(requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async for request in requests:
        _refuse_malformed(request)
        yield request


def _refuse_malformed(request: object) -> None:
    if request is _Malformed:
        raise Invalid(
            "MalformedRequest", "the request is no message of this call: client and coordinator differ"
        )
