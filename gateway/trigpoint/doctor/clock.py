"""The machine's clock: whether something keeps it, and whether it agrees with the chain."""

from __future__ import annotations

import ctypes
import os

from trigpoint.doctor.finding import Finding, fail, ok, unknown, warn

_TIMEX_BYTES = 512  # struct timex has 208 on 64-bit Linux; with all zeros it asks, and sets nothing
_TIME_ERROR = 5
_AHEAD_S = 30
_BEHIND_S = 600


def is_synchronised() -> bool | None:
    """Tell whether the kernel says that something keeps the clock (adjtimex(2)); None where it cannot be asked."""
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state != _TIME_ERROR


def judge_synchronised(synchronised: bool | None) -> Finding:
    """Judge what the kernel said."""
    what = "kept by NTP"
    if synchronised is None:
        return unknown("clock", what, f"the kernel of this {os.uname().sysname} does not say")
    if synchronised:
        return ok("clock", what, "yes")
    return warn(
        "clock",
        what,
        "no: arrivals and anchors would bear a wrong time",
        "install chrony, or `sudo timedatectl set-ntp true`; a Pi has no clock of its own, so it needs a network",
    )


def judge_skew(now_s: int, newest_block_s: int, block_s: float) -> Finding:
    """Compare the clock with the time of the chain's newest block.

    Args:
        now_s: the machine's clock, seconds since 1970.
        newest_block_s: the time in the newest block that the node has.
        block_s: seconds between two blocks.
    """
    what, behind = "its time and ours", now_s - newest_block_s
    if behind < -_AHEAD_S:
        return fail("chain", what, f"it is {-behind:,} s behind the newest block", "set the clock: keep it by NTP")
    if behind > max(_BEHIND_S, 20 * block_s):
        return warn(
            "chain",
            what,
            f"the newest block is {behind:,} s old",
            "either this clock is ahead, or the node does not follow its chain: compare both with another source",
        )
    return ok("chain", what, f"the newest block is {max(behind, 0)} s old")
