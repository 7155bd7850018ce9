"""The two servers of the demo that can be killed: each a child process with a log file."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from trigpoint.errors import OperatorError

_STOP_TIMEOUT_S = 10.0
_READY_TIMEOUT_S = 20.0


class Child:
    """A process of our own that can be stopped, killed and started again.

    It has a process group of its own: a terminal's Ctrl-C does not reach it, and its children end with it.

    Args:
        name: what to call it in messages.
        command: program and arguments.
        log: where its output goes, one run after the other.
    """

    def __init__(self, name: str, command: Sequence[str], log: Path) -> None:
        self._name = name
        self._command = list(command)
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    @property
    def pid(self) -> int:
        """Its process id.

        Raises:
            OperatorError: it was not started.
        """
        if self._process is None:
            raise OperatorError(f"the {self._name} does not run")
        return self._process.pid

    def check(self) -> None:
        """Make sure that it still runs.

        Raises:
            OperatorError: it has ended by itself.
        """
        if self._process is not None and (code := self._process.poll()) is not None:
            raise OperatorError(f"the {self._name} ended by itself with code {code}: read {self._log}")

    def kill(self) -> None:
        """End it at whatever instruction it is."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Ask it to end, and make it if it does not. Safe to call twice."""
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        _signal_group(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_TIMEOUT_S)
        _signal_group(process.pid, signal.SIGKILL)
        process.wait()


def broker(port: int, log: Path) -> Child:
    """Return the embedded MQTT broker, on a loopback port that does not change."""
    command = [sys.executable, "-m", "iotcore", "--listen", "127.0.0.1", "--port", str(port)]
    return Child("broker", command, log)


def gateway(directory: Path, log: Path) -> Child:
    """Return the gateway as a user runs it."""
    return Child("gateway", [sys.executable, "-m", "trigpoint", "gateway", "run", str(directory)], log)


def free_port() -> int:
    """Return a loopback port on which nobody listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int, child: Child) -> None:
    """Wait until the child listens.

    Raises:
        OperatorError: it ended, or does not listen in time.
    """
    deadline = time.monotonic() + _READY_TIMEOUT_S
    while time.monotonic() < deadline:
        child.check()
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise OperatorError(f"nothing listens on port {port} after {_READY_TIMEOUT_S:.0f} s: is the machine overloaded?")


def wait_for_file(path: Path, child: Child) -> None:
    """Wait until the child has written a file.

    Raises:
        OperatorError: it ended, or has not written it in time.
    """
    deadline = time.monotonic() + _READY_TIMEOUT_S
    while not path.exists():
        child.check()
        if time.monotonic() > deadline:
            raise OperatorError(f"there is no {path} after {_READY_TIMEOUT_S:.0f} s: is the machine overloaded?")
        time.sleep(0.05)


def _signal_group(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)
