"""A day on batteries: wakes, connections and times counted on an emulated board, currents of the data sheet."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from trigpoint_tools.bench.budget import lone_board
from trigpoint_tools.emulator.board import EmulatedBoard
from trigpoint_tools.emulator.power import Model, Usage

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
    settings = {
        "sensors": [{"type": "bme280", "scl": 22, "sda": 21}],
        "sample_s": SAMPLE_S,
        "battery": {"connect_every": CONNECT_EVERY},
    }
    with lone_board(directory, SPEED, settings) as (board, gateway, loop_s):
        before = board.power
        board.start()
        # The first wake connects to learn the time. Its radio goes on as soon as its statement is on flash.
        _wait(board, before.boots + 1)
        first = board.power.minus(before)
        _wait(board, before.boots + 1 + WAKES)
        used = board.power.minus(before).minus(first)
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
