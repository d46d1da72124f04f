"""What rights are about: names of resources, and patterns of such names (CP-434, PF-233, PF-234).

Here a resource is what stands behind the account in its ARN: `application:web`, `deploymentgroup:web/prod`,
`deploymentconfig:Slow`, `instance/web-1`, and in the same style what only Ferryman has: `user/ann`, `role/deployer`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

EVERYTHING = "*"

APPLICATION = "application:"
GROUP = "deploymentgroup:"
CONFIG = "deploymentconfig:"
INSTANCE = "instance/"
USER = "user/"
ROLE = "role/"
S3 = "s3/"
GITHUB = "github-token/"
AUDIT = "audit/"

KINDS = (APPLICATION, GROUP, CONFIG, INSTANCE, USER, ROLE, S3, GITHUB, AUDIT)
"""Each with its separator, which is matched literally (CP-023)."""

_CONFIG_WITH_SLASH = "deploymentconfig/"
"""The guide prints both spellings, so both mean the same (CP-024)."""

_ARN = "arn:aws:codedeploy:"
_LONGEST = 1024
_MOST_STARS = 16


class NotAPattern(ValueError):
    """The message says what is wrong with the text, and what would be right."""


@dataclass(frozen=True, slots=True)
class Resource:
    """One thing under each of its names: an instance has an id and a name. `names` are not empty."""

    names: tuple[str, ...]

    @property
    def name(self) -> str:
        """The one that is shown."""
        return self.names[0]


def application(name: str) -> Resource:
    return Resource((APPLICATION + name,))


def group(application_name: str, name: str) -> Resource:
    return Resource((f"{GROUP}{application_name}/{name}",))


def config(name: str) -> Resource:
    return Resource((CONFIG + name,))


def instance(*names: str) -> Resource:
    """By its name, its id, or both."""
    return Resource(tuple(INSTANCE + name for name in dict.fromkeys(names)))


def user(name: str) -> Resource:
    return Resource((USER + name,))


def role(name: str) -> Resource:
    return Resource((ROLE + name,))


def every(kind: str) -> Resource:
    """All of a kind: only a pattern that leaves nothing out covers it, for none but such a one fits a `*`."""
    return Resource((kind + EVERYTHING,))


def in_account(text: str, region: str, account_id: str) -> str:
    """The ARN of a resource or pattern, as it is shown to people."""
    return text if text == EVERYTHING else f"{_ARN}{region}:{account_id}:{text}"


def parse_resource(text: str, region: str, account_id: str) -> Resource:
    """A resource from its ARN or from the part behind the account; raises NotAPattern."""
    return Resource((parse_pattern(text, region, account_id),))


def parse_pattern(text: str, region: str, account_id: str) -> str:
    """A pattern of resources as it is stored, from an ARN or the part behind the account.

    `*` stands for any characters, in names only: neither in region or account (PF-233) nor in the kind. Raises
    NotAPattern.
    """
    if text == EVERYTHING:
        return text
    if len(text) > _LONGEST or not text.isprintable():
        raise NotAPattern(f"a resource has at most {_LONGEST} printable characters")
    name = _without_account(text, region, account_id) if text.startswith("arn:") else text
    name = _one_spelling(name)
    if name == EVERYTHING:
        return name
    if not any(name.startswith(kind) and len(name) > len(kind) for kind in KINDS):
        known = ", ".join(f"{kind}NAME" for kind in KINDS)
        raise NotAPattern(
            f"{text!r} is no resource: write *, or one of {known}; * stands for a part of a name"
        )
    if name.count(EVERYTHING) > _MOST_STARS:
        raise NotAPattern(f"a pattern has at most {_MOST_STARS} times *")
    return name


def _without_account(text: str, region: str, account_id: str) -> str:
    parts = text.split(":", 5)
    if len(parts) < 6 or parts[:3] != ["arn", "aws", "codedeploy"]:
        raise NotAPattern(f"{text!r} is no ARN of ours: one begins with {_ARN}{region}:{account_id}:")
    if EVERYTHING in parts[3] or EVERYTHING in parts[4]:
        raise NotAPattern(f"{text!r} has * in its region or account: write {_ARN}{region}:{account_id}:…")
    if (parts[3], parts[4]) != (region, account_id):
        raise NotAPattern(
            f"{text!r} is of another region or account: here they are {region} and {account_id}"
        )
    return parts[5]


def _one_spelling(name: str) -> str:
    if name.startswith(_CONFIG_WITH_SLASH):
        return CONFIG + name[len(_CONFIG_WITH_SLASH) :]
    return name


class Pattern:
    """One or several patterns, of actions or of resources. Matching takes time in proportion to the text."""

    __slots__ = ("_beginnings", "_exact", "_globs", "is_everything")

    def __init__(self, texts: Iterable[str]) -> None:
        listed = tuple(texts)
        self.is_everything = EVERYTHING in listed
        self._exact = frozenset(text for text in listed if EVERYTHING not in text)
        self._globs = tuple(tuple(text.split(EVERYTHING)) for text in listed if EVERYTHING in text)
        self._beginnings = tuple(pieces[0] for pieces in self._globs)

    def fits(self, text: str) -> bool:
        if self.is_everything or text in self._exact:
            return True
        return any(_fits(pieces, text) for pieces in self._globs)

    def meets(self, other: Pattern, several: str) -> bool:
        """Whether something may fit both of what `several` names: a name with `*`, as `every` makes it.

        Sometimes it is true though nothing does: only beginnings are compared where there are wildcards.
        """
        beginning = several.partition(EVERYTHING)[0]
        if self.is_everything and other.is_everything:
            return True
        for one, another in ((self, other), (other, self)):
            if any(text.startswith(beginning) and another.fits(text) for text in one._exact):
                return True
        return any(
            _agree(mine, theirs) and _agree(mine, beginning) and _agree(theirs, beginning)
            for mine in self._beginnings
            for theirs in other._beginnings
        )


def _agree(one: str, other: str) -> bool:
    return one.startswith(other) or other.startswith(one)


def _fits(pieces: tuple[str, ...], text: str) -> bool:
    """Whether text is the pieces in their order with anything between them. Not a regular expression: those can be
    made to take for ever."""
    first, *middle, last = pieces
    if len(text) < len(first) + len(last) or not text.startswith(first) or not text.endswith(last):
        return False
    at, end = len(first), len(text) - len(last)
    for piece in middle:
        found = text.find(piece, at, end)
        if found < 0:
            return False
        at = found + len(piece)
    return True
