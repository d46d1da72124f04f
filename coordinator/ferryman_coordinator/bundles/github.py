"""GitHub and hosts that speak like it: where the archive of a commit is, and whether it can be had (PF-293).

The coordinator only asks; the archive itself is fetched by each agent, with the token in a header of that one request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from ferryman_coordinator.bundles.github_tokens import GitHubTokens
from ferryman_coordinator.config.schema import GitHub
from ferryman_coordinator.core.model import BundleType, GitHubLocation
from ferryman_coordinator.errors import Denied, Invalid, NotFound

_ANSWER_S = 10
_BODY = 4096
_TEXT = 300


class GitHubArchives:
    """Makes addresses of archives; `check` asks whether one is there."""

    def __init__(self, settings: GitHub, tokens: GitHubTokens) -> None:
        self._settings = settings
        self.tokens = tokens

    def address(self, location: GitHubLocation) -> str:
        """AG-228, AG-229."""
        kind = "zipball" if location.bundle_type is BundleType.ZIP else "tarball"
        return f"{self._settings.api_url.rstrip('/')}/repos/{location.repository}/{kind}/{location.commit_id}"

    def headers(self, location: GitHubLocation) -> Mapping[str, str]:
        """What a request for `address` brings along: the token, if one is named and stored (AG-230). Secret."""
        token = self.tokens.get(location.token_name) if location.token_name else None
        return {} if token is None else {"Authorization": f"token {token}"}

    async def check(self, location: GitHubLocation) -> Sequence[str]:
        """Warnings; raises Invalid, NotFound, Denied when agents could not get the archive either.

        A coordinator that cannot reach the host lets the deployment go on: its agents may be able to.
        """
        if location.token_name and self.tokens.get(location.token_name) is None:
            raise Invalid(
                "InvalidGitHubAccountTokenException",
                f"MISSING_GITHUB_TOKEN: there is no token {location.token_name!r} for {location.repository}: store it"
                f" with `ferryman github-token add {location.token_name} --token-file FILE`",
            )
        return await self._ask(location)

    async def _ask(self, location: GitHubLocation) -> Sequence[str]:
        import aiohttp

        url = self.address(location)
        try:
            async with (
                asyncio.timeout(_ANSWER_S),
                aiohttp.ClientSession(trust_env=True) as session,
                # Not followed: where the archive itself lies is the agents' matter.
                session.get(url, headers=self.headers(location), allow_redirects=False) as answer,
            ):
                body = b"" if answer.status < 400 else await answer.content.read(_BODY)
                return self._judge(location, answer.status, answer.headers, body)
        except (aiohttp.ClientError, OSError, TimeoutError) as problem:
            why = str(problem) or type(problem).__name__
            return [
                f"cannot ask {url} whether the commit is there ({why}); instances will see when they fetch it"
            ]

    def _judge(
        self, location: GitHubLocation, status: int, headers: Mapping[str, Any], body: bytes
    ) -> Sequence[str]:
        url, name = self.address(location), location.token_name
        commit = f"{location.repository}@{location.commit_id}"
        with_token = f"with the token {name!r}" if name else "without a token"
        if status < 400:
            return []
        if status == 429 or (status == 403 and headers.get("x-ratelimit-remaining") == "0"):
            return [f"{url} limits requests {with_token}{_reset(headers)}; instances may have to wait"]
        if status == 401:
            raise Denied(
                "InvalidGitHubAccountTokenException",
                f"{url} does not accept the token {name!r}: it has expired or was revoked; make a new one and store"
                f" it with `ferryman github-token add {name} --token-file FILE`"
                if name
                else f"{url} asks for a token: store one and name it with the revision (--token-name)",
            )
        if status in (404, 410, 422):
            why = (
                f"the token {name!r} may not read it"
                if name
                else "it is private and needs a token (--token-name)"
            )
            raise NotFound(
                "RevisionDoesNotExistException",
                f"{url} answers {status}: there is no {commit}, or {why}",
            )
        if status == 403:
            raise Denied(
                "InvalidGitHubAccountTokenException",
                f"{url} refuses {with_token} ({_said(body) or 'no reason given'}): the token may lack the right to"
                " read contents, or the organisation does not allow it",
            )
        return [f"{url} answers {status}; instances will see when they fetch it"]


def _reset(headers: Mapping[str, Any]) -> str:
    after, at = str(headers.get("retry-after", "")), str(headers.get("x-ratelimit-reset", ""))
    if after.isdecimal():
        return f" for {after} s"
    if at.isdecimal() and len(at) <= 11:
        return f" until {datetime.fromtimestamp(int(at), UTC).isoformat()}"
    return ""


def _said(body: bytes) -> str:
    """What an error answer says, made harmless."""
    try:
        message = msgspec.json.decode(body, type=dict[str, Any]).get("message", "")
    except msgspec.DecodeError:
        return ""
    return "".join(letter for letter in str(message)[:_TEXT] if letter.isprintable())
