"""An emulated board that does nothing but read its sensors, over and over, and print what comes."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from boardrunner import DEVICE
from trigpoint.clock import WorldClock
from trigpoint_tools.emulator.board import EmulatedBoard
from trigpoint_tools.emulator.weather import Sample, Weather

# Round numbers in binary fractions too, so that a driver has no excuse.
WEATHER = Weather((0, 2_000_000_000), (Sample(2500, 5000, 101_325), Sample(2500, 5000, 101_325)))
ORIGIN = 1_370_000_000

_MAIN = """
import asyncio, json, machine, time
from trig.config import ConfigError, _section
from trig.sensors import entries, open_sensors
with open("/config.json") as file:
    sensors = open_sensors(entries.check(json.load(file)["sensors"], _section, ConfigError), machine)

async def one(sensor):
    out = [None] * len(sensor.channels)
    try:
        await asyncio.wait_for_ms(sensor.measure(out), sensor.limit_ms)
        return out
    except Exception as error:
        return type(error).__name__ + ": " + str(error)

async def forever():
    for sensor in sensors:
        print(json.dumps([sensor.part, sensor.channels]))
    while True:
        began = time.ticks_ms()
        found = await asyncio.gather(*[one(sensor) for sensor in sensors])
        print(json.dumps({"took": time.ticks_diff(time.ticks_ms(), began), "found": found}))
        await asyncio.sleep_ms(PAUSE)
asyncio.run(forever())
"""


class SensorBoard:
    """A running board and the rounds of measurements that it has printed."""

    def __init__(self, board: EmulatedBoard) -> None:
        self.board = board
        self.parts = board.parts

    @property
    def _rounds(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.board.console if line.startswith("{")]

    @property
    def channels(self) -> list[Any]:
        """What each sensor said of itself: its part, and its channels."""
        return [json.loads(line) for line in self.board.console if line.startswith("[")]

    def rounds(self, count: int = 1, timeout: float = 20) -> list[dict[str, Any]]:
        """Return the next `count` rounds that begin from now on."""
        start = len(self._rounds)
        end = time.monotonic() + timeout
        while len(self._rounds) < start + count + 1:  # the first may have begun before
            assert self.board.alive and time.monotonic() < end, "\n".join(self.board.console[-12:])
            time.sleep(0.01)
        return self._rounds[start + 1 : start + count + 1]

    def found(self, timeout: float = 20) -> list[Any]:
        """Return what each sensor gave in the next round."""
        return list(self.rounds(1, timeout)[0]["found"])


@contextmanager
def sensor_board(
    directory: Path,
    sensors: list[dict[str, Any]],
    weather: Weather = WEATHER,
    pause_ms: int = 20,
    prepare: Callable[[EmulatedBoard], None] = lambda board: None,
) -> Iterator[SensorBoard]:
    """Make and start a board with these entries in config.json."""
    device = directory / "device"
    shutil.copytree(DEVICE, device)
    (device / "main.py").write_text(_MAIN.replace("PAUSE", str(pause_ms)))
    clock = WorldClock(ORIGIN, time.time(), 1.0)
    board = EmulatedBoard.create(directory / "board", {"sensors": sensors}, clock, weather, device=device)
    prepare(board)
    board.start()
    try:
        yield SensorBoard(board)
    finally:
        board.cut()
