"""The boards' signatures, verified on all cores."""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from types import TracebackType
from typing import Self

from trigpoint.fsck.findings import RESTORE, BrokenError
from trigpoint.fsck.truth import Row
from trigpoint.wire.keys import PublicKey
from trigpoint.wire.statement import parse

_BATCH = 512

Job = tuple[int, bytes, bytes, bytes]
"""Leaf index, the board key's x and y, and the statement's bytes."""


def first_bad(jobs: Sequence[Job]) -> int | None:
    """Return the leaf index of the first statement whose board did not sign it."""
    for leaf_index, x, y, raw in jobs:
        statement = parse(raw)
        if not PublicKey(x, y).verify(statement.signature, statement.to_be_signed()):
            return leaf_index
    return None


class Verifier:
    """Verifies signatures in processes of its own, a bounded number of them ahead. A context manager."""

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None
        self._jobs: list[Job] = []
        self._running: deque[Future[int | None]] = deque()
        self._cores = os.cpu_count() or 1
        self.count = 0

    def __enter__(self) -> Self:
        """Processes are started when there is enough for them to do."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the processes."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def add(self, row: Row) -> None:
        """Take a statement. Raises BrokenError if an earlier one turns out not to be signed by its board."""
        key = row.board.key
        self._jobs.append((row.leaf_index, key.x, key.y, row.statement.raw))
        self.count += 1
        if len(self._jobs) < _BATCH:
            return
        if self._pool is None:
            # Not forked: the process that asks may have threads.
            self._pool = ProcessPoolExecutor(self._cores, mp_context=multiprocessing.get_context("spawn"))
        self._running.append(self._pool.submit(first_bad, self._jobs))
        self._jobs = []
        while len(self._running) > 2 * self._cores:
            _judge(self._running.popleft().result())

    def finish(self) -> int:
        """Wait for the rest. Returns how many there were."""
        while self._running:
            _judge(self._running.popleft().result())
        _judge(first_bad(self._jobs))
        return self.count


def _judge(bad: int | None) -> None:
    if bad is not None:
        raise BrokenError(f"statements, leaf_index {bad}", "its board did not sign it", RESTORE)
