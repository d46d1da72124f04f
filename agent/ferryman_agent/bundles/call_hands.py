"""Small bundles of the coordinator's own store over the connection that the agent has anyway.

An HTTP client with its TLS is 6 MiB of a process that waits for weeks, and 25 ms of processor time when it is loaded
(docs/adr/0007). Whatever does not go well here is done by HTTP, which has the retries, and the words for what is wrong.
"""

from __future__ import annotations

from pathlib import Path

import structlog

from ferryman_agent.bundles.asking import Ask, NotByCall
from ferryman_agent.bundles.hands import ThreadHands
from ferryman_agent.bundles.part import Part
from ferryman_agent.bundles.space import require_space
from ferryman_agent.bundles.wanted import Attempt, Outcome, Progress, part_of
from ferryman_agent.errors import BundleError
from ferryman_agent.threads import in_thread

log = structlog.get_logger(__name__)


class CallHands(ThreadHands):
    """Satisfies Hands."""

    def __init__(self, ask: Ask) -> None:
        super().__init__()
        self._ask = ask

    async def fetch(self, wanted: Attempt, on_progress: Progress) -> Outcome:
        """See Hands."""
        # A limit of the rate, and a trace, are of HTTP; and without a digest nothing would vouch for the content.
        if wanted.sha256 is not None and self.rate is None and not wanted.route.trace:
            try:
                content = await self._ask(wanted.url)
                outcome = await in_thread(lambda: _kept(wanted, content))
            except (NotByCall, BundleError, OSError) as problem:
                log.debug("bundle.not_by_call", bundle=wanted.label, reason=str(problem))
            else:
                on_progress(outcome.size_bytes, outcome.size_bytes)
                return outcome
        return await super().fetch(wanted, on_progress)


def _kept(wanted: Attempt, content: bytes) -> Outcome:
    """Gives verified content its name. Raises NotByCall for other content, BundleError without room, OSError."""
    destination = Path(wanted.destination)
    if wanted.size_bytes not in (None, len(content)) or len(content) > wanted.limits.max_bundle_bytes:
        raise NotByCall(f"it has {len(content)} bytes")
    require_space(destination.parent, len(content), wanted.limits, f"fetch {wanted.label}")
    part = Part(part_of(destination), len(content))
    try:
        part.restart()
        part.append([content])
        if part.sha256() != wanted.sha256:
            raise NotByCall("it has another digest")
        part.finish(destination)
    except BaseException:
        part.discard()
        raise
    finally:
        part.close()
    return Outcome(size_bytes=part.size, sha256=part.sha256(), etag=f'"{part.sha256()}"')
