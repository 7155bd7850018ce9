"""Real MQTT brokers for tests: the embedded one, and Mosquitto and nats-server where they are installed.

A test module gets the fixtures with `from brokers import broker, any_broker, embedded_broker, mosquitto`.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

HOST = "127.0.0.1"
MOSQUITTO = shutil.which("mosquitto", path=os.environ.get("PATH", "") + os.pathsep + "/usr/sbin")
NATS_SERVER = shutil.which("nats-server", path=os.environ.get("PATH", "") + os.pathsep + "/usr/sbin")
_START_S = 20

# It ends with its parent: then nobody holds the other end of its standard input any more.
_SERVE = f"""
import os, sys, threading
from iotcore import Broker
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
Broker(port=int(sys.argv[1]), listen={HOST!r}).run_forever()
"""


def free_port() -> int:
    """Return a TCP port of the loopback interface that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class RunningBroker:
    """A broker in a child process; it can be stopped, or killed, and started again on the same port."""

    name: str
    port: int
    command: list[str]
    log: Path
    more_ports: tuple[int, ...] = ()
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=log, stderr=log)
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.name} ended at once: {self.log.read_text()}")
            try:
                for port in (self.port, *self.more_ports):
                    socket.create_connection((HOST, port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.02)
        raise RuntimeError(f"{self.name} does not listen: {self.log.read_text()}")

    def stop(self, *, kill: bool = False) -> None:
        if self.process is not None:
            (self.process.kill if kill else self.process.terminate)()
            self.process.wait(10)
            if self.process.stdin:
                self.process.stdin.close()
            self.process = None


def make_embedded(directory: Path) -> RunningBroker:
    """Return iotcore's broker, not started yet."""
    port = free_port()
    return RunningBroker("embedded", port, [sys.executable, "-c", _SERVE, str(port)], directory / "embedded.log")


def make_mosquitto(directory: Path, extra: str = "") -> RunningBroker:
    """Return Mosquitto, not started yet; it keeps its sessions on disk. Skips the test where there is none."""
    if MOSQUITTO is None:
        pytest.skip("Mosquitto is not installed (apt-get install mosquitto)")
    port = free_port()
    (directory / "sessions").mkdir()
    (directory / "sessions").chmod(0o777)  # started by root, it gives root up
    config = directory / "mosquitto.conf"
    config.write_text(
        f"listener {port} {HOST}\nallow_anonymous true\nmax_queued_messages 0\nmax_inflight_messages 200\n"
        f"persistence true\npersistence_location {directory / 'sessions'}/\nautosave_interval 1\n"
        f"user {os.environ.get('USER', 'root')}\n{extra}"
    )
    return RunningBroker("mosquitto", port, [MOSQUITTO, "-c", str(config)], directory / "mosquitto.log")


def make_nats(directory: Path) -> RunningBroker:
    """Return nats-server with an MQTT port, not started yet; its sessions are on disk. Skips where there is none."""
    if NATS_SERVER is None:
        pytest.skip("nats-server is not installed (apt-get install nats-server)")
    port = free_port()
    config = directory / "nats.conf"
    config.write_text(
        f'server_name: test\nlisten: "{HOST}:{free_port()}"\n'
        f'jetstream {{ store_dir: "{directory / "nats"}" }}\n'
        f'mqtt {{ listen: "{HOST}:{port}" }}\n'
    )
    return RunningBroker("nats", port, [NATS_SERVER, "-c", str(config)], directory / "nats.log")


_MAKERS = {"embedded": make_embedded, "mosquitto": make_mosquitto, "nats": make_nats}


@pytest.fixture
def embedded_broker(tmp_path: Path) -> Iterator[RunningBroker]:
    running = make_embedded(tmp_path)
    running.start()
    yield running
    running.stop()


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[RunningBroker]:
    running = make_mosquitto(tmp_path)
    running.start()
    yield running
    running.stop()


@pytest.fixture(params=["embedded", "mosquitto"])
def broker(request: Any, tmp_path: Path) -> Iterator[RunningBroker]:
    """Each test that asks for this runs against both brokers."""
    yield from _started(_MAKERS[request.param](tmp_path))


@pytest.fixture(params=list(_MAKERS))
def any_broker(request: Any, tmp_path: Path) -> Iterator[RunningBroker]:
    """Each test that asks for this runs against all brokers that boards may meet."""
    yield from _started(_MAKERS[request.param](tmp_path))


def _started(running: RunningBroker) -> Iterator[RunningBroker]:
    running.start()
    yield running
    running.stop()
