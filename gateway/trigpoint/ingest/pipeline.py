"""Moves messages from the broker to the disk in batches, and tells boards and broker afterwards."""

from __future__ import annotations

import logging
import math
import queue
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric import ec

from trigpoint.clock import Clock
from trigpoint.ingest.batch import Outcome, read, store
from trigpoint.ingest.mqtt import Delivery
from trigpoint.store.writer import Writer
from trigpoint.wire import ack
from trigpoint.wire.keys import PublicKey

_log = logging.getLogger(__name__)

QUEUE_LENGTH = 2_000
"""Messages held in memory; with 4 KiB each, 8 MB. When it is full, the broker has to wait."""

BATCH_LENGTH = 256
"""Messages in one transaction at most, so that one fsync serves many and none waits long."""

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


class Ingest:
    """One thread that takes messages in batches of what is waiting.

    A batch is committed in one transaction; then its acks go out, and then the broker's PUBACKs. While the database
    refuses to write (a full disk, say), the batch is tried again with back-off and nobody is told anything.

    Args:
        writer: the database.
        link_key: the gateway's half of the ack keys.
        clock: the time in acks.
        failed: called once, from the thread, if something happens that trying again will not mend.
    """

    def __init__(
        self,
        writer: Writer,
        link_key: ec.EllipticCurvePrivateKey,
        clock: Clock,
        failed: Callable[[Exception], None],
    ) -> None:
        self._writer = writer
        self._clock = clock
        self._failed = failed
        self._queue: queue.Queue[Delivery] = queue.Queue(QUEUE_LENGTH)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._counts: Counter[str] = Counter()
        self._reported = -math.inf

        @lru_cache(maxsize=8_192)
        def ack_key(board: PublicKey) -> bytes:
            return ack.derive_key(link_key, board)

        self._ack_key = ack_key

    def start(self, replies: Replies) -> None:
        """Begin to take messages; tell `replies` what came of them."""
        self._thread = threading.Thread(target=self._run, args=(replies,), name="ingest", daemon=True)
        self._thread.start()

    def receive(self, delivery: Delivery) -> None:
        """Hand in a message. Blocks while the queue is full; a message that comes during a stop is dropped."""
        while not self._stopping.is_set():
            with suppress(queue.Full):
                self._queue.put(delivery, timeout=_POLL_S)
                return

    def stop(self) -> None:
        """Finish the batch under way. What is still queued was not confirmed: the broker will send it again."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self, replies: Replies) -> None:
        try:
            while not self._stopping.is_set():
                batch = self._next_batch()
                if batch:
                    self._take(batch, replies)
                self._report()
        except Exception as error:
            self._failed(error)

    def _next_batch(self) -> list[Delivery]:
        """Wait a moment for a first message, then add those that are waiting already."""
        batch: list[Delivery] = []
        with suppress(queue.Empty):
            batch.append(self._queue.get(timeout=_POLL_S))
            while len(batch) < BATCH_LENGTH:
                batch.append(self._queue.get_nowait())
        return batch

    def _take(self, batch: Sequence[Delivery], replies: Replies) -> None:
        parsed = [read(delivery.message) for delivery in batch]
        delay_s = _RETRY_MIN_S
        while True:
            try:
                outcomes = self._writer.submit(lambda connection: store(connection, parsed))
                break
            except sqlite3.OperationalError as error:
                _log.error(
                    "database refuses to write, no acks until it does error=%r retry_s=%.1f", str(error), delay_s
                )
            if self._stopping.wait(delay_s):
                return
            delay_s = min(2 * delay_s, _RETRY_MAX_S)
        if delay_s > _RETRY_MIN_S:
            _log.warning("database writes again, acks resume")
        for outcome in outcomes:
            self._reply(outcome, replies)
        for delivery in batch:
            replies.confirm(delivery)
        self._count(outcomes)

    def _reply(self, outcome: Outcome, replies: Replies) -> None:
        if outcome.key is not None and outcome.ack_seq is not None:
            sealed = ack.seal(self._ack_key(outcome.key), outcome.ack_seq, self._clock.now_ms())
            replies.publish(f"trig/1/{outcome.key.kid.hex()}/a", sealed)

    def _count(self, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            self._counts[outcome.reason] += 1
            if outcome.newly_flagged and outcome.key is not None:
                _log.warning("board flagged: two histories under one key board=%s", outcome.key.kid.hex())

    def _report(self) -> None:
        """Log what came, from time to time: one line for each message would let a stranger fill the disk."""
        now = time.monotonic()
        if self._counts and now - self._reported >= _REPORT_EVERY_S:
            _log.info("messages %s", " ".join(f"{reason}={number}" for reason, number in sorted(self._counts.items())))
            self._counts.clear()
            self._reported = now
