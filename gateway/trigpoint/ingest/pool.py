"""Hands messages to worker processes in chunks, and gets their findings back in the order of arrival."""

from __future__ import annotations

import logging
import marshal
import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from selectors import EVENT_READ, BaseSelector
from typing import Protocol

from trigpoint.errors import OperatorError
from trigpoint.ingest.check import Finding, Job, check
from trigpoint.ingest.message import Delivery
from trigpoint.ingest.worker import encode_jobs

_log = logging.getLogger(__name__)

CHUNK_MESSAGES = 64
CHUNK_BYTES = 49_152
"""Of payload in one chunk, but for a last message. Two chunks fit into a socket's buffer, so that sending never waits
for a worker that itself waits to send."""

_CHUNKS_OF_WORKER = 2
"""One to work on, and one to go on with."""

_WORKER = ["-P", "-m", "trigpoint.ingest.worker"]
_DEATHS = 5
_DEATHS_WITHIN_S = 60.0


class WorkersError(OperatorError):
    """Worker processes die as often as they are replaced."""


@dataclass
class Chunk:
    """Messages that are checked together.

    Attributes:
        deliveries: in order of arrival.
        jobs: what is to be done about each.
        findings: the answers, once there.
    """

    deliveries: Sequence[Delivery]
    jobs: list[Job]
    findings: list[Finding] | None = None


class Checkers(Protocol):
    """Checks chunks somewhere."""

    @property
    def workers(self) -> int:
        """How many processes do it, beside this one."""
        ...

    def room(self) -> bool:
        """Tell whether a chunk can be taken now."""
        ...

    def submit(self, chunk: Chunk) -> None:
        """Begin to check a chunk; its findings appear in it."""
        ...

    def close(self) -> None:
        """Let go of everything; what is under way is dropped."""
        ...


class InProcess:
    """Checks in this very process: for machines of one core."""

    workers = 0

    def room(self) -> bool:
        """Tell that there is always room."""
        return True

    def submit(self, chunk: Chunk) -> None:
        """Check a chunk at once."""
        chunk.findings = [check(*job) for job in chunk.jobs]

    def close(self) -> None:
        """Do nothing: there is nothing to let go of."""


@dataclass
class _Worker:
    process: subprocess.Popen[bytes]
    connection: Connection
    chunks: deque[Chunk] = field(default_factory=deque)


class Pool:
    """Up to so many worker processes, each started when those before it are busy.

    A worker that dies, by the kernel's choice when memory is short, is replaced, and its chunks are done again.
    Workers end with this process, however it ends: the other end of their socket is gone then.

    Args:
        selector: gets the workers' sockets registered, with a function to call when one can be read.
        most: workers.
    """

    def __init__(self, selector: BaseSelector, most: int) -> None:
        self._selector = selector
        self._most = most
        self._workers: list[_Worker] = []
        self._deaths: deque[float] = deque(maxlen=_DEATHS)

    def room(self) -> bool:
        """Tell whether a chunk can be taken now."""
        return len(self._workers) < self._most or any(len(w.chunks) < _CHUNKS_OF_WORKER for w in self._workers)

    def submit(self, chunk: Chunk) -> None:
        """Send a chunk to the worker with the least to do, or to a new one if all are busy.

        Raises:
            WorkersError: they do not stay alive.
            OSError: none can be started.
        """
        worker = min(self._workers, key=lambda worker: len(worker.chunks), default=None)
        if worker is None or (worker.chunks and len(self._workers) < self._most):
            worker = self._start()
        self._send(worker, chunk)

    def close(self) -> None:
        """Let the workers end."""
        for worker in self._workers:
            self._selector.unregister(worker.connection)
            worker.connection.close()
        for worker in self._workers:
            worker.process.wait()
        self._workers.clear()

    @property
    def workers(self) -> int:
        """How many have been started."""
        return len(self._workers)

    def _start(self) -> _Worker:
        ours, theirs = Pipe()
        with theirs:
            os.set_inheritable(theirs.fileno(), True)
            process = subprocess.Popen(
                [sys.executable, *_WORKER, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        worker = _Worker(process, ours)
        self._workers.append(worker)
        ready: Callable[[], None] = lambda: self._receive(worker)  # noqa: E731
        self._selector.register(ours, EVENT_READ, ready)
        return worker

    def _send(self, worker: _Worker, chunk: Chunk) -> None:
        worker.chunks.append(chunk)
        try:
            worker.connection.send_bytes(encode_jobs(chunk.jobs))
        except OSError:
            self._replace(worker)

    def _receive(self, worker: _Worker) -> None:
        if worker not in self._workers:
            return  # it was replaced over another's event of the same moment
        try:
            findings: list[Finding] = marshal.loads(worker.connection.recv_bytes())  # noqa: S302  (from our own child)
        except (EOFError, OSError):
            self._replace(worker)
            return
        worker.chunks.popleft().findings = findings

    def _replace(self, dead: _Worker) -> None:
        """Start another worker for one that has died, with the same things to do."""
        self._workers.remove(dead)
        self._selector.unregister(dead.connection)
        dead.connection.close()
        dead.process.kill()
        code = dead.process.wait()
        now = time.monotonic()
        self._deaths.append(now)
        _log.error("a worker process ended and is replaced pid=%d code=%d", dead.process.pid, code)
        if len(self._deaths) == _DEATHS and now - self._deaths[0] < _DEATHS_WITHIN_S:
            raise WorkersError(
                f"{_DEATHS} worker processes ended within a minute, the last with code {code}: what they said is "
                "above; is there memory enough? Then start the gateway again"
            )
        self._start()
        for chunk in dead.chunks:
            self.submit(chunk)
