"""Whether this machine's clock and the coordinator's agree well enough (AG-091)."""

from __future__ import annotations

from enum import Enum

WARN_MS, WRONG_MS = 60_000, 300_000


class Clocks(Enum):
    """What a difference means: nothing, times in logs that mislead, certificates and addresses that are refused."""

    AGREE = "agree"
    DIFFER = "differ"
    CONTRADICT = "contradict"

    @classmethod
    def of(cls, skew_ms: int | None) -> Clocks:
        """`skew_ms`: how far this clock is ahead; None where that is not known."""
        ahead = abs(skew_ms or 0)
        if ahead > WRONG_MS:
            return cls.CONTRADICT
        return cls.DIFFER if ahead > WARN_MS else cls.AGREE


def remark(skew_ms: int | None) -> str | None:
    """Returns a sentence for people that says what to do; None where the clocks agree."""
    found = Clocks.of(skew_ms)
    if skew_ms is None or found is Clocks.AGREE:
        return None
    how = f"{abs(skew_ms) // 1000} s {'ahead of' if skew_ms > 0 else 'behind'} the coordinator's"
    if found is Clocks.DIFFER:
        return f"this machine's clock is {how}: set it by a time service, such as chrony"
    return (
        f"CLOCK_WRONG: this machine's clock is {how}, so certificates and signed addresses are taken for expired or not"
        " yet valid: set it by a time service, such as chrony"
    )
