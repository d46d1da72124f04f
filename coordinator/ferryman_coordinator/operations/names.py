"""Names, descriptions and tags: what is accepted, and what each refusal is called (CP section 2)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ferryman_coordinator.config.schema import Limits
from ferryman_coordinator.core.tags import Tag, TagLimits
from ferryman_coordinator.errors import Invalid, LimitExceeded

PREDEFINED_PREFIX = "CodeDeployDefault."
DESCRIPTION_LENGTH = 256

_ALPHABET = re.compile(r"[A-Za-z0-9._+=,@-]*")


@dataclass(frozen=True, slots=True)
class NameRule:
    """What a kind of name is called, and how its two refusals are (CP-033)."""

    noun: str
    required: str
    invalid: str
    forbidden_prefix: str = ""
    # What would be taken for something else.
    forbidden: re.Pattern[str] | None = None

    def check(self, name: str, limits: Limits) -> str:
        """`name` itself; raises Invalid when it is missing or malformed."""
        if not name:
            raise Invalid(self.required, f"the {self.noun} is missing: give one")
        problem = self._problem(name, limits.name_length)
        if problem:
            raise Invalid(self.invalid, f"{self.noun} {shown(name)} is not valid: {problem}")
        return name

    def _problem(self, name: str, longest: int) -> str:
        if len(name) > longest:
            return f"it has {len(name)} characters, at most {longest} are allowed"
        good = _ALPHABET.match(name)
        if good is not None and good.end() < len(name):
            return f"{name[good.end()]!r} is not among letters, digits and . _ + = , @ -"
        if self.forbidden_prefix and name.startswith(self.forbidden_prefix):
            return f"names that begin with {self.forbidden_prefix!r} are reserved"
        if self.forbidden is not None and self.forbidden.fullmatch(name):
            return "it looks like an id, and would be taken for that of another one"
        return ""


APPLICATION = NameRule(
    "application name", "ApplicationNameRequiredException", "InvalidApplicationNameException"
)
GROUP = NameRule(
    "deployment group name", "DeploymentGroupNameRequiredException", "InvalidDeploymentGroupNameException"
)
CONFIG = NameRule(
    "deployment configuration name",
    "DeploymentConfigNameRequiredException",
    "InvalidDeploymentConfigNameException",
)
CUSTOM_CONFIG = NameRule(CONFIG.noun, CONFIG.required, CONFIG.invalid, PREDEFINED_PREFIX)
INSTANCE = NameRule(
    "instance name",
    "InstanceNameRequiredException",
    "InvalidInstanceNameException",
    "i-",
    re.compile(r"mi-[0-9a-f]{17}"),
)


def check_description(text: str) -> str:
    """`text` itself; raises Invalid (DescriptionTooLongException)."""
    if len(text) > DESCRIPTION_LENGTH:
        raise Invalid(
            "DescriptionTooLongException",
            f"the description has {len(text)} characters, at most {DESCRIPTION_LENGTH} are allowed: shorten it",
        )
    return text


def check_tags(tags: Sequence[Tag], limits: Limits) -> tuple[Tag, ...]:
    """`tags` without repetitions; raises Invalid (InvalidTagException) for the first one that is not valid (CP-085)."""
    for tag in tags:
        problem = _tag_problem(tag, limits)
        if problem:
            raise Invalid(
                "InvalidTagException", f"tag {shown(tag.key)}={shown(tag.value)} is not valid: {problem}"
            )
    return tuple(dict.fromkeys(tags))


def check_tag_count(name: str, tags: Sequence[Tag], limits: Limits) -> None:
    """Raises LimitExceeded (TagLimitExceededException) when an instance would hold too many (CP-086)."""
    if len(tags) > limits.tags_per_instance:
        raise LimitExceeded(
            "TagLimitExceededException",
            f"instance {name!r} would hold {len(tags)} tags, at most {limits.tags_per_instance} are allowed: "
            "remove some first",
        )


def tag_limits(limits: Limits) -> TagLimits:
    """The settings as the core takes them (CP-421)."""
    return TagLimits(
        groups=limits.tag_groups_per_set,
        filters=limits.filters_per_tag_group,
        key=limits.tag_key_length,
        value=limits.tag_value_length,
    )


def shown(text: str) -> str:
    """Quoted for a message: control characters visible, and not endlessly long."""
    return repr(text if len(text) <= 120 else text[:120] + "…")


def listed(texts: Sequence[str]) -> str:
    """Several as `shown`, the first five of them."""
    more = f" and {len(texts) - 5} more" if len(texts) > 5 else ""
    return ", ".join(shown(text) for text in texts[:5]) + more


def _tag_problem(tag: Tag, limits: Limits) -> str:
    for what, text, longest in (
        ("key", tag.key, limits.tag_key_length),
        ("value", tag.value, limits.tag_value_length),
    ):
        if not text:
            return f"its {what} is empty"
        if len(text) > longest:
            return f"its {what} has {len(text)} characters, at most {longest} are allowed"
        if not text.isprintable():
            return f"its {what} holds a character that cannot be printed"
    return ""
