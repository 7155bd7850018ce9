"""Decides when to fold the journal, and does it."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections import Counter

from trigpoint.ingest.batch import without_accepted
from trigpoint.ingest.decision import Reason
from trigpoint.ingest.pace import Pace
from trigpoint.store import statements
from trigpoint.store.fold import Tail, fold_index, fold_log, replay
from trigpoint.store.locks import check_locks
from trigpoint.store.writer import Writer

_log = logging.getLogger(__name__)

_SAY_EVERY_S = 2.0


class Folder:
    """Folds log and index when it is time, and with them writes the counters.

    Attributes:
        tail: what the index has not taken in.
        uncounted: messages that the table of counters has not taken in.
    """

    def __init__(self, writer: Writer, pace: Pace) -> None:
        self.tail = Tail(0)
        self.uncounted: Counter[Reason] = Counter()
        self._writer = writer
        self._pace = pace
        self._log_at = self._index_at = time.monotonic()

    def catch_up(self) -> None:
        """Fold all that an earlier run has left, a part at a time, and say so if that takes longer.

        Raises:
            sqlite3.Error: the database refused; what was folded until then stays so.
        """
        said = time.monotonic()
        self._writer.submit(fold_log)
        size = self._writer.submit(statements.size)
        while True:
            self.tail = tail = self._writer.submit(replay)
            if tail.size == tail.start:
                break
            self._writer.submit(lambda connection, tail=tail: fold_index(connection, tail))  # type: ignore[misc]
            if time.monotonic() - said >= _SAY_EVERY_S:
                said = time.monotonic()
                _log.info("index folded up to statement %d of %d, which an earlier run has left", tail.size, size)
        self._log_at = self._index_at = time.monotonic()

    def step(self, *, everything: bool = False) -> None:
        """Fold what is due. A disk that refuses leaves it for later: nothing depends on when it is done.

        Raises:
            OperatorError: the database's locks are in disorder.
        """
        now, pace, tail, counts = time.monotonic(), self._pace, self.tail, self.uncounted
        index_due = (
            everything
            or now - self._index_at >= pace.index_s
            or tail.size - tail.start >= pace.index_statements
            or len(tail.hours) >= pace.index_cells
        )
        if not (everything or index_due or now - self._log_at >= pace.log_s):
            return
        self._log_at = now

        def fold(connection: sqlite3.Connection) -> None:
            fold_log(connection, tail)
            statements.count(connection, without_accepted(counts))
            if index_due:
                fold_index(connection, tail)

        try:
            self._writer.submit(fold)
        except sqlite3.OperationalError as error:
            check_locks(error)
            _log.error("database refuses to fold, which is tried again error=%r", str(error))
            return
        self.uncounted = Counter()
        if index_due:
            self.tail, self._index_at = Tail(tail.size), now
