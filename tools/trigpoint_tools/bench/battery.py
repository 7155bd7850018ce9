"""A day on batteries: wakes, connections and times counted on an emulated board, currents of the data sheet."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from trigpoint.clock import WorldClock
from trigpoint.wire.keys import PublicKey

from trigpoint_tools.bench.budget import EMPTY_LOOP, Gateway
from trigpoint_tools.demo.processes import broker, free_port, wait_for_port
from trigpoint_tools.emulator.board import EmulatedBoard
from trigpoint_tools.emulator.power import Model, Usage
from trigpoint_tools.emulator.weather import Weather

SAMPLE_S = 600
CONNECT_EVERY = 6
WAKES = 2 * CONNECT_EVERY
SPEED = 1200
_PATIENCE_S = 120


def run_wakes(directory: Path) -> tuple[Usage, float, float]:
    """Let a new board sleep and wake.

    Returns:
        What WAKES wakes took, an equal number of them connecting as in a day; the processor seconds from switching on
        to the first signed statement; those of an empty loop of 100,000 turns.

    Raises:
        EmulatorError: the board could not be started.
        RuntimeError: it does not sleep and wake as it should.
    """
    weather = Weather.load(station="JFK")
    clock = WorldClock(int(weather.first) + 86400, time.time(), SPEED)
    link = ec.generate_private_key(ec.SECP256R1())
    numbers = link.public_key().public_numbers()
    port = free_port()
    config = {
        "version": 1,
        "wifi": [{"ssid": "trig", "password": "password"}],
        "broker": {"host": "127.0.0.1", "port": port, "tls": False},
        "link_key": (numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")).hex(),
        "sensors": [{"type": "bme280", "scl": 22, "sda": 21}],
        "sample_s": SAMPLE_S,
        "battery": {"connect_every": CONNECT_EVERY},
    }
    child = broker(port, directory / "broker.log")
    child.start()
    try:
        wait_for_port(port, child)
        board = EmulatedBoard.create(directory / "board", config, clock, weather, "160k")
        public = json.loads(board.exec("import trig.enroll; trig.enroll.show()").splitlines()[-1])
        loop_s = int(board.exec(EMPTY_LOOP)) / 1_000_000
        gateway = Gateway(port, link, PublicKey(bytes.fromhex(public["x"]), bytes.fromhex(public["y"])), clock)
        try:
            before = board.power
            board.start()
            # The first wake connects to learn the time. Its radio goes on as soon as its statement is on flash.
            _wait(board, before.boots + 1)
            first = board.power.minus(before)
            _wait(board, before.boots + 1 + WAKES)
            used = board.power.minus(before).minus(first)
        finally:
            board.cut()
            gateway.close()
    finally:
        child.stop()
    if first.joins != 1 or used.joins != WAKES // CONNECT_EVERY or gateway.readings < 3 * WAKES or gateway.refused:
        raise RuntimeError(f"the battery run went wrong: {used}, {gateway.readings} readings, {board.console[-10:]}")
    return used, first.cpu_s, loop_s


def _wait(board: EmulatedBoard, boots: int) -> None:
    """Wait until the board sleeps after so many boots."""
    deadline = time.monotonic() + _PATIENCE_S
    while not (board.power.boots >= boots and board.asleep):
        if time.monotonic() > deadline or not board.alive:
            raise RuntimeError(f"the battery run stands still: {board.console[-20:]}")
        time.sleep(0.002)


def figures(report: Callable[[str], None]) -> dict[str, int | float]:
    """Let a board on batteries run for two hours of its world; `report` is told what goes on.

    Returns:
        battery_mah_per_day: charge of a day, one BME280 read every ten minutes, connecting every hour, by
            trigpoint_tools.emulator.power.Model.
        boot_vs_loop: processor time from switching on to the first signed statement on flash, its modules
            as .mpy files, in empty loops of 100,000 turns.

    Raises:
        EmulatorError, RuntimeError: the board failed.
    """
    with tempfile.TemporaryDirectory(prefix="trigpoint-battery-") as folder:
        used, first_s, loop_s = run_wakes(Path(folder))
    model = Model()
    off, on = used.awake_s(model)
    report(
        f"{used.boots} wakes, {used.joins} with the radio on: an ESP32 would be awake for {off / used.boots:.1f} s "
        f"each, and {on / used.joins:.1f} s on the air"
    )
    return {
        "battery_mah_per_day": round(used.mah_per_day(model, SAMPLE_S), 1),
        "boot_vs_loop": round(first_s / loop_s, 1),
    }
