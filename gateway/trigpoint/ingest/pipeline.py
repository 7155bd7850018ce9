"""Moves messages from the broker to the disk in batches, and tells boards and broker afterwards."""

from __future__ import annotations

import logging
import os
import sqlite3
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from selectors import EVENT_READ, DefaultSelector
from typing import Protocol, TypeVar

from cryptography.hazmat.primitives.asymmetric import ec

from trigpoint.clock import Clock
from trigpoint.ingest import boards
from trigpoint.ingest.batch import Batch, Outcome, without_accepted
from trigpoint.ingest.boards import Board, Boards
from trigpoint.ingest.check import understood
from trigpoint.ingest.decision import Reason
from trigpoint.ingest.folder import Folder
from trigpoint.ingest.inbox import Inbox
from trigpoint.ingest.message import Delivery
from trigpoint.ingest.pace import Pace
from trigpoint.ingest.pool import CHUNK_BYTES, CHUNK_MESSAGES, Checkers, Chunk, InProcess, Pool
from trigpoint.ingest.tally import Statistics, Tally
from trigpoint.ingest.triage import Triage
from trigpoint.store import statements
from trigpoint.store.database import open_database
from trigpoint.store.locks import check_locks
from trigpoint.store.statements import REJECTED_KEPT
from trigpoint.store.writer import Writer
from trigpoint.wire import ack
from trigpoint.wire.ack import Sealer
from trigpoint.wire.keys import PublicKey

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

INBOX_LENGTH = 2_000
"""Messages held in memory before they are looked at; with 4 KiB each, 8 MB. When it is full, the broker has to wait."""

_SEALERS_KEPT = 8_192
_RETRY_MIN_S, _RETRY_MAX_S = 0.5, 30.0
_POLL_S = 0.25
_REJECTED_PER_S = 1.0


class Replies(Protocol):
    """Where acks and confirmations go; `trigpoint.ingest.mqtt.Session` in the field."""

    def answer(self, acks: Sequence[tuple[str, bytes]], confirmed: Sequence[Delivery]) -> None:
        """Publish acks, each a topic and a payload, and tell the broker what it may forget, if that is possible now."""
        ...


@dataclass(frozen=True)
class Limits:
    """What this gateway takes from whom; see `trigpoint.config.Ingest`.

    Attributes:
        owners: addresses, 20 bytes each, whose boards are served; of everybody if there are none.
        bytes_per_day: of statements, from one board.
        workers: worker processes at most; None for one for each core, and none on a machine with one.
    """

    owners: Collection[bytes] = ()
    bytes_per_day: int = 64_000_000
    workers: int | None = None


def _cores() -> int:
    """Return how many cores this process may use, as far as the system tells."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _StoppedError(Exception):
    """The gateway stops, and what was under way is left to the broker."""


class Ingest:
    """One thread that has messages checked, decides on them in the order of arrival, and commits them in batches.

    After a commit its acks go out, and then the broker's PUBACKs. While the database refuses to write (a full disk,
    say), the batch is tried again with back-off and nobody is told anything. What is checked is bounded, what waits for
    that is bounded, and then the broker has to wait.

    Args:
        writer: the database.
        link_key: the gateway's half of the ack keys.
        clock: the time in acks.
        failed: called once, from the thread, if something happens that trying again will not mend.
        pace: when to write.
        limits: what to take from whom.
    """

    def __init__(
        self,
        writer: Writer,
        link_key: ec.EllipticCurvePrivateKey,
        clock: Clock,
        failed: Callable[[Exception], None],
        *,
        pace: Pace = Pace(),  # noqa: B008  (frozen, as is the next)
        limits: Limits = Limits(),
    ) -> None:
        self._writer = writer
        self._clock = clock
        self._failed = failed
        self._pace = pace
        self._limits = limits
        self._inbox = Inbox(INBOX_LENGTH)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._folder = Folder(writer, pace)
        self._boards = Boards(self._load)
        self._changed: set[bytes] = set()
        self._triage = Triage(self._boards, self._stored_entry)
        self._reader: sqlite3.Connection | None = None
        self._selector = DefaultSelector()
        self._selector.register(self._inbox, EVENT_READ, self._inbox.drain)
        workers = _cores() if limits.workers is None else limits.workers
        self._checkers: Checkers = Pool(self._selector, workers) if workers > 1 else InProcess()
        self._chunks: deque[Chunk] = deque()
        self._checked: list[Chunk] = []
        self._waiting = 0
        self._waiting_since = self._gathering_since = self._newest_at = 0.0
        self._rejections, self._rejections_at = float(REJECTED_KEPT), time.monotonic()
        self._received = 0
        self._tally = Tally()
        self._refusing_since: float | None = None

        @lru_cache(maxsize=_SEALERS_KEPT)
        def sealer(point: bytes) -> Sealer:
            return Sealer(ack.derive_key(link_key, PublicKey(point[:32], point[32:])))

        self._sealer = sealer

    def start(self, replies: Replies) -> None:
        """Fold what an earlier run has left, and begin to take messages; tell `replies` what came of them.

        Raises:
            sqlite3.Error: the database refused.
        """
        self._folder.catch_up()
        self._thread = threading.Thread(target=self._run, args=(replies,), name="ingest", daemon=True)
        self._thread.start()

    def receive(self, delivery: Delivery) -> None:
        """Hand in a message. Blocks while the inbox is full; a message that comes during a stop is dropped."""
        self._received += 1
        self._inbox.put(delivery, self._stopping.is_set)

    def stop(self) -> None:
        """Commit what has been checked, and fold. What has not was not confirmed: the broker will send it again."""
        self._stopping.set()
        if self._thread is not None:
            self._inbox.wake()
            self._thread.join()

    def statistics(self) -> Statistics:
        """Return how it is going. Safe to call from any thread."""
        tail = self._folder.tail
        return Statistics(
            received=self._received,
            by_reason={str(reason): count for reason, count in self._tally.by_reason.copy().items()},
            queued=len(self._inbox),
            capacity=INBOX_LENGTH,
            checking=self._waiting + sum(len(chunk.jobs) for chunk in list(self._chunks)),
            workers=self._checkers.workers,
            commits=self._tally.commits,
            commit_s=self._tally.commit_s,
            per_s=self._tally.per_s,
            tail=tail.size - tail.start,
            refusing_since=self._refusing_since,
        )

    def _run(self, replies: Replies) -> None:
        with ExitStack() as stack:
            stack.callback(self._checkers.close)
            try:
                self._reader = open_database(self._writer.path, read_only=True)
                stack.callback(self._reader.close)
                while not self._stopping.is_set():
                    self._step(replies)
                self._commit(replies)
                self._folder.step(everything=True)
            except _StoppedError:
                pass
            except Exception as error:
                self._failed(error)

    def _step(self, replies: Replies) -> None:
        """Wait until something is to be done, and do it."""
        for key, _ in self._selector.select(self._pause()):
            key.data()
        self._inbox.awake()
        self._dispatch()
        while self._chunks and self._chunks[0].findings is not None:
            chunk = self._chunks.popleft()
            if not self._waiting:
                self._waiting_since = time.monotonic()
            self._checked.append(chunk)
            self._waiting += len(chunk.jobs)
        if self._is_commit_due(time.monotonic()):
            self._commit(replies)
        self._folder.step()
        self._tally.report()

    def _pause(self) -> float:
        """Return how long to wait at most, and ask to be woken before if there is more to do."""
        now, pace = time.monotonic(), self._pace
        pause = _POLL_S
        if self._waiting:
            until = self._waiting_since + pace.linger_s
            # While there is more to check it is not quiet, and what comes of that wakes us; to look again and again
            # whether it is cost a fifth of this thread's time.
            if self._waiting >= pace.quiet_messages and not self._chunks and not len(self._inbox):
                until = min(until, self._newest_at + pace.quiet_s)
            pause = min(pause, until - now)
        if not self._checkers.room():
            return max(0.0, pause)  # it is a worker that must wake us
        wanted = 1
        if len(self._inbox):
            wanted = CHUNK_MESSAGES
            if not self._chunks:
                pause = min(pause, self._gathering_since + pace.gather_s - now)
        return max(0.0, pause) if self._inbox.sleep_until(wanted) else 0.0

    def _dispatch(self) -> None:
        """Give the checkers what has arrived, in chunks that are full or have waited long enough."""
        now = time.monotonic()
        while (waiting := len(self._inbox)) and self._checkers.room():
            if not self._gathering_since:
                self._gathering_since = now
            # A chunk that is not full waits a little, and for those before it: then it is fuller when its turn comes.
            if waiting < CHUNK_MESSAGES and (self._chunks or now - self._gathering_since < self._pace.gather_s):
                return
            deliveries = self._inbox.take(CHUNK_MESSAGES, CHUNK_BYTES)
            self._newest_at, self._gathering_since = now, 0.0
            signer = self._triage.signer
            chunk = Chunk(
                deliveries, [(message.payload, message.arrival_ms, signer(message)) for message, *_ in deliveries]
            )
            self._chunks.append(chunk)
            self._checkers.submit(chunk)

    def _is_commit_due(self, now: float) -> bool:
        pace = self._pace
        if not self._waiting:
            return False
        if self._waiting >= pace.batch or now - self._waiting_since >= pace.linger_s:
            return True
        is_quiet = not self._chunks and not len(self._inbox) and now - self._newest_at >= pace.quiet_s
        return is_quiet and self._waiting >= pace.quiet_messages

    def _commit(self, replies: Replies) -> None:
        """Decide on what has been checked, write it, and tell everybody."""
        if not self._waiting:
            return
        chunks, self._checked, self._waiting = self._checked, [], 0
        batch = self._persist(lambda: self._decide(chunks))
        stranger = next((row.topic for row in batch.rejected if row.reason == Reason.UNKNOWN_BOARD), None)
        del batch.rejected[self._rejections_left() :]
        counted_now = batch.counts
        counts = self._folder.uncounted + counted_now

        def write(connection: sqlite3.Connection) -> tuple[list[bytes], bool]:
            before = connection.total_changes
            flagged = batch.write(connection)
            # Counters go along when another page is written anyhow; a flood that is only counted writes none.
            counted = connection.total_changes - before > len(batch.statements)
            if counted:
                statements.count(connection, without_accepted(counts))
            return flagged, counted

        began = time.monotonic()
        flagged, counted = self._persist(lambda: self._writer.submit(write))
        self._folder.uncounted = Counter() if counted else counts
        self._tally.committed(counted_now, time.monotonic() - began)
        self._rejections -= len(batch.rejected)
        outcomes = batch.done(self._clock.now_ms(), self._folder.tail)
        replies.answer(self._acks(outcomes), [delivery for chunk in chunks for delivery in chunk.deliveries])
        self._look_after(outcomes, flagged)
        if stranger is not None:
            self._tally.unknown(stranger)

    def _decide(self, chunks: Sequence[Chunk]) -> Batch:
        # Kept until all are taken in: what is forgotten when the disk refuses one would leave a revoked board active.
        self._changed |= self._writer.changed_boards()
        for kid in self._changed:
            self._boards.refresh(kid)
        self._changed.clear()
        batch = Batch(self._boards, self._folder.tail.size, self._stored_entry, self._limits.bytes_per_day)
        for chunk in chunks:
            assert chunk.findings is not None
            for delivery, finding in zip(chunk.deliveries, chunk.findings, strict=True):
                batch.take(delivery.message, understood(finding))
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
                check_locks(error)
                self._refusing_since = self._refusing_since or time.monotonic()
                _log.error("database refuses, no acks until it does not error=%r retry_s=%.1f", str(error), delay_s)
            if self._stopping.wait(delay_s):
                raise _StoppedError
            delay_s = min(2 * delay_s, _RETRY_MAX_S)
        if self._refusing_since is not None:
            self._refusing_since = None
            _log.warning("database writes again, acks resume")
        return result

    def _acks(self, outcomes: Sequence[Outcome]) -> list[tuple[str, bytes]]:
        """Return what to tell the boards: one ack for all that was accepted of one, and one for each repeated message.

        A board that sends something again has perhaps not had the ack.
        """
        now_ms = self._clock.now_ms()
        acks: list[tuple[str, bytes]] = []
        told: set[bytes] = set()
        for reason, board, ack_seq in outcomes:
            if board is None or ack_seq is None or (reason is Reason.ACCEPTED and board.kid in told):
                continue
            told.add(board.kid)
            acks.append((board.acks_topic, self._sealer(board.signer[1]).seal(ack_seq, now_ms)))
        return acks

    def _look_after(self, outcomes: Sequence[Outcome], flagged: Sequence[bytes]) -> None:
        """Log what somebody should know, and correct the guesses that went wrong."""
        for kid in flagged:
            _log.warning("board flagged: two histories under one key board=%s", kid.hex())
        for reason, board, _ in outcomes:
            if reason is not Reason.ACCEPTED and board is not None:
                board.expected = board.state.next_seq

    def _rejections_left(self) -> int:
        """Return how many refused messages may be kept now: a flood of them is only counted, for flash wears."""
        now = time.monotonic()
        grown = self._rejections + (now - self._rejections_at) * _REJECTED_PER_S
        self._rejections, self._rejections_at = min(grown, float(REJECTED_KEPT)), now
        return int(self._rejections)

    def _load(self, kid: bytes) -> Board | None:
        assert self._reader is not None
        return boards.load(self._reader, kid, self._folder.tail.newest.get, self._limits.owners)

    def _stored_entry(self, number: int, seq: int) -> bytes | None:
        recent = self._folder.tail.entry(number, seq)
        if recent is not None:
            return recent
        assert self._reader is not None
        return statements.entry_at(self._reader, statements.find_folded(self._reader, number, seq))
