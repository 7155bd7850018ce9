"""What the README has a newcomer do by hand, command by command, with the real parts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from trigpoint.clock import WorldClock
from trigpoint_tools.demo import processes
from trigpoint_tools.emulator.board import EmulatedBoard
from trigpoint_tools.emulator.weather import Weather
from trigpoint_tools.localchain import LocalChain

_PATIENCE_S = 60


@pytest.fixture
def chain() -> Iterator[LocalChain]:
    with LocalChain() as chain:
        yield chain


@pytest.fixture
def broker_port(tmp_path: Path) -> Iterator[int]:
    port = processes.free_port()
    broker = processes.broker(port, tmp_path / "broker.log")
    broker.start()
    try:
        processes.wait_for_port(port, broker)
        yield port
    finally:
        broker.stop()


def test_from_an_empty_folder_to_a_verified_receipt(tmp_path: Path, chain: LocalChain, broker_port: int) -> None:
    gw, board, receipt = (str(tmp_path / name) for name in ("gw", "board", "receipt.cose"))
    keys = tmp_path / "gw" / "keys"
    keys.mkdir(parents=True)
    (keys / "chain.key").write_text(chain.account().key.hex())
    (keys / "chain.key").chmod(0o600)

    local = ("--broker", f"127.0.0.1:{broker_port}", "--no-tls", "--rpc", chain.url, "--confirmations", "0")
    trigpoint("gateway", "init", gw, *local, "--world-speed", "7200", "--anchor-every", "1800")
    deployed = trigpoint("chain", "deploy", "--gateway", gw)
    assert deployed["chain_id"] == 31337
    gateway = processes.gateway(tmp_path / "gw", tmp_path / "gateway.log")
    gateway.start()
    try:
        enrolled = trigpoint("board", "enroll", board, "--gateway", gw, "--station", "LGA")
        password = tmp_path / "password"
        password.write_text("a word for the broker\n")
        password.chmod(0o600)
        emulated = subprocess.Popen(
            [
                *(sys.executable, "-m", "trigpoint", "board", "emulate", board, "--gateway", gw),
                *("--password-file", str(password)),
            ],
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        try:
            assert emulated.stdout is not None
            said = emulated.stdout.readline()  # it has the board; a second program must not get it
            again = run("board", "emulate", board, "--gateway", gw)
            assert again.returncode == 1
            assert "another program" in again.stderr
            got = wait_for_anchored(gw, enrolled["board"], receipt)
        finally:
            emulated.send_signal(signal.SIGINT)
            said += emulated.communicate(timeout=_PATIENCE_S)[0]
        assert emulated.returncode == 0
        assert json.loads(on_flash(tmp_path / "board"))["broker"]["password"] == "a word for the broker"
        assert f"board {enrolled['board']}" in said
        assert "stopped, next seq" in said
        verified = trigpoint("verify", receipt, "--trust", got["trust"], "--rpc", chain.url)
        assert verified["verified"] is True
        assert len(verified["checks"]) == 11
        assert verified["statement"]["board"] == enrolled["board"]
        any_board = trigpoint("receipt", "get", gw, "--output", receipt)
        assert any_board["state"] == "final"
        other = run("receipt", "get", gw, "--board", "0000", "--output", receipt)
        assert other.returncode == 1
        assert enrolled["board"][:8] in other.stderr
    finally:
        gateway.stop()


def on_flash(board: Path) -> bytes:
    """Return the config.json of a board that is off."""
    return EmulatedBoard.open(board, WorldClock(0, 0.0, 1.0), Weather.load("LGA")).read_file("/config.json")


def test_a_permit_can_be_printed_for_someone_else(tmp_path: Path, chain: LocalChain) -> None:
    gw = str(tmp_path / "gw")
    keys = tmp_path / "gw" / "keys"
    keys.mkdir(parents=True)
    (keys / "chain.key").write_text(chain.account().key.hex())
    (keys / "chain.key").chmod(0o600)
    trigpoint("gateway", "init", gw, "--rpc", chain.url, "--no-tls", "--world-speed", "3600")
    deployed = trigpoint("chain", "deploy", "--gateway", gw)
    owner = "0x" + "ab" * 20
    permit = trigpoint("board", "enroll", str(tmp_path / "b"), "--gateway", gw, "--owner", owner, "--print-permit")
    assert permit["owner"] == owner
    assert permit["registry"] == deployed["device_registry"].lower()
    assert {"kid", "x", "y", "metadata_hash", "deadline", "r", "s", "chain_id"} <= set(permit)


def wait_for_anchored(gateway: str, board: str, receipt: str) -> dict[str, str]:
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        done = run("receipt", "get", gateway, "--board", board[:10], "--output", receipt, "--json")
        if done.returncode == 0:
            answer: dict[str, str] = json.loads(done.stdout)
            if answer["state"] == "final":
                return answer
        time.sleep(0.5)
    raise AssertionError(f"no anchored receipt: {done.stdout}{done.stderr}")


def trigpoint(*arguments: str) -> dict[str, object] | dict[str, str]:
    """Run a command with --json and return its answer."""
    done = run(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "trigpoint", *arguments],
        capture_output=True,
        text=True,
        timeout=_PATIENCE_S,
        check=False,
        env={**os.environ, "NO_COLOR": "1"},
    )
