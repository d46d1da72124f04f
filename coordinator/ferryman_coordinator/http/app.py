"""The routes of the HTTP door, and how its refusals look."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ferryman_coordinator.errors import (
    Denied,
    Invalid,
    LimitExceeded,
    NotFound,
    Refused,
    StoreUnavailable,
    Unauthenticated,
)

log = structlog.get_logger(__name__)

_CHECK_TIMEOUT_S = 3.0

Check = Callable[[], Awaitable[str]]
"""Returns an empty text when all is well, else what is not."""

_STATUS: tuple[tuple[type[Exception], int], ...] = (
    (Invalid, 400),
    (Unauthenticated, 401),
    (Denied, 403),
    (NotFound, 404),
    (LimitExceeded, 429),
    (Refused, 409),
    (StoreUnavailable, 503),
)


def make_app(
    get_bundle: Callable[[Request], Awaitable[Response]],
    checks: Mapping[str, Check],
    metrics: Callable[[], tuple[bytes, str]],
    more: Sequence[Route] = (),
) -> Starlette:
    """`checks` decide about readiness, by name; `metrics` gives the text for Prometheus and its media type; `more` are
    routes of others.
    """

    async def live(_request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def ready(_request: Request) -> Response:
        answers = await asyncio.gather(*(_answer(name, check) for name, check in checks.items()))
        problems = {name: problem for name, problem in answers if problem}
        body = {"status": "not ready", "problems": problems} if problems else {"status": "ready"}
        return JSONResponse(body, status_code=503 if problems else 200)

    async def exposition(_request: Request) -> Response:
        text, media_type = metrics()
        return Response(text, media_type=media_type)

    return Starlette(
        routes=[
            Route("/healthz", live),
            Route("/readyz", ready),
            Route("/metrics", exposition),
            Route("/bundles/{sha256}", get_bundle),
            *more,
        ],
        exception_handlers={
            Refused: _refused,
            StoreUnavailable: _refused,
            HTTPException: _unknown_route,
            Exception: _incident,
        },
    )


async def _answer(name: str, check: Check) -> tuple[str, str]:
    try:
        async with asyncio.timeout(_CHECK_TIMEOUT_S):
            return name, await check()
    except TimeoutError:
        return name, f"gave no answer within {_CHECK_TIMEOUT_S:g} s"
    except Exception as error:
        log.warning("readiness.check_failed", check=name, exc_info=error)
        return name, "failed; see the log"


async def _refused(_request: Request, error: Exception) -> Response:
    status = next(code for kind, code in _STATUS if isinstance(error, kind))
    if isinstance(error, Refused):
        return JSONResponse({"reason": error.reason, "message": error.message}, status_code=status)
    message = "the coordinator cannot reach its database: try again soon"
    return JSONResponse({"reason": "StoreUnavailable", "message": message}, status_code=status)


async def _unknown_route(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    message = f"{request.method} {request.url.path}: {error.detail}"
    return JSONResponse(
        {"reason": "HttpError", "message": message}, status_code=error.status_code, headers=error.headers
    )


async def _incident(request: Request, error: Exception) -> Response:
    incident = secrets.token_hex(6)
    log.error("http.incident", incident=incident, path=request.url.path, exc_info=error)
    message = f"the coordinator failed in a way that it should not: look for incident {incident} in its log"
    return JSONResponse({"reason": "Incident", "message": message}, status_code=500)
