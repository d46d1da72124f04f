"""`POST /alarms/<source>` for an Alertmanager; `POST` and `DELETE /alarms/<source>/<alarm>` for who has the token."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Callable, Collection, Mapping
from typing import TypeVar

import msgspec
import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ferryman_coordinator.alarms.pushed import AlertmanagerSource, PushSource, WebhookSource
from ferryman_coordinator.alarms.web import instant, read_token, shown
from ferryman_coordinator.clock import Clock
from ferryman_coordinator.config.values import Duration
from ferryman_coordinator.core.model import AlarmState, Instant
from ferryman_coordinator.errors import Invalid, NotFound, Unauthenticated
from ferryman_coordinator.identity.failures import FailureLimiter
from ferryman_coordinator.store.queries.alarms import PushedState

log = structlog.get_logger(__name__)

Body = TypeVar("Body")

_BODY = 4 << 20
_NAME = 255
_LONGEST = Duration(366 * 86_400_000)
_BELIEVED = 1_000
_STATES = (AlarmState.OK, AlarmState.ALARM, AlarmState.INSUFFICIENT_DATA)


class _Alert(msgspec.Struct, rename="camel"):
    status: str
    labels: dict[str, str]
    annotations: dict[str, str] = {}
    starts_at: str = ""
    ends_at: str = ""
    fingerprint: str = ""


class _Notification(msgspec.Struct):
    """What an Alertmanager posts, as far as it matters here."""

    alerts: list[_Alert]


class _Posted(msgspec.Struct, forbid_unknown_fields=True):
    state: str
    reason: str = ""
    # As in settings: 10m.
    expires_in: str = ""


class AlarmDoor:
    """Takes what is pushed, stores it, and tells whoever watches."""

    def __init__(
        self,
        sources: Mapping[str, PushSource],
        pushed: Callable[[str, Collection[str]], None],
        failures: FailureLimiter,
        clock: Clock,
    ) -> None:
        """`pushed` is told the source and its alarms once a push is stored."""
        self._sources = sources
        self._pushed = pushed
        self._failures = failures
        self._clock = clock
        # Digests of what was given, with its source, and was right.
        self._believed: set[tuple[str, bytes]] = set()

    @property
    def routes(self) -> list[Route]:
        """For the HTTP door."""
        return [
            Route("/alarms/{source}", self.take_alerts, methods=["POST"]),
            Route("/alarms/{source}/{alarm:path}", self.take_state, methods=["POST"]),
            Route("/alarms/{source}/{alarm:path}", self.forget, methods=["DELETE"]),
        ]

    async def take_alerts(self, request: Request) -> Response:
        """What an Alertmanager has to say. Raises Unauthenticated, NotFound, Invalid, StoreUnavailable."""
        source = await self._admit(request)
        if not isinstance(source, AlertmanagerSource):
            raise NotFound("NoSuchAlarmSource", f"post to /alarms/{source.name}/ALARM: it is no Alertmanager")
        notification = await _body(request, _Notification)
        now = self._clock.now()
        firing = [_firing(alert, now) for alert in notification.alerts if alert.status == "firing"]
        resolved = [
            (_name(alert), _series(alert)) for alert in notification.alerts if alert.status != "firing"
        ]
        about = await source.take(firing, resolved)
        self._pushed(source.name, about)
        return JSONResponse({"alarms": sorted(about)})

    async def take_state(self, request: Request) -> Response:
        """One alarm's state. Raises as `take_alerts` does, and LimitExceeded."""
        source = await self._admit(request)
        if not isinstance(source, WebhookSource):
            raise NotFound("NoSuchAlarmSource", f"post to /alarms/{source.name}: it is an Alertmanager")
        alarm = request.path_params["alarm"]
        state = _posted(alarm, await _body(request, _Posted), self._clock.now())
        await source.take(state)
        self._pushed(source.name, [alarm])
        return JSONResponse({"alarm": alarm, "state": state.state.value})

    async def forget(self, request: Request) -> Response:
        """The alarm is unknown from now on."""
        source = await self._admit(request)
        if isinstance(source, WebhookSource):
            await source.forget(request.path_params["alarm"])
        return Response(status_code=204)

    async def _admit(self, request: Request) -> PushSource:
        """The source that the request may speak for; whoever has no token learns no names."""
        peer = f"{request.client.host if request.client else ''}:"
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        key = (request.path_params["source"], hashlib.sha256(given.strip().encode()).digest())
        if key not in self._believed:
            # Whoever was believed before is not locked out by a neighbour behind its address: alarms would be lost.
            self._failures.check(peer, self._clock.now())
        source = self._sources.get(key[0])
        token = await self._token(source) if source is not None else None
        is_bearer = scheme.lower() == "bearer"
        if source is None or token is None or not is_bearer or not _is_same(given.strip(), token):
            self._believed.discard(key)
            self._failures.failed(peer, self._clock.now())
            raise Unauthenticated(
                "TokenInvalid",
                "no source of alarms of that name has this token: send its token_file's content as"
                " `Authorization: Bearer …`",
            )
        if len(self._believed) >= _BELIEVED:
            # As many tokens were replaced, one after the other.
            self._believed.clear()
        self._believed.add(key)
        return source

    async def _token(self, source: PushSource) -> str | None:
        file = source.settings.token_file
        try:
            return await asyncio.to_thread(read_token, file)
        except (OSError, ValueError) as problem:
            log.warning("alarms.token_unreadable", source=source.name, file=file, problem=str(problem))
            return None


def _is_same(given: str, token: str) -> bool:
    """Takes as long whatever is given."""
    return hmac.compare_digest(*(hashlib.sha256(text.encode()).digest() for text in (given, token)))


async def _body(request: Request, kind: type[Body]) -> Body:
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > _BODY:
            raise Invalid("InvalidInputException", f"the body has more than {_BODY} bytes")
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.DecodeError, RecursionError) as problem:
        raise Invalid(
            "InvalidInputException", f"the body is not as it should be: {shown(str(problem))}"
        ) from problem


def _firing(alert: _Alert, now: Instant) -> PushedState:
    ends = instant(alert.ends_at)
    return PushedState(
        name=_name(alert),
        series=_series(alert),
        state=AlarmState.ALARM,
        since=instant(alert.starts_at),
        received_at=now,
        # Of one that fires an Alertmanager says no end, or a time to come.
        expires_at=ends if ends is not None and ends > now else None,
        detail=shown(alert.annotations.get("summary") or alert.annotations.get("description") or ""),
    )


def _name(alert: _Alert) -> str:
    return alert.labels.get("alertname", "")


def _series(alert: _Alert) -> str:
    """What tells the series of one alert apart."""
    labels = "\n".join(f"{name}={value}" for name, value in sorted(alert.labels.items()))
    return hashlib.sha256(labels.encode()).hexdigest()


def _posted(alarm: str, posted: _Posted, now: Instant) -> PushedState:
    if not 0 < len(alarm) <= _NAME or not alarm.isprintable():
        raise Invalid("InvalidAlarmConfigException", f"an alarm's name has 1 to {_NAME} printable characters")
    if posted.state not in [state.value for state in _STATES]:
        raise Invalid(
            "InvalidInputException",
            f"{shown(posted.state)!r} is no state: there are {', '.join(state.value for state in _STATES)}",
        )
    expires_at = None
    if posted.expires_in:
        try:
            lifetime = Duration.parse(posted.expires_in)
        except ValueError as problem:
            raise Invalid("InvalidInputException", f"expires_in: {shown(str(problem))}") from problem
        if lifetime > _LONGEST:
            raise Invalid(
                "InvalidInputException", f"expires_in: {shown(posted.expires_in)} is longer than {_LONGEST}"
            )
        expires_at = Instant(now + lifetime)
    return PushedState(
        name=alarm,
        state=AlarmState(posted.state),
        since=None,
        received_at=now,
        expires_at=expires_at,
        detail=shown(posted.reason),
    )
