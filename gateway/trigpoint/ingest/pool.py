"""Hands messages to worker processes in chunks, and gets their findings back in the order of arrival."""

from __future__ import annotations

import hashlib
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
from trigpoint.ingest.check import Finding, Job, check_all
from trigpoint.ingest.message import Delivery
from trigpoint.ingest.worker import encode_jobs

_log = logging.getLogger(__name__)

CHUNK_MESSAGES = 64
CHUNK_BYTES = 49_152
"""Of payload in one chunk, but for a last message. Two chunks fit into a socket's buffer, so that sending never waits
for a worker that itself waits to send."""

_CHUNKS_OF_WORKER = 2
"""One to work on, and one to go on with."""

_STRIKES = 2
"""Workers that have to end over a message, each after it had answered something else, for it to be the message's
fault."""

_CONDEMNED_KEPT = 256
_POISON: Finding = ("shape", "worker processes end over it: it is refused unread")
_HARMLESS: Job = (b"", 0, None)

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
        condemned: places of messages that are not to be checked again, for workers ended over them.
    """

    deliveries: Sequence[Delivery]
    jobs: list[Job]
    findings: list[Finding] | None = None
    condemned: list[int] = field(default_factory=list)

    def answer(self, findings: list[Finding]) -> None:
        """Take the findings."""
        for place in self.condemned:
            findings[place] = _POISON
        self.findings = findings


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
        chunk.findings = check_all(chunk.jobs)

    def close(self) -> None:
        """Do nothing: there is nothing to let go of."""


@dataclass
class _Trial:
    """A chunk over which a worker ended, gone through message by message by a worker of its own.

    Attributes:
        chunk: the chunk.
        findings: of its first messages.
        strikes: workers that ended over the next one.
    """

    chunk: Chunk
    findings: list[Finding] = field(default_factory=list)
    strikes: int = 0


@dataclass
class _Worker:
    """A process. `proven` is whether it has answered anything; `trial` what it is there for, if not for all chunks."""

    process: subprocess.Popen[bytes]
    connection: Connection
    chunks: deque[Chunk] = field(default_factory=deque)
    trial: _Trial | None = None
    proven: bool = False


class Pool:
    """Up to so many worker processes, each started when those before it are busy.

    A worker that dies, by the kernel's choice when memory is short, is replaced, and its chunks are done again. The one
    that it was at is gone through message by message. A message over which workers end again and again is refused and
    remembered: the broker would give it to us, and to each gateway started after us, for ever.
    Workers end with this process, however it ends: the other end of their socket is gone then.

    Args:
        selector: gets the workers' sockets registered, with a function to call when one can be read.
        most: workers.
    """

    def __init__(self, selector: BaseSelector, most: int) -> None:
        self._selector = selector
        self._most = most
        self._workers: list[_Worker] = []
        self._trying: list[_Worker] = []
        self._deaths: deque[float] = deque(maxlen=_DEATHS)
        self._condemned: deque[bytes] = deque(maxlen=_CONDEMNED_KEPT)

    def room(self) -> bool:
        """Tell whether a chunk can be taken now."""
        return len(self._workers) < self._most or any(len(w.chunks) < _CHUNKS_OF_WORKER for w in self._workers)

    def submit(self, chunk: Chunk) -> None:
        """Send a chunk to the worker with the least to do, or to a new one if all are busy.

        Raises:
            WorkersError: they do not stay alive.
            OSError: none can be started.
        """
        if self._condemned:
            self._defuse(chunk)
        worker = min(self._workers, key=lambda worker: len(worker.chunks), default=None)
        if worker is None or (worker.chunks and len(self._workers) < self._most):
            worker = self._start()
            self._workers.append(worker)
        worker.chunks.append(chunk)
        self._send(worker, chunk.jobs)

    def close(self) -> None:
        """Let the workers end."""
        workers = [*self._workers, *self._trying]
        for worker in workers:
            self._hang_up(worker)
        for worker in workers:
            worker.process.wait()

    @property
    def workers(self) -> int:
        """How many have been started."""
        return len(self._workers) + len(self._trying)

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
        ready: Callable[[], None] = lambda: self._receive(worker)  # noqa: E731
        self._selector.register(ours, EVENT_READ, ready)
        return worker

    def _send(self, worker: _Worker, jobs: list[Job]) -> None:
        try:
            worker.connection.send_bytes(encode_jobs(jobs))
        except OSError:
            self._replace(worker)

    def _receive(self, worker: _Worker) -> None:
        if worker.connection.closed:
            return  # it was replaced over another's event of the same moment
        try:
            findings: list[Finding] = marshal.loads(worker.connection.recv_bytes())  # noqa: S302  (from our own child)
        except (EOFError, OSError):
            self._replace(worker)
            return
        if worker.trial is None:
            worker.chunks.popleft().answer(findings)
        else:
            self._go_on(worker, worker.trial, findings)
        worker.proven = True

    def _replace(self, dead: _Worker) -> None:
        """Have done by another worker what one that has died was to do."""
        self._hang_up(dead)
        dead.process.kill()
        code = dead.process.wait()
        _log.error("a worker process ended and is replaced pid=%d code=%d", dead.process.pid, code)
        if dead.trial is not None and dead.proven:
            self._strike(dead.trial)
        else:
            self._count_death(code)
        trial = dead.trial
        if trial is None and dead.chunks:
            trial = _Trial(dead.chunks.popleft())
        if trial is not None:
            self._begin(trial)
        for chunk in dead.chunks:
            self.submit(chunk)

    def _hang_up(self, worker: _Worker) -> None:
        (self._workers if worker.trial is None else self._trying).remove(worker)
        self._selector.unregister(worker.connection)
        worker.connection.close()

    def _count_death(self, code: int) -> None:
        now = time.monotonic()
        self._deaths.append(now)
        if len(self._deaths) == _DEATHS and now - self._deaths[0] < _DEATHS_WITHIN_S:
            raise WorkersError(
                f"{_DEATHS} worker processes ended within a minute, the last with code {code}: what they said is "
                "above; is there memory enough? Then start the gateway again"
            )

    def _begin(self, trial: _Trial) -> None:
        """Go on with a trial, with a new worker that has to answer something harmless first."""
        worker = self._start()
        worker.trial = trial
        self._trying.append(worker)
        self._send(worker, [_HARMLESS])

    def _go_on(self, worker: _Worker, trial: _Trial, findings: list[Finding]) -> None:
        if worker.proven:
            trial.findings += findings
            trial.strikes = 0
        if len(trial.findings) < len(trial.chunk.jobs):
            self._send(worker, [trial.chunk.jobs[len(trial.findings)]])
            return
        trial.chunk.answer(trial.findings)
        if len(self._workers) < self._most:
            self._trying.remove(worker)
            worker.trial = None
            self._workers.append(worker)
        else:
            self._hang_up(worker)
            worker.process.wait()

    def _strike(self, trial: _Trial) -> None:
        """Note that a worker that works has ended over a message; refuse the message if it was not the first."""
        trial.strikes += 1
        if trial.strikes < _STRIKES:
            return
        place = len(trial.findings)
        trial.findings.append(_POISON)
        trial.strikes = 0
        entry = hashlib.sha256(trial.chunk.jobs[place][0]).digest()
        self._condemned.append(entry)
        self._deaths.clear()  # they are explained
        topic = trial.chunk.deliveries[place].message.topic
        _log.error(
            "worker processes end over a message, which is refused: please report it topic=%r sha256=%s",
            topic,
            entry.hex(),
        )

    def _defuse(self, chunk: Chunk) -> None:
        """Take out what was condemned before."""
        for place, (payload, _, _) in enumerate(chunk.jobs):
            if hashlib.sha256(payload).digest() in self._condemned:
                chunk.condemned.append(place)
                chunk.jobs[place] = _HARMLESS
