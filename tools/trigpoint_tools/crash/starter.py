"""Starts gateways in a fraction of a second: a process that has imported all of one, and forks for each start.

Most of a start is the import of libraries, which no kill can hurt. What is forked runs `trigpoint.service.run` from
its first line, as `trigpoint gateway run` does.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

# prctl(2): the signal that a process gets when its parent ends, and who may trace it beside its ancestors.
_PR_SET_PDEATHSIG = 1
_PR_SET_PTRACER = 0x59616D61
_ANYBODY = 2**64 - 1
_STEP_S = 0.005

Changes = Mapping[str, object]
"""Values to set before the start, by their full name, such as `trigpoint.service._TICK_S`. For something that
is called, a mapping gives arguments that it is called with."""


class Started:
    """A gateway in a session of its own, so that all its processes can be killed together.

    Args:
        starter: who started it.
        pid: its first process, which is also its group's number.
        log: where its output goes.
    """

    def __init__(self, starter: Starter, pid: int, log: Path) -> None:
        self._starter = starter
        self._from = log.stat().st_size if log.exists() else 0
        self._code: int | None = None
        self.pid = pid
        self.log = log

    @property
    def output(self) -> str:
        """What it has printed and logged."""
        with self.log.open("rb") as file:
            file.seek(self._from)
            return file.read().decode(errors="replace")

    def code(self) -> int | None:
        """Return its exit code, or the negative of the signal that ended it; None while it runs."""
        if self._code is None:
            self._code = self._starter.ask({"poll": self.pid})["code"]
        return self._code

    def wait_ready(self, timeout_s: float = 60) -> bool:
        """Wait until it takes statements. Returns False if it ends before that, or the time is over."""
        deadline = time.monotonic() + timeout_s
        while "ready: broker" not in self.output:
            if self.code() is not None or time.monotonic() > deadline:
                return False
            time.sleep(_STEP_S)
        return True

    def wait_end(self, timeout_s: float = 30) -> int | None:
        """Wait for its end and return its code; None if it still runs after that time."""
        deadline = time.monotonic() + timeout_s
        while (code := self.code()) is None and time.monotonic() < deadline:
            time.sleep(_STEP_S)
        return code

    def release(self) -> None:
        """Let a held gateway go."""
        os.kill(self.pid, signal.SIGUSR1)

    def workers(self) -> list[int]:
        """Return the processes that it has started itself."""
        found: list[int] = []
        for children in Path(f"/proc/{self.pid}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found += [int(pid) for pid in children.read_text().split()]
        return found

    def kill(self) -> None:
        """End all its processes at whatever instruction they are, and return when they are gone."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.wait_end()
        with contextlib.suppress(ProcessLookupError):
            while True:  # until the group is empty: what is left of it still holds the database
                os.killpg(self.pid, signal.SIGKILL)
                time.sleep(_STEP_S)

    def stop(self, timeout_s: float = 30) -> int | None:
        """Ask it to end, and return its code; None if it did not, and had to be killed."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)
        code = self.wait_end(timeout_s)
        self.kill()
        return code


class Starter:
    """The process that forks gateways. A context manager; gateways that it leaves running are killed."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str]
        self._started: list[Started] = []

    def __enter__(self) -> Self:
        """Start it and return once it can fork."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._answer()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Kill what still runs, and end it."""
        for gateway in self._started:
            if gateway.code() is None:
                gateway.kill()
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def start(self, config: Path, log: Path, *, changes: Changes | None = None, hold: bool = False) -> Started:
        """Start a gateway.

        Args:
            config: its configuration file.
            log: its output is added to this file.
            changes: see `Changes`.
            hold: it waits for `Started.release` before its first line, and lets anybody trace it.
        """
        order = {"start": str(config), "log": str(log), "changes": dict(changes or {}), "hold": hold}
        log.touch()
        gateway = Started(self, 0, log)
        gateway.pid = self.ask(order)["pid"]
        self._started = [other for other in self._started if other.code() is None] + [gateway]
        return gateway

    def ask(self, order: dict[str, Any]) -> dict[str, Any]:
        """Send an order to the process and return its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the starter ended: see its output above")
        answer: dict[str, Any] = json.loads(line)
        return answer


def _serve() -> None:
    """Take orders until the input ends. It has one thread, without which a fork would not be safe."""
    for module in ("trigpoint.service", "trigpoint.config", "trigpoint.cli"):
        importlib.import_module(module)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])  # so that a child cannot be released before it waits
    _say({})
    for line in sys.stdin:
        order = json.loads(line)
        if "start" in order:
            pid = os.fork()
            if pid == 0:
                _run(order)
            _say({"pid": pid})
        else:
            _say({"code": _poll(order["poll"])})


def _poll(pid: int) -> int | None:
    reaped, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if reaped else None


def prctl(option: int, value: int) -> None:
    """Set a property of this process, where there are such (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, ctypes.c_ulong(value), 0, 0, 0)


def _say(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


def _run(order: dict[str, Any]) -> None:
    from trigpoint import config, service
    from trigpoint.cli import one_line

    code = 1
    try:
        os.setsid()
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # whatever becomes of the starter, it leaves no gateway behind
        log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for target, source in ((0, nothing), (1, log), (2, log)):
            os.dup2(source, target)
        for name, value in order["changes"].items():
            module, _, attribute = name.rpartition(".")
            owner = importlib.import_module(module)
            before = getattr(owner, attribute)  # raises if there is no such name any more
            setattr(owner, attribute, partial(before, **value) if isinstance(value, dict) else value)
        if order["hold"]:
            prctl(_PR_SET_PTRACER, _ANYBODY)
            # Not stopped by a signal: a tracer that attaches to a stopped process may miss that it goes on.
            signal.sigwait([signal.SIGUSR1])
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR1])
        service.run(config.load(Path(order["start"])))
        code = 0
    except Exception as error:
        print(f"error: {one_line(error)}", file=sys.stderr, flush=True)
    finally:
        sys.stdout.flush()
        os._exit(code)


if __name__ == "__main__":
    _serve()
