"""Around every call: who makes it, how its end is told, and that it is counted. One interceptor, so one order."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
from typing import TYPE_CHECKING, Any, Protocol

import grpc
import grpc.aio
import structlog
from google.protobuf.message import DecodeError

from ferryman_coordinator.api.answers import Answer, answer_to
from ferryman_coordinator.api.auth import Authenticator, Context
from ferryman_coordinator.errors import Invalid, StreamEnded

log = structlog.get_logger(__name__)

if TYPE_CHECKING:
    # Generic for the type checker only.
    Handler = grpc.RpcMethodHandler[Any, Any]


_ENDING = StreamEnded("the coordinator ends: connect again")


class CallCounter(Protocol):
    """Hears of the end of each call."""

    def call_ended(self, method: str, code: str, seconds: float | None) -> None:
        """`seconds` None for a stream, whose length says nothing."""
        ...


class _Malformed:
    """Stands for a request that is no such message."""


class Gate(grpc.aio.ServerInterceptor):
    """Lets a call through to its servicer only for a caller that may make it, and ends it in words."""

    def __init__(self, authenticator: Authenticator, counter: CallCounter) -> None:
        self._authenticator = authenticator
        self._counter = counter
        self._wrapped: dict[str, Handler] = {}
        # Open streams of answers, with their method.
        self._streams: dict[asyncio.Task[Any], str] = {}
        self._is_ending = False

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

    async def end_streams(self, *, but: Collection[str] = ()) -> None:
        """Ends the streams of answers that are open, but those methods, in a way that tells clients to try again.

        For the end of the process.
        """
        self._is_ending = True
        tasks = [task for task, method in self._streams.items() if method not in but]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _wrap(self, method: str, handler: Handler) -> Handler:
        behaviour: Any = (
            handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
        )

        async def unary(request: Any, context: Context) -> Any:
            async with self._call(method, context, is_timed=not handler.request_streaming):
                return await behaviour(_checked(request, handler.request_streaming), context)

        async def stream(request: Any, context: Context) -> None:
            async with self._call(method, context, is_stream=True):
                given = _checked(request, handler.request_streaming)
                if not inspect.isasyncgenfunction(behaviour):
                    await behaviour(given, context)
                    return
                async with contextlib.aclosing(behaviour(given, context)) as answers:
                    async for answer in answers:
                        await context.write(answer)

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

    @contextlib.asynccontextmanager
    async def _call(
        self, method: str, context: Context, *, is_stream: bool = False, is_timed: bool = False
    ) -> AsyncIterator[None]:
        """One call, from the question who makes it to how it ends."""
        began, code = time.monotonic(), "OK"
        task = asyncio.current_task()
        try:
            await self._authenticator.admit(method, context)
            with self._noted(task if is_stream else None, method):
                yield
        except asyncio.CancelledError:
            code = "CANCELLED"
            if self._is_ending and task is not None:
                task.uncancel()
                await self._abort(method, context, answer_to(_ENDING, method))
            raise
        except grpc.aio.AbortError:
            code = "ABORTED"
            raise
        except Exception as error:
            answer = answer_to(error, method)
            code = answer.code.name
            await self._abort(method, context, answer)
        finally:
            self._counter.call_ended(method, code, time.monotonic() - began if is_timed else None)

    @contextlib.contextmanager
    def _noted(self, task: asyncio.Task[Any] | None, method: str) -> Iterator[None]:
        if task is None:
            yield
            return
        self._streams[task] = method
        try:
            yield
        finally:
            del self._streams[task]

    async def _abort(self, method: str, context: Context, answer: Answer) -> None:
        _log_refusal(method, context, answer)
        await context.abort(answer.code, answer.status_text, answer.trailing_metadata)


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
