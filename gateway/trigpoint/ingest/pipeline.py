"""Moves messages from the broker to the disk in batches, and tells boards and broker afterwards."""

from __future__ import annotations

import logging
import math
import queue
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, TypeVar

from cryptography.hazmat.primitives.asymmetric import ec

from trigpoint.clock import Clock
from trigpoint.ingest import boards
from trigpoint.ingest.batch import Batch, Checked, Outcome, read, without_accepted
from trigpoint.ingest.boards import Board, Boards
from trigpoint.ingest.check import Signer
from trigpoint.ingest.decision import Reason
from trigpoint.ingest.mqtt import Delivery
from trigpoint.ingest.pace import Pace
from trigpoint.store import statements
from trigpoint.store.database import open_database
from trigpoint.store.fold import Tail, fold_index, fold_log, replay
from trigpoint.store.writer import Writer
from trigpoint.wire import ack
from trigpoint.wire.keys import PublicKey

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

QUEUE_LENGTH = 2_000
"""Messages held in memory; with 4 KiB each, 8 MB. When it is full, the broker has to wait."""

_RETRY_MIN_S, _RETRY_MAX_S = 0.5, 30.0
_POLL_S = 0.25
_REPORT_EVERY_S = 10.0


class Replies(Protocol):
    """Where acks and confirmations go; `trigpoint.ingest.mqtt.Session` in the field."""

    def publish(self, topic: str, payload: bytes) -> None:
        """Publish `payload`, if that is possible now."""
        ...

    def confirm(self, delivery: Delivery) -> None:
        """Tell the broker that it may forget this message."""
        ...


@dataclass(frozen=True)
class Statistics:
    """What ingest has done since it was started, and how it is, at one moment.

    Attributes:
        received: messages handed in.
        by_reason: messages that came to each end.
        queued: messages that wait to be looked at.
        capacity: most that may wait there.
        commits: transactions.
        commit_s: seconds that all of them took.
        per_s: statements accepted in a second, over the last ten seconds or so.
        tail: statements that the index has not taken in.
        refusing_since: when the database began to refuse to write, seconds of `time.monotonic`; None if it does not.
    """

    received: int
    by_reason: dict[str, int]
    queued: int
    capacity: int
    commits: int
    commit_s: float
    per_s: float
    tail: int
    refusing_since: float | None


class _StoppedError(Exception):
    """The gateway stops, and what was under way is left to the broker."""


class Ingest:
    """One thread that takes messages in batches of what is waiting.

    A batch is committed in one transaction; then its acks go out, and then the broker's PUBACKs. While the database
    refuses to write (a full disk, say), the batch is tried again with back-off and nobody is told anything.

    Args:
        writer: the database.
        link_key: the gateway's half of the ack keys.
        clock: the time in acks.
        failed: called once, from the thread, if something happens that trying again will not mend.
        pace: when to write.
    """

    def __init__(
        self,
        writer: Writer,
        link_key: ec.EllipticCurvePrivateKey,
        clock: Clock,
        failed: Callable[[Exception], None],
        pace: Pace = Pace(),  # noqa: B008  (frozen)
    ) -> None:
        self._writer = writer
        self._clock = clock
        self._failed = failed
        self._pace = pace
        self._queue: queue.Queue[Delivery] = queue.Queue(QUEUE_LENGTH)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._tail = Tail(0, 0)
        self._boards = Boards(self._load)
        self._reader: sqlite3.Connection | None = None
        self._uncounted: Counter[Reason] = Counter()
        self._folded_log_at = self._folded_index_at = -math.inf
        self._reported = -math.inf
        self._unreported: Counter[str] = Counter()
        self._received = 0
        self._by_reason: Counter[str] = Counter()
        self._commits, self._commit_s = 0, 0.0
        self._rate, self._rate_since, self._rate_count = 0.0, 0.0, 0
        self._refusing_since: float | None = None

        @lru_cache(maxsize=8_192)
        def ack_key(signer: Signer) -> bytes:
            return ack.derive_key(link_key, PublicKey(signer.x, signer.y))

        self._ack_key = ack_key

    def start(self, replies: Replies) -> None:
        """Fold what an earlier run has left, and begin to take messages; tell `replies` what came of them.

        Raises:
            sqlite3.Error: the database refused.
        """
        self._tail = catch_up(self._writer)
        self._folded_log_at = self._folded_index_at = time.monotonic()
        self._thread = threading.Thread(target=self._run, args=(replies,), name="ingest", daemon=True)
        self._thread.start()

    def receive(self, delivery: Delivery) -> None:
        """Hand in a message. Blocks while the queue is full; a message that comes during a stop is dropped."""
        self._received += 1
        while not self._stopping.is_set():
            with suppress(queue.Full):
                self._queue.put(delivery, timeout=_POLL_S)
                return

    def stop(self) -> None:
        """Finish the batch under way, and fold. What is still queued was not confirmed: it will be sent again."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def statistics(self) -> Statistics:
        """Return how it is going. Safe to call from any thread."""
        return Statistics(
            received=self._received,
            by_reason=dict(self._by_reason),
            queued=self._queue.qsize(),
            capacity=QUEUE_LENGTH,
            commits=self._commits,
            commit_s=self._commit_s,
            per_s=self._rate,
            tail=self._tail.size - self._tail.start,
            refusing_since=self._refusing_since,
        )

    def _run(self, replies: Replies) -> None:
        try:
            self._reader = open_database(self._writer.path, read_only=True)
            while not self._stopping.is_set():
                batch = self._next_batch()
                if batch:
                    self._take(batch, replies)
                self._fold()
                self._report()
            self._fold(everything=True)
        except _StoppedError:
            pass
        except Exception as error:
            self._failed(error)
        finally:
            if self._reader is not None:
                self._reader.close()

    def _next_batch(self) -> list[Delivery]:
        """Wait a moment for a first message, then a little for more."""
        batch: list[Delivery] = []
        with suppress(queue.Empty):
            batch.append(self._queue.get(timeout=_POLL_S))
            until = time.monotonic() + self._pace.linger_s
            while len(batch) < self._pace.batch:
                batch.append(self._queue.get(timeout=max(0.0, until - time.monotonic())))
        return batch

    def _take(self, deliveries: Sequence[Delivery], replies: Replies) -> None:
        checked = [self._check(delivery) for delivery in deliveries]
        batch = self._persist(lambda: self._decide(checked))
        counts = self._uncounted + batch.counts if batch.rejected or batch.evidence else Counter[Reason]()

        def write(connection: sqlite3.Connection) -> list[bytes]:
            flagged = batch.write(connection)
            statements.count(connection, without_accepted(counts))
            return flagged

        began = time.monotonic()
        flagged = self._persist(lambda: self._writer.submit(write))
        self._commits, self._commit_s = self._commits + 1, self._commit_s + time.monotonic() - began
        self._uncounted = Counter[Reason]() if counts else self._uncounted + batch.counts
        outcomes = batch.done(self._tail)
        for outcome in outcomes:
            self._reply(outcome, replies)
        for delivery in deliveries:
            replies.confirm(delivery)
        self._count(batch.counts, flagged)

    def _check(self, delivery: Delivery) -> Checked:
        message = delivery.message
        return read(message)

    def _decide(self, checked: Iterable[Checked]) -> Batch:
        for kid in self._writer.changed_boards():
            self._boards.forget(kid)
        batch = Batch(self._boards, self._tail.size, self._stored_entry)
        for item in checked:
            batch.take(item)
        return batch

    def _persist(self, work: Callable[[], _T]) -> _T:
        """Do what needs the disk, again and again until it works.

        Raises:
            _StoppedError: the gateway stops before it does.
        """
        delay_s = _RETRY_MIN_S
        while True:
            try:
                result = work()
                break
            except sqlite3.OperationalError as error:
                self._refusing_since = self._refusing_since or time.monotonic()
                _log.error(
                    "database refuses to write, no acks until it does error=%r retry_s=%.1f", str(error), delay_s
                )
            if self._stopping.wait(delay_s):
                raise _StoppedError
            delay_s = min(2 * delay_s, _RETRY_MAX_S)
        if self._refusing_since is not None:
            self._refusing_since = None
            _log.warning("database writes again, acks resume")
        return result

    def _load(self, kid: bytes) -> Board | None:
        assert self._reader is not None
        return boards.load(self._reader, kid, self._tail.newest.get)

    def _stored_entry(self, number: int, seq: int) -> bytes | None:
        recent = self._tail.seqs.get((number, seq))
        if recent is not None:
            return recent[1]
        assert self._reader is not None
        return statements.entry_at(self._reader, statements.find_folded(self._reader, number, seq))

    def _fold(self, *, everything: bool = False) -> None:
        """Fold what is due. A disk that refuses leaves it for later: nothing depends on when it is done."""
        now, pace, tail = time.monotonic(), self._pace, self._tail
        waiting = tail.size - tail.start
        due_log = everything or now - self._folded_log_at >= pace.log_s
        due_index = (
            everything
            or now - self._folded_index_at >= pace.index_s
            or waiting >= pace.index_statements
            or len(tail.hours) >= pace.index_cells
        )
        if not due_log and not due_index:
            return
        counts = self._uncounted

        def fold(connection: sqlite3.Connection) -> None:
            fold_log(connection)
            statements.count(connection, without_accepted(counts))
            if due_index:
                fold_index(connection, tail)

        try:
            self._writer.submit(fold)
        except sqlite3.OperationalError as error:
            _log.error("database refuses to fold, which is tried again error=%r", str(error))
            self._folded_log_at = now
            return
        self._uncounted = Counter()
        self._folded_log_at = now
        if due_index:
            self._tail, self._folded_index_at = Tail(tail.size, tail.size), now

    def _reply(self, outcome: Outcome, replies: Replies) -> None:
        if outcome.board is not None and outcome.ack_seq is not None:
            sealed = ack.seal(self._ack_key(outcome.board.signer), outcome.ack_seq, self._clock.now_ms())
            replies.publish(f"trig/1/{outcome.board.kid.hex()}/a", sealed)

    def _count(self, counts: Counter[Reason], flagged: Iterable[bytes]) -> None:
        self._by_reason.update(counts)
        self._unreported.update(counts)
        self._rate_count += counts[Reason.ACCEPTED]
        for kid in flagged:
            _log.warning("board flagged: two histories under one key board=%s", kid.hex())

    def _report(self) -> None:
        """Log what came, from time to time: one line for each message would let a stranger fill the disk."""
        now = time.monotonic()
        if now - self._reported < _REPORT_EVERY_S:
            return
        self._rate, self._rate_since, self._rate_count = self._rate_count / max(now - self._rate_since, 1e-9), now, 0
        self._reported = now
        if self._unreported:
            _log.info(
                "messages %s", " ".join(f"{reason}={number}" for reason, number in sorted(self._unreported.items()))
            )
            self._unreported.clear()


def catch_up(writer: Writer) -> Tail:
    """Fold all that is stored, a part at a time, and return the empty tail that is left.

    Raises:
        sqlite3.Error: the database refused; what was folded until then stays so.
    """
    writer.submit(fold_log)
    while True:
        tail = writer.submit(replay)
        if tail.size == tail.start:
            return tail
        writer.submit(lambda connection, tail=tail: fold_index(connection, tail))  # type: ignore[misc]
