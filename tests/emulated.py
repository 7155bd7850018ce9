"""Pytest fixture `make`: emulated boards with a test's own boot.py and main.py."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from trigpoint.clock import WorldClock
from trigpoint_tools.emulator.board import EmulatedBoard
from trigpoint_tools.emulator.weather import Sample, Weather

CONFIG = {
    "wifi": [{"ssid": "home", "password": "secret"}],
    "sensors": [{"type": "bme280", "scl": 22, "sda": 21, "address": 118}],
}
WEATHER = Weather((0, 2_000_000_000), (Sample(2000, 5000, 101_325), Sample(2000, 5000, 101_325)))
ORIGIN = 1_370_000_000

Make = Callable[..., EmulatedBoard]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    boards: list[EmulatedBoard] = []

    def make_board(main: str = "", boot: str = "", speed: float = 3600.0, heap: str = "160k") -> EmulatedBoard:
        directory = tmp_path / f"board{len(boards)}"
        device = tmp_path / f"device{len(boards)}"
        device.mkdir()
        (device / "boot.py").write_text(boot)
        (device / "main.py").write_text(main)
        clock = WorldClock(ORIGIN, time.time(), speed)
        boards.append(EmulatedBoard.create(directory, CONFIG, clock, WEATHER, heap, device=device))
        return boards[-1]

    yield make_board
    for board in boards:
        board.cut()
