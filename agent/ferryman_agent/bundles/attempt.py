"""One try at a bundle: from the request to the verified file, or to why not. Blocking; for a thread or a child process.

AG-219 to AG-223, AG-226, V2-062 to V2-066.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path

from ferryman_agent.bundles.exchange import Answer, Exchange, Interrupted
from ferryman_agent.bundles.halt import Halt, Halted
from ferryman_agent.bundles.limits import MIB
from ferryman_agent.bundles.part import Part
from ferryman_agent.bundles.refusal import refused
from ferryman_agent.bundles.space import disk_full, is_disk_full, require_space
from ferryman_agent.bundles.verify import check_digest, check_size, check_version
from ferryman_agent.bundles.wanted import Attempt, Headers, Outcome, Progress, part_of
from ferryman_agent.core.pace import Pace
from ferryman_agent.errors import BundleError

_READ = 256 * 1024
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)")


def attempt(wanted: Attempt, *, halt: Halt, pace: Pace, on_progress: Progress) -> Outcome:
    """Tries once. Raises BundleError for what trying again cannot help, and nothing is left then; Halted, OSError.

    What was received stays when it is halted or may be tried again, for the next attempt to go on from.
    """
    destination = Path(wanted.destination)
    part = Part(part_of(destination), wanted.size_bytes)
    is_kept = False
    try:
        outcome = _Trial(wanted, part, halt, pace, on_progress).run()
        is_kept = bool(outcome.again)
        if not is_kept:
            part.finish(destination)
        return outcome
    except Halted:
        is_kept = True
        raise
    except OSError as problem:
        if is_disk_full(problem):
            raise disk_full(f"store the bundle of {wanted.label}", destination.parent) from problem
        raise
    finally:
        if not is_kept or part.path != part_of(destination):
            part.discard()
        part.close()


@dataclass(slots=True)
class _Trial:
    wanted: Attempt
    part: Part
    halt: Halt
    pace: Pace
    on_progress: Progress
    etag: str = ""
    total: int | None = None

    def run(self) -> Outcome:
        wanted, part = self.wanted, self.part
        (part.resume if wanted.is_resumable else part.restart)()
        self.etag = wanted.etag
        if part.size and part.sha256() == wanted.sha256:
            return self._outcome()
        while True:
            is_resumed = part.size > 0
            try:
                outcome = self._exchange()
            except Interrupted as problem:
                self.halt.check()
                outcome = self._outcome(again=str(problem))
            if outcome.again:
                return outcome
            try:
                check_size(wanted.size_bytes, part.size, wanted.label)
                check_digest(wanted.sha256, part.sha256(), wanted.label)
            except BundleError:
                if not is_resumed:
                    raise
                # What was resumed and is wrong is fetched once more from the start.
                part.restart()
                continue
            return outcome

    def _exchange(self) -> Outcome:
        limits = self.wanted.limits
        exchange = Exchange(
            self.wanted.route,
            self.halt,
            connect_seconds=limits.connect_seconds,
            stall_seconds=limits.stall_seconds,
        )
        try:
            answer = exchange.get(self.wanted.url, self._headers(), self.wanted.secrets)
            if answer.status == 416:
                # What we have does not fit to what is there: begin again.
                self.part.restart()
                return self._outcome(again="the server has no such range")
            if answer.status not in (200, 206):
                return self._refused(answer)
            self._align(answer)
            self._receive(answer)
            if self.total is not None and self.part.size < self.total:
                # A server may send less of a range than it was asked for.
                return self._outcome(again="the server sent a part only")
            return self._outcome()
        finally:
            exchange.close()

    def _headers(self) -> Headers:
        headers = [("Accept-Encoding", "identity"), ("User-Agent", "ferryman-agent"), ("Accept", "*/*")]
        if self.part.size:
            headers.append(("Range", f"bytes={self.part.size}-"))
            if self.etag.startswith('"'):
                headers.append(("If-Range", self.etag))
        return tuple(headers)

    def _refused(self, answer: Answer) -> Outcome:
        refusal = refused(answer, self.wanted.label, self.wanted.credential, now=time.time())
        return self._outcome(again=refusal.said, after=refusal.after, is_throttled=refusal.is_throttled)

    def _align(self, answer: Answer) -> None:
        """Makes the file continue where the body begins, and learns version and total."""
        wanted, part = self.wanted, self.part
        check_version(wanted.label, wanted.wanted_etag, answer.header("ETag"), "ETag")
        check_version(wanted.label, wanted.wanted_version, answer.header("x-amz-version-id"), "version")
        begin, total = 0, answer.length
        if answer.status == 206:
            match = _CONTENT_RANGE.fullmatch(answer.header("Content-Range"))
            if match is None:
                raise Interrupted("the server sent a part without saying which")
            begin = int(match[1])
            total = int(match[3]) if match[3] != "*" else None
        # Many servers know ranges and not If-Range; that of the digest shows by itself what does not belong together.
        is_another = wanted.sha256 is None and bool(begin) and answer.header("ETag") != self.etag
        if begin != part.size or is_another:
            part.restart()
            if begin:
                what = "than was asked for" if begin != part.size else "of another version"
                raise Interrupted(f"the server sent another part {what}")
        self.etag, self.total = answer.header("ETag"), total
        least = total if total is not None else wanted.size_bytes or part.size
        check_size(wanted.size_bytes, least, wanted.label)
        self._check_limit(least)
        require_space(part.path.parent, least - part.size, wanted.limits, f"fetch {wanted.label}")

    def _receive(self, answer: Answer) -> None:
        received = self.part.size
        waiting: list[bytes] = []
        waiting_bytes = 0
        self.on_progress(received, self.total)
        try:
            while piece := answer.read(self.pace.piece(_READ)):
                waiting.append(piece)
                waiting_bytes += len(piece)
                received += len(piece)
                self._check_limit(received)
                self.on_progress(received, self.total)
                if waiting_bytes >= MIB:
                    self.part.append(waiting)
                    waiting, waiting_bytes = [], 0
                self.halt.wait(self.pace.took(len(piece), time.monotonic()))
                self.halt.check()
        finally:
            # What came is kept, whatever ended it: the next attempt goes on from there.
            self.part.append(waiting)

    def _check_limit(self, size: int) -> None:
        most = self.wanted.limits.max_bundle_bytes
        if size > most:
            message = f"{self.wanted.label} has {size} bytes or more, with {most} allowed"
            raise BundleError("BUNDLE_TOO_LARGE", message)

    def _outcome(self, *, again: str = "", after: float = 0, is_throttled: bool = False) -> Outcome:
        return Outcome(
            size_bytes=self.part.size,
            sha256=self.part.sha256(),
            etag=self.etag,
            again=again,
            after=after,
            is_throttled=is_throttled,
        )
