"""How ingest is doing: for metrics, for the watchdog, and a line in the log from time to time."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from trigpoint.ingest.decision import Reason

_log = logging.getLogger(__name__)

_REPORT_EVERY_S = 10.0
_HINT_EVERY_S = 600.0


@dataclass(frozen=True)
class Statistics:
    """What ingest has done since it was started, and how it is, at one moment.

    Attributes:
        received: messages handed in.
        by_reason: messages that came to each end.
        queued: messages that wait to be looked at.
        capacity: most that may wait there; then the broker has to.
        checking: messages that are being checked, or checked and not committed yet.
        workers: worker processes; 0 if messages are checked in this one.
        commits: transactions of statements.
        commit_s: seconds that all of them took.
        per_s: statements accepted in a second, over the last ten seconds.
        tail: statements that the index has not taken in yet.
        refusing_since: when the database began to refuse, seconds of `time.monotonic`; None if it does not.
    """

    received: int
    by_reason: dict[str, int]
    queued: int
    capacity: int
    checking: int
    workers: int
    commits: int
    commit_s: float
    per_s: float
    tail: int
    refusing_since: float | None


class Tally:
    """Counts what happened, and logs it at most every few seconds: a line for each would let a stranger fill the disk.

    Attributes:
        by_reason: messages that came to each end.
        commits: transactions.
        commit_s: seconds that they took.
        per_s: statements accepted in a second.
    """

    def __init__(self) -> None:
        self.by_reason: Counter[Reason] = Counter()
        self.commits = 0
        self.commit_s = 0.0
        self.per_s = 0.0
        self._unreported: Counter[Reason] = Counter()
        self._reported_at = time.monotonic()
        self._hinted_at = -_HINT_EVERY_S

    def committed(self, counts: Mapping[Reason, int], seconds: float) -> None:
        """Count a transaction and what was in it."""
        self.by_reason.update(counts)
        self._unreported.update(counts)
        self.commits += 1
        self.commit_s += seconds

    def unknown(self, topic: str) -> None:
        """Tell, now and then, what to do about a board that the registry does not know, given its topic."""
        now = time.monotonic()
        if now - self._hinted_at >= _HINT_EVERY_S:
            self._hinted_at = now
            _log.warning(
                "statements of a board that is not active in the registry are refused topic=%s;"
                " if it is yours, enrol it with: trigpoint board enroll",
                topic,
            )

    def report(self) -> None:
        """Log what came since the last report, if it is time."""
        now = time.monotonic()
        passed = now - self._reported_at
        if passed < _REPORT_EVERY_S:
            return
        self._reported_at = now
        self.per_s = self._unreported[Reason.ACCEPTED] / passed
        if self._unreported:
            _log.info(
                "messages %s", " ".join(f"{reason}={count}" for reason, count in sorted(self._unreported.items()))
            )
            self._unreported.clear()
