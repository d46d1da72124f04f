"""Which source answers for which name, and what they all say.

A group names an alarm exactly as its source spells it (CP-357), or as `SOURCE/NAME`. A plain name belongs to the first
source, in the order of the settings, that answers and knows it; once it was found there, only that one is asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from ferryman_coordinator.alarms.source import AlarmSource, Answer, Unread
from ferryman_coordinator.core.alarms import AlarmReading
from ferryman_coordinator.errors import Refused, StoreUnavailable

log = structlog.get_logger(__name__)

READ_S = 10.0
"""After this no source is waited for any more, whatever it does."""

_NO_SOURCE = (
    "no source of alarms is configured: set `alarms.sources` in the coordinator's configuration, or take the alarm out"
    " of the deployment group"
)

_UNKNOWN = "there is no alarm of that name; names count exactly as `ferryman alarm list` shows them"


@dataclass(frozen=True, slots=True)
class _Failed:
    """The source as a whole."""

    reason: str


_Answers = Mapping[str, Answer] | _Failed


class AlarmBook:
    """All sources together."""

    def __init__(self, sources: Sequence[AlarmSource]) -> None:
        """`sources` in the order in which plain names are looked for."""
        self.sources = tuple(sources)
        self._by_name = {source.name: source for source in sources}
        # Where plain names were found.
        self._found: dict[str, AlarmSource] = {}
        self._failing: set[str] = set()

    @property
    def failing(self) -> int:
        """Sources that did not answer when they were asked last."""
        return len(self._failing)

    async def read(self, names: Collection[str]) -> tuple[AlarmReading, ...]:
        """What the sources say now, one reading for each name."""
        wanted = {name: self._candidates(name) for name in dict.fromkeys(names)}
        asked: dict[str, set[str]] = {}
        for candidates in wanted.values():
            for source, alarm in candidates:
                asked.setdefault(source.name, set()).add(alarm)
        answers = await self._ask(asked)
        return tuple([self._reading(name, candidates, answers) for name, candidates in wanted.items()])

    def concerned(self, names: Iterable[str], source: str, alarms: Collection[str]) -> set[str]:
        """Those of `names` that may stand for one of these alarms of a source."""
        return {
            name
            for name in names
            if any(one.name == source and alarm in alarms for one, alarm in self._candidates(name))
        }

    def _candidates(self, name: str) -> list[tuple[AlarmSource, str]]:
        """Who might answer, and under which name it knows the alarm."""
        source_name, slash, alarm = name.partition("/")
        if slash and source_name in self._by_name:
            return [(self._by_name[source_name], alarm)]
        if (found := self._found.get(name)) is not None:
            return [(found, name)]
        return [(source, name) for source in self.sources if source.may_know(name)]

    async def _ask(self, asked: Mapping[str, set[str]]) -> dict[str, _Answers]:
        answers = await asyncio.gather(*(self._ask_one(name, alarms) for name, alarms in asked.items()))
        return dict(zip(asked, answers, strict=True))

    async def _ask_one(self, name: str, alarms: set[str]) -> _Answers:
        """Whatever a source does, the others' answers count."""
        try:
            async with asyncio.timeout(READ_S):
                answers = await self._by_name[name].read(alarms)
        except TimeoutError:
            return self._failed(name, f"it gave no answer within {READ_S:g} s")
        except (Refused, StoreUnavailable) as refused:
            return self._failed(name, str(refused))
        except Exception as error:
            log.error("alarms.source_broken", source=name, exc_info=error)
            return self._failed(
                name, f"the source failed in a way that it should not: {type(error).__name__}"
            )
        if name in self._failing:
            self._failing.discard(name)
            log.info("alarms.source_answers_again", source=name)
        return answers

    def _failed(self, name: str, reason: str) -> _Failed:
        if name not in self._failing:
            self._failing.add(name)
            log.warning("alarms.source_failed", source=name, reason=reason)
        return _Failed(reason)

    def _reading(
        self, name: str, candidates: Sequence[tuple[AlarmSource, str]], answers: Mapping[str, _Answers]
    ) -> AlarmReading:
        failed: AlarmReading | None = None
        for source, alarm in candidates:
            answer = answers[source.name]
            if isinstance(answer, _Failed):
                # It may know the name, but a source that is down must not take the alarms of others along.
                failed = failed or AlarmReading(
                    name=name, state=None, source=_text(source), detail=answer.reason
                )
            elif alarm in answer:
                if alarm == name and failed is None:
                    self._found[name] = source
                return _told(name, source, answer[alarm])
        if failed is not None:
            return failed
        self._found.pop(name, None)
        if not self.sources:
            return AlarmReading(name=name, state=None, detail=_NO_SOURCE)
        asked = " and ".join(_text(source) for source, _ in candidates)
        return AlarmReading(name=name, state=None, source=asked or "any source", detail=_UNKNOWN)


def _told(name: str, source: AlarmSource, answer: Answer) -> AlarmReading:
    if isinstance(answer, Unread):
        return AlarmReading(name=name, state=None, source=_text(source), detail=answer.reason)
    return AlarmReading(
        name=name, state=answer.state, source=_text(source), since=answer.since, detail=answer.detail
    )


def _text(source: AlarmSource) -> str:
    return f"{source.name} ({source.place})"
