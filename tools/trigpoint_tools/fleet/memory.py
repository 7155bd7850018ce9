"""Memory and processor time of this program and of the boards' processes."""

from __future__ import annotations

import resource
from pathlib import Path


def rss_kb(pid: int | None) -> int:
    """Return the resident memory of a process in KiB, 0 if it is not there or this system has no /proc."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0])
    except (OSError, IndexError, ValueError):
        return 0


def cpu_s() -> float:
    """Return the processor time in seconds that this program has taken, and its children that have ended."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)
