"""The words between the agent and the child that works on a bundle: one JSON object a line, both ways.

To the child: `fetch` or `build` (what is wanted), `rate`, `halt`. From it: `progress`, and one end for each piece of
work: `outcome`, `built`, `failed`, `os_error` or `halted`.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from ferryman_agent.bundles.building import Build, Built
from ferryman_agent.bundles.halt import Halted
from ferryman_agent.bundles.limits import BundleLimits
from ferryman_agent.bundles.route import Proxy, Route
from ferryman_agent.bundles.wanted import Attempt, Outcome
from ferryman_agent.errors import BundleError

Message = dict[str, Any]


def to_line(**message: object) -> bytes:
    """Returns one message. Names that are not UTF-8 pass as they are: JSON escapes surrogates."""
    return json.dumps(message).encode() + b"\n"


def from_line(line: bytes) -> Message:
    """Returns the message of a line. Raises ValueError for what is none."""
    found = json.loads(line)
    if not isinstance(found, dict):
        raise ValueError("not an object")
    return found


def wanted(value: Attempt | Build) -> Message:
    """Returns what is wanted as plain values."""
    return asdict(value)


def attempt_of(message: Message) -> Attempt:
    """Is the opposite of `wanted`."""
    route = message["route"]
    proxy = Proxy(**route["proxy"]) if route["proxy"] else None
    found = {
        "route": Route(
            ca_certificates=route["ca_certificates"],
            proxy=proxy,
            no_proxy=tuple(route["no_proxy"]),
            trace=route["trace"],
        ),
        "limits": _limits_of(message["limits"]),
        "secrets": tuple((name, value) for name, value in message["secrets"]),
    }
    return Attempt(**{**message, **found})


def build_of(message: Message) -> Build:
    """Is the opposite of `wanted`."""
    found = {
        "limits": _limits_of(message["limits"]),
        "possible_events": tuple(message["possible_events"]),
    }
    return Build(**{**message, **found})


def end(result: Outcome | Built) -> bytes:
    """Returns the line that ends a piece of work well."""
    return to_line(outcome=asdict(result)) if isinstance(result, Outcome) else to_line(built=asdict(result))


def failure(problem: BundleError | OSError | Halted) -> bytes:
    """Returns the line that ends a piece of work with an error that its caller knows."""
    if isinstance(problem, BundleError):
        return to_line(failed=[problem.detail_code, problem.message, problem.is_retryable])
    if isinstance(problem, OSError):
        name = problem.filename if isinstance(problem.filename, str) else None
        return to_line(os_error=[problem.errno, problem.strerror or str(problem), name])
    return to_line(halted=True)


def outcome_of(message: Message) -> Outcome:
    """Returns what a fetch ended with, or raises it: BundleError, OSError, Halted."""
    if "outcome" not in message:
        raise _problem(message)
    return Outcome(**message["outcome"])


def built_of(message: Message) -> Built:
    """Returns what a build ended with, or raises it: BundleError, OSError, Halted."""
    if "built" not in message:
        raise _problem(message)
    values = message["built"]
    return Built(values["files"], values["written_bytes"], tuple(values["warnings"]))


def _problem(message: Message) -> Exception:
    match message:
        case {"failed": [code, text, is_retryable]}:
            return BundleError(code, text, is_retryable=is_retryable)
        case {"os_error": [None, text, _]}:
            return OSError(text)
        case {"os_error": [number, text, name]}:
            return OSError(number, text, name)
        case {"halted": _}:
            return Halted()
        case _:
            return ValueError(f"an answer of no known kind: {sorted(message)}")


def _limits_of(values: Message) -> BundleLimits:
    return BundleLimits(**{**values, "retry_pauses": tuple(values["retry_pauses"])})
