"""Reads lists to their end, page by page."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Protocol, TypeVar

from ferryman.v1 import types_pb2

PAGE_SIZE = 500


class PagedRequest(Protocol):
    """A request with a page in it."""

    @property
    def page(self) -> types_pb2.Page: ...


Request = TypeVar("Request", bound=PagedRequest)
Response = TypeVar("Response")


async def every_page(
    ask: Callable[[Request], Awaitable[Response]], request: Request
) -> AsyncIterator[Response]:
    """Yields the answers to `request`, until the last page. Changes the request's page."""
    request.page.size = PAGE_SIZE
    while True:
        response = await ask(request)
        yield response
        token: Any = getattr(response, "next_page_token", "")
        if not token:
            return
        request.page.token = token
