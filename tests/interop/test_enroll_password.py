"""Enrolment at the broker that `gateway init` sets up: TLS, a password for each board, access list. Nothing leaks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from brokers import MOSQUITTO, RunningBroker, free_port
from enrolsite import WIFI, WIFI_PASSWORD, Boards, told, trigpoint
from test_ntp import Server, answer
from trigpoint_tools.demo import processes
from trigpoint_tools.localchain import LocalChain

ROOM = 192 << 10
"""Heap for an update fetched over TLS; device/README.md, Heap."""

pytestmark = pytest.mark.skipif(MOSQUITTO is None, reason="Mosquitto is not installed (apt-get install mosquitto)")


def make_gateway(directory: Path, chain: LocalChain, port: int) -> None:
    """As a user does it, with the account that has coin."""
    key = directory / "keys" / "chain.key"
    key.parent.mkdir(parents=True)
    key.write_text(chain.account().key.hex())
    key.chmod(0o600)
    trigpoint("gateway", "init", directory, "--yes", "--broker", f"127.0.0.1:{port}", "--rpc", chain.url)
    trigpoint("chain", "deploy", "--gateway", directory)


def as_installed(gateway: Path, tmp_path: Path, port: int) -> RunningBroker:
    """Mosquitto with the shipped configuration, but for the places of its files."""
    folder = gateway / "broker"
    config = tmp_path / "mosquitto.conf"
    config.write_text(
        (folder / "mosquitto.conf").read_text().replace("/etc/mosquitto/trigpoint", str(folder))
        + f"\npersistence false\nuser {os.environ.get('USER', 'root')}\n"
    )
    assert MOSQUITTO is not None
    return RunningBroker("mosquitto", port, [MOSQUITTO, "-c", str(config)], tmp_path / "mosquitto.log")


@contextmanager
def watching_arguments(secrets: list[str]) -> Iterator[list[str]]:
    """Look at the arguments of all processes again and again; the list gets each one that holds a secret."""
    seen: list[str] = []
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.02):
            for place in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    line = place.read_bytes().decode(errors="replace")
                except OSError:
                    continue
                seen.extend(line for secret in secrets if secret in line)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def test_a_board_gets_its_password_and_nobody_else_does(tmp_path: Path) -> None:
    gateway, port = tmp_path / "gw", free_port()
    time_server = Server(lambda nonce: [answer(nonce, time.time_ns() // 1_000_000)])
    more = tmp_path / "more.json"
    more.write_text(json.dumps({"ntp": {"host": "127.0.0.1", "port": time_server.port}, "resend_s": 1}))
    home = tmp_path / "home"
    home.mkdir()
    with LocalChain() as chain:
        make_gateway(gateway, chain, port)
        broker = as_installed(gateway, tmp_path, port)
        running = processes.gateway(gateway, tmp_path / "gateway.log")
        broker.start()
        running.start()
        try:
            with (
                Boards(tmp_path / "boards", heap=ROOM).plugged() as ports,
                watching_arguments([WIFI_PASSWORD]) as leaked,
            ):
                command = [sys.executable, "-m", "trigpoint", "board", "enroll", str(ports.pty), "--gateway", gateway]
                command += [
                    "--wifi",
                    WIFI,
                    "--sensor",
                    "bme280",
                    "--sample-every",
                    "1",
                    "--config",
                    more,
                    "--wait",
                    "60",
                ]
                command += ["--owner-key", tmp_path / "owner.pem"]
                environment = {**os.environ, "HOME": str(home), "TRIGPOINT_WIFI_PASSWORD": WIFI_PASSWORD}
                with subprocess.Popen(
                    command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
                ) as enrolment:
                    said = _until(enrolment, "goes on as soon as")
                    assert "sudo systemctl reload mosquitto" in said
                    assert broker.process is not None
                    broker.process.send_signal(signal.SIGHUP)  # what a reload does
                    out, rest = enrolment.communicate(timeout=90)
                assert enrolment.returncode == 0, said + rest
                assert "Its first statement has come" in out
                kid = out.split()[2]
                assert not leaked

                status = told("board", "status", "--gateway", gateway)
                assert (status["board"], status["health"]["clock_source"]) == (kid, "ntp")
                # The access list lets the owner send commands, and the gateway not.
                done = told(
                    "board", "update", "--gateway", gateway, "--owner-key", tmp_path / "owner.pem", "--wait", 120
                )
                assert done["state"] == "confirmed"

                password = (gateway / "broker" / "passwords" / kid).read_text().strip()
                _nowhere_else([WIFI_PASSWORD, password], tmp_path, kid, out + said + rest)
                answered = trigpoint("board", "rm", kid[:8], "--gateway", gateway, "--yes").stdout
                assert "sudo systemctl reload mosquitto" in answered
                assert kid not in (gateway / "broker" / "passwd").read_text()
        finally:
            running.stop()
            broker.stop()
            time_server.socket.close()


def _until(process: subprocess.Popen[str], words: str) -> str:
    """Read what a command says on standard error until these words come."""
    said = ""
    assert process.stderr is not None
    while words not in said:
        line = process.stderr.readline()
        assert line, said
        said += line
    return said


def _nowhere_else(secrets: list[str], place: Path, kid: str, said: str) -> None:
    """No secret is in what was printed, nor in any file but the board's flash and the password's own."""
    own = {place / "gw" / "broker" / "passwords" / kid}
    flash = ("flash.bin", "board.json")
    for secret in secrets:
        assert secret not in said
        for path in place.rglob("*"):
            if path.is_file() and path not in own and path.name not in flash:
                assert secret.encode() not in path.read_bytes(), path
