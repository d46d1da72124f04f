"""What can go wrong on an instance.

AgentError
├── EventError            a lifecycle event fails; carries the diagnostics that the coordinator is told
│   ├── BundleError       download, verification or unpacking
│   ├── InstallError      planning or carrying out an installation
│   └── HookError         a script missing, not startable, timed out or failed
├── ConfigError           the configuration cannot be used; names every mistake
├── IdentityError         enrolment, key or certificate
└── JournalError          the local record cannot be read or written
"""

from __future__ import annotations

from ferryman_agent.core.messages import Diagnostics, ScriptErrorCode

INTERRUPTED = "BUNDLE_INTERRUPTED"
"""Detail code of a download that the end of the agent broke off: the next process begins it anew."""


class AgentError(Exception):
    """Base of everything that the agent raises on purpose. `is_retryable` says whether trying again can help."""

    is_retryable = False


class EventError(AgentError):
    """A lifecycle event fails.

    `detail_code` is stable and for programs (for example `FILES_SOURCE_NOT_FOUND`); the message names the thing and
    the way out. `error_code` is the original's number (AG section 13.1): 5 for all that is not a script's own failure.
    """

    error_code = ScriptErrorCode.UNKNOWN_ERROR

    def __init__(self, detail_code: str, message: str, *, is_retryable: bool = False) -> None:
        super().__init__(message)
        self.detail_code = detail_code
        self.message = message
        self.is_retryable = is_retryable

    def diagnostics(self) -> Diagnostics:
        """Returns what is reported to the coordinator."""
        return Diagnostics(error_code=self.error_code, message=self.message, detail_code=self.detail_code)


class BundleError(EventError):
    """Download, verification or unpacking failed; nothing of the bundle is left behind."""


class InstallError(EventError):
    """Planning or carrying out an installation failed."""


class HookError(EventError):
    """A script is missing, cannot be started, timed out or failed."""


def broke(error: Exception) -> Diagnostics:
    """Returns how an event ends that a mistake of ours has ended: the code is fixed, the text is for a bug report."""
    return Diagnostics(
        error_code=ScriptErrorCode.UNKNOWN_ERROR,
        message=f"{type(error).__name__}: {error}",
        detail_code="INTERNAL_ERROR",
    )


class ConfigError(AgentError):
    """The configuration cannot be used; the message names every mistake."""


class IdentityError(AgentError):
    """Enrolment, key or certificate: the message says what to do."""


class JournalError(AgentError):
    """The local record cannot be read or written."""
