"""Around every call: who makes it, whether he may, how its end is told, recorded and counted. One interceptor, so
one order.

Nothing of a request is read before it is known who calls: to gRPC every call has a stream of requests here, and the
message is taken in, and made sense of, only afterwards. A hostile message of 4 MiB becomes 100 MiB of objects.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Iterator
from typing import TYPE_CHECKING, Any, Protocol, cast

import grpc
import grpc.aio
import structlog
from google.protobuf.message import DecodeError, Message

from ferryman import channel
from ferryman_coordinator.api.answers import Answer, answer_to
from ferryman_coordinator.api.auth import OPEN, Authenticator, Context, source_of
from ferryman_coordinator.api.guard import Guard
from ferryman_coordinator.api.recorder import CallInProgress, Recorder
from ferryman_coordinator.api.rules import rule_of
from ferryman_coordinator.errors import Invalid, LimitExceeded, StreamEnded
from ferryman_coordinator.operations.access import Admitted

log = structlog.get_logger(__name__)

if TYPE_CHECKING:
    # Generic for the type checker only.
    Handler = grpc.RpcMethodHandler[Any, Any]


Parse = Callable[[bytes], Any]
"""Makes the message of a call."""

_ENDING = StreamEnded("the coordinator ends: connect again")

_REQUEST_S = 20.0
"""Within this the one message of a call must be here."""

_ANONYMOUS_BYTES = 64 * 1024
"""Largest message of a call that needs no identity."""

_ANONYMOUS_STREAMS = 100
"""Of all callers without identity together: health can be asked for as well as watched."""


class CallCounter(Protocol):
    """Hears of the end of each call."""

    def call_ended(self, method: str, code: str, seconds: float | None) -> None:
        """`seconds` None for a stream, whose length says nothing."""
        ...


class Gate(grpc.aio.ServerInterceptor):
    """Lets a call through to its servicer only for a caller that may make it, and ends it in words."""

    def __init__(
        self, authenticator: Authenticator, guard: Guard, recorder: Recorder, counter: CallCounter
    ) -> None:
        self._authenticator = authenticator
        self._guard = guard
        self._recorder = recorder
        self._counter = counter
        self._wrapped: dict[str, Handler] = {}
        # Open streams of answers, with their method.
        self._streams: dict[asyncio.Task[Any], str] = {}
        self._anonymous = 0
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

        given = _stream if handler.request_streaming else _only
        most = _ANONYMOUS_BYTES if method in OPEN else channel.MESSAGE_LIMIT
        parse: Parse = functools.partial(_parsed, handler.request_deserializer or bytes, most)

        async def unary(requests: AsyncIterator[bytes], context: Context) -> Any:
            async with self._call(method, context, is_timed=not handler.request_streaming) as call:
                request = await self._let_in(call, await given(requests, parse))
                return await self._let_out(call, await behaviour(request, context))

        async def stream(requests: AsyncIterator[bytes], context: Context) -> None:
            async with self._call(method, context, is_stream=True) as call:
                request = await self._let_in(call, await given(requests, parse))
                if not inspect.isasyncgenfunction(behaviour):
                    await behaviour(request, context)
                    return
                async with contextlib.aclosing(behaviour(request, context)) as answers:
                    async for answer in answers:
                        # A stream may last for days: it is granted when it begins.
                        await self._recorder.granted(call, None)
                        await context.write(answer)
                await self._recorder.granted(call, None)

        make: Any = (
            grpc.stream_stream_rpc_method_handler
            if handler.response_streaming
            else grpc.stream_unary_rpc_method_handler
        )
        made: Handler = make(
            stream if handler.response_streaming else unary, response_serializer=handler.response_serializer
        )
        return made

    @contextlib.asynccontextmanager
    async def _call(
        self, method: str, context: Context, *, is_stream: bool = False, is_timed: bool = False
    ) -> AsyncIterator[CallInProgress]:
        """One call, from the question who makes it to how it ends."""
        began, code = time.monotonic(), "OK"
        task = asyncio.current_task()
        call = CallInProgress(method, rule_of(method), context)
        try:
            call.who = await self._authenticator.admit(method, context)
            with self._noted(task if is_stream else None, method):
                yield call
        except asyncio.CancelledError:
            code = "CANCELLED"
            self._recorder.cancelled(call)
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
            if not (call.who is None and isinstance(error, LimitExceeded)):
                # One that is refused unseen, for it failed too often, does not fill the audit log either.
                await self._recorder.refused(call, answer)
            await self._abort(method, context, answer)
        finally:
            self._counter.call_ended(method, code, time.monotonic() - began if is_timed else None)

    async def _let_in(self, call: CallInProgress, request: Any) -> Any:
        """The request itself; raises Denied."""
        call.request = request
        if call.rule is not None and isinstance(call.who, Admitted):
            await self._guard.check(call.rule, request, call.who, source_of(call.context))
        return request

    async def _let_out(self, call: CallInProgress, answer: Any) -> Any:
        """The answer, as far as the caller may see it, once it is recorded."""
        if call.rule is not None and isinstance(call.who, Admitted):
            await self._guard.show(call.rule, call.request, answer, call.who, source_of(call.context))
        await self._recorder.granted(call, answer)
        return answer

    @contextlib.contextmanager
    def _noted(self, task: asyncio.Task[Any] | None, method: str) -> Iterator[None]:
        if task is None:
            yield
            return
        is_anonymous = method in OPEN
        if is_anonymous and self._anonymous >= _ANONYMOUS_STREAMS:
            raise LimitExceeded(
                "TooManyStreams", f"too many callers follow {method}: ask now and then instead"
            )
        self._streams[task] = method
        self._anonymous += is_anonymous
        try:
            yield
        finally:
            self._anonymous -= is_anonymous
            del self._streams[task]

    async def _abort(self, method: str, context: Context, answer: Answer) -> None:
        _log_refusal(method, context, answer)
        await context.abort(answer.code, answer.status_text, answer.trailing_metadata)


def _log_refusal(method: str, context: Context, answer: Answer) -> None:
    if answer.code in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED):
        log.warning("api.caller_refused", method=method, peer=context.peer(), reason=answer.reason)
    else:
        log.debug("api.refused", method=method, reason=answer.reason, message=answer.message)


async def _only(requests: AsyncIterator[bytes], parse: Parse) -> Any:
    """The one message of a call. Raises Invalid."""
    # Closed, it lets go of the call. Left as it is, each holds the other, and gRPC's memory of every call stays until
    # the collector comes by, which knows nothing of its size and comes rarely.
    receiver = cast(AsyncGenerator[bytes, None], aiter(requests))
    try:
        async with contextlib.aclosing(receiver), asyncio.timeout(_REQUEST_S):
            source = await anext(receiver, None)
    except TimeoutError as error:
        raise Invalid("RequestIncomplete", f"the request did not arrive within {_REQUEST_S:g} s") from error
    if source is None:
        raise Invalid("RequestIncomplete", "the call ended without its request")
    request = parse(source)
    if b"\0" in source and isinstance(request, Message):
        _check_texts(request)
    return request


def _check_texts(message: Message) -> None:
    """Raises Invalid for a text with a NUL: SQLite would keep it, PostgreSQL cannot, and no text means one."""
    for field, value in message.ListFields():
        several = value if field.is_repeated else (value,)
        for one in several:
            if isinstance(one, Message):
                _check_texts(one)
            elif isinstance(one, str) and "\0" in one:
                raise Invalid("InvalidInputException", f"{field.name} holds a NUL character: leave it out")


async def _stream(requests: AsyncIterator[bytes], parse: Parse) -> AsyncIterator[Any]:
    async def messages() -> AsyncIterator[Any]:
        async for source in requests:
            yield parse(source)

    return messages()


def _parsed(deserialize: Parse, most: int, source: bytes) -> Any:
    """Raises Invalid, where gRPC would end the call with a status that says nothing."""
    if len(source) > most:
        raise Invalid("RequestTooLarge", f"the request has {len(source)} bytes, more than {most}")
    try:
        return deserialize(source)
    except DecodeError as error:
        raise Invalid(
            "MalformedRequest", "the request is no message of this call: client and coordinator differ"
        ) from error
