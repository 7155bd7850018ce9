"""Wi-Fi from a browser: Improv Serial, spoken by an emulated board at the end of a serial cable.

`test_the_unmodified_sdk` has the SDK that web pages use, under node; the others have a stand-in that can do wrong, too.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from emulated import ORIGIN, WEATHER
from improvclient import (
    ERROR,
    PROVISIONED,
    PROVISIONING,
    READY,
    RESULT,
    STATE,
    UNABLE,
    Client,
    command,
    settings,
    texts,
)
from trigpoint.clock import WorldClock
from trigpoint.web.files import VENDOR
from trigpoint_tools.emulator.serialcable import SerialCable, make_directory
from trigpoint_tools.serial import install
from trigpoint_tools.serial.session import Session

_AROUND = {
    # Lengths of 3 and 10, the bytes of Ctrl-C and of a new line.
    "wifi": [{"ssid": "hut", "password": "0123456789"}],
    "sensors": [{"type": "bme280", "scl": 7, "sda": 6, "address": 118}],
}
_RIGHT = settings(b"hut", b"0123456789")
_LISTENS = b"Ctrl-C for the prompt\r\n"
_PROMPT = b"\n>>> "


@contextmanager
def _plugged(directory: Path) -> Iterator[Path]:
    """Power a board; its terminal."""
    cable = SerialCable(directory, WorldClock(ORIGIN, time.time(), 1.0), WEATHER)
    try:
        pty = cable.plug_in().pty
        while cable.state != "micropython":  # what is sent before is lost
            time.sleep(0.02)
        yield pty
    finally:
        cable.unplug()


@pytest.fixture(scope="module")
def flashed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new board with the application on it and no configuration."""
    directory = tmp_path_factory.mktemp("improv") / "board"
    make_directory(directory, "esp32c3", _AROUND, blank=False)
    with _plugged(directory) as pty, Session(str(pty)) as session:
        install.install(session, install.application())
    return directory


@pytest.fixture
def pty(flashed: Path, tmp_path: Path) -> Iterator[Path]:
    """The terminal of such a board, just switched on."""
    shutil.copytree(flashed, tmp_path / "board")
    with _plugged(tmp_path / "board") as path:
        yield path


def _restart(client: Client) -> None:
    """Reset the board and wait until it listens, with nobody else at the terminal meanwhile."""
    end = time.monotonic() + 20
    while not client.seen.endswith(b">>> "):
        assert time.monotonic() < end
        client.send(b"\x03")
        with contextlib.suppress(AssertionError):
            client.wait_for(b"more than this", 0.5)
    client.seen = b""
    client.send(b"import machine; machine.reset()\r")
    client.wait_for(_LISTENS)


def _config(pty: Path) -> Any:
    with Session(str(pty)) as session:
        content = session.read("/config.json")
        assert content is not None
        return json.loads(content)


def _run_with(pty: Path, config: dict[str, Any]) -> None:
    """Write a whole configuration, as enrolment does, and start the application."""
    with Session(str(pty)) as session:
        session.write("/config.json", json.dumps(config).encode())
        session.restart()


def _whole(**fields: Any) -> dict[str, Any]:
    return {
        "version": 1,
        "wifi": [{"ssid": "other", "password": "another key"}],
        "broker": {"host": "127.0.0.1", "port": 1, "tls": False},
        # The base point: it is on the curve, and nobody sends anything here.
        "link_key": "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
        "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5",
        "sensors": [{"type": "bme280", "scl": 7, "sda": 6}],
        **fields,
    }


def test_the_unmodified_sdk(pty: Path) -> None:
    calls = [
        ["initialize", 15000],
        ["scan"],
        ["provision", "hut", "not its key"],
        ["requestNetworkState"],
        ["provision", "hut", "0123456789"],
        ["requestNetworkState"],
        ["getHostname"],
        ["setHostname", "roof"],
        ["getDeviceName"],
        ["setDeviceName", "roof"],
        ["requestCurrentState"],
    ]
    node = Path(sys.executable).parent / "node"
    script = Path(__file__).with_name("improv_browser.mjs")
    ran = subprocess.run(
        [node, script, pty, VENDOR / "improv-wifi-serial-sdk", json.dumps(calls)],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    said = [json.loads(line) for line in ran.stdout.splitlines()]
    assert [one["call"] for one in said] == [call[0] for call in calls]
    begun, scan, wrong, offline, right, online, hostname, bad, name, unknown, state = said
    assert begun["info"]["firmware"] == "Trigpoint"
    assert begun["info"]["chipFamily"] == "ESP32-C3"
    assert begun["state"] == READY
    assert scan["value"] == [{"name": "hut", "rssi": -61, "secured": True}]
    assert (wrong["error"], wrong["states"], wrong["errors"]) == ("UNABLE_TO_CONNECT", [PROVISIONING, READY], [UNABLE])
    assert offline["value"] == _network(online=False)
    assert (right.get("error"), right["states"], right["errors"]) == (None, [PROVISIONING, PROVISIONED], [])
    assert online["value"] == _network(online=True)
    assert hostname["value"] == "mpy-esp32"
    assert bad["error"] == "BAD_HOSTNAME"
    assert name["value"] == begun["info"]["name"]
    assert unknown["error"] == "UNKNOWN_RPC_COMMAND"
    assert state["state"] == PROVISIONED
    assert _config(pty) == {"version": 1, "wifi": [{"ssid": "hut", "password": "0123456789"}]}


def _network(*, online: bool) -> dict[str, object]:
    supports = {f"supports{kind}": kind == "Wifi" for kind in ("Wifi", "Ethernet", "Thread", "Modem")}
    return {"online": online, "urls": [], **supports}


def test_a_new_board_waits_for_wifi_then_for_the_rest_then_runs(pty: Path) -> None:
    with Client(pty) as client:
        _restart(client)
        client.send(b"noise" + _RIGHT)
        assert client.frame() == (ERROR, b"\0")
        assert client.frame() == (STATE, bytes((PROVISIONING,)))
        assert client.frame() == (STATE, bytes((PROVISIONED,)))
        assert client.frame() == (RESULT, b"\x01\0")
        client.send(b"\x03")
        client.wait_for(_PROMPT)
        client.send(b"import machine; machine.reset()\r")
        # With Wi-Fi and no broker it does not start over and over: it joins, says so, and goes on listening.
        assert client.frame() == (STATE, bytes((PROVISIONED,)))
        assert client.ask(2) == (STATE, bytes((PROVISIONED,)))
        assert client.frame() == (RESULT, b"\x02\0")
        client.send(b"\x03")
        client.wait_for(_PROMPT)
    _run_with(pty, _whole())
    with Client(pty) as client:
        client.wait_for(b"next seq 0")
        client.send(b"\x03")
        assert _LISTENS not in client.wait_for(b"stopped, next seq")


def test_a_running_board_answers_and_what_it_measured_is_kept(pty: Path) -> None:
    _run_with(pty, _whole(sample_s=1, batch={"samples": 255}))
    with Client(pty) as client:
        client.wait_for(b"next seq 0")
        time.sleep(1.5)
        # The first command is the one that stopped it, and it is answered.
        client.send(command(2))
        assert client.frame() == (ERROR, b"\0")
        assert client.frame() == (STATE, bytes((READY,)))
        kind, data = client.ask(3)
        assert (kind, texts(data)[0]) == (RESULT, b"Trigpoint")
        client.send(settings(b"hut", b"wrong key") + command(2))
        assert client.frame() == (ERROR, b"\0")
        assert client.frame() == (STATE, bytes((PROVISIONING,)))
        # It answers while it tries.
        assert client.frame() == (ERROR, b"\0")
        assert client.frame() == (STATE, bytes((PROVISIONING,)))
        assert client.frame() == (STATE, bytes((READY,)))
        assert client.frame() == (ERROR, bytes((UNABLE,)))
        client.send(_RIGHT)
        assert client.frame() == (ERROR, b"\0")
        assert [client.frame() for _ in range(3)][-1] == (RESULT, b"\x01\0")
        client.send(b"\x03")
        client.wait_for(_PROMPT)
    kept = _config(pty)
    networks = [{"ssid": "hut", "password": "0123456789"}, {"ssid": "other", "password": "another key"}]
    assert kept == _whole(sample_s=1, batch={"samples": 255}, wifi=networks)
    with Session(str(pty)) as session:
        session.restart()
    with Client(pty) as client:
        client.wait_for(b"next seq ")
        assert int(client.wait_for(b" ")) > 0


@pytest.mark.parametrize("keys", [b"\x03", b"\r\x03\x03", b"IMPORT\x03", b"\x03I"])
def test_ctrl_c_is_ctrl_c(pty: Path, keys: bytes) -> None:
    with Client(pty) as client:
        _restart(client)
        client.send(keys)
        client.wait_for(_PROMPT)
    _run_with(pty, _whole())
    with Client(pty) as client:
        client.wait_for(b"next seq 0")
        client.send(keys)
        client.wait_for(b"stopped, next seq")
        client.wait_for(_PROMPT)
        client.send(b"\x15print(6 * 7)\r")
        client.wait_for(b"42")


def test_a_frame_cut_short_keeps_nobody_from_the_prompt(pty: Path) -> None:
    with Client(pty) as client:
        _restart(client)
        client.send(_RIGHT[:20])
        time.sleep(0.8)
        client.send(b"\x03")
        client.wait_for(_PROMPT)


@pytest.mark.parametrize("delay_ms", range(0, 400, 50))
def test_a_command_at_any_moment_of_a_start_is_answered_or_lost(pty: Path, delay_ms: int) -> None:
    with Client(pty) as client:
        _restart(client)
        client.send(b"\x03")
        client.wait_for(_PROMPT)
        client.send(b"import machine; machine.reset()\r")
        client.wait_for(b"ESP-ROM")
        time.sleep(delay_ms / 1000)
        client.send(command(2))
        client.wait_for(_LISTENS)
        client.send(command(7))
        while client.frame() != (RESULT, b"\x07\x02\x012"):
            pass


def test_the_tools_for_cables_find_the_prompt_of_a_board_that_listens(pty: Path) -> None:
    with Client(pty) as client:
        _restart(client)
    with Session(str(pty)) as session:
        assert session.run("print(6 * 7)").strip() == "42"
