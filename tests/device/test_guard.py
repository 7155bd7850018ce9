"""The watchdog's condition: alone, and in the whole firmware with one part at a time stuck."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from boardrunner import run
from cryptography.hazmat.primitives.asymmetric import ec
from trigpoint.clock import WorldClock
from trigpoint_tools.emulator.board import EmulatedBoard
from trigpoint_tools.emulator.weather import Weather

# What stands still in the firmware when one part is stuck.
STUCK = {
    "sampler": "async def stuck(self):\n    await asyncio.sleep(1000)\napp.App.measure = stuck",
    "signer": "app.App.sign = lambda self: False",
    "uplink": "async def stuck(self, moved):\n    await asyncio.sleep(1000)\nuplink.Uplink.send = stuck",
    "": "",
}

# The board's own main, with bounds and a watchdog of seconds instead of minutes.
MAIN = """
import asyncio, machine
from trig import app, guard, uplink

class Guard(guard.Guard):
    def __init__(self, watchdog, bounds, note):
        super().__init__(watchdog, {name: 2500 for name in bounds}, note, 100)

app.Guard = Guard
app.WATCHDOG_MS = 1000
print("reset cause", machine.reset_cause())
if machine.reset_cause() == machine.PWRON_RESET:
    exec(%r)
    from trig.start import start
    start()
import trig.crash
trig.crash.show()
print("end")
"""


@pytest.mark.parametrize("part", STUCK)
def test_one_stuck_part_resets_the_board_and_is_named(tmp_path: Path, part: str) -> None:
    weather = Weather.load(station="JFK")
    clock = WorldClock(int(weather.first) + 86400, time.time(), 7200)
    numbers = ec.derive_private_key(4711, ec.SECP256R1()).public_key().public_numbers()
    config = {
        "version": 1,
        "wifi": [{"ssid": "trig", "password": "password"}],
        "broker": {"host": "127.0.0.1", "port": 9, "tls": False},
        "link_key": f"{numbers.x:064x}{numbers.y:064x}",
        "sensors": [{"type": "bme280", "scl": 22, "sda": 21}],
        "sample_s": 1800,
        "batch": {"samples": 2, "age_s": 21600},
        "resend_s": 1,
    }
    # More heap than a board has: the test's own code comes on top.
    board = EmulatedBoard.create(tmp_path / "board", config, clock, weather, "320k")
    board.write_file("/main.py", (MAIN % STUCK[part]).encode())
    board.start()
    try:
        if part:
            board.wait_for("end", timeout=20)
            assert "reset cause 3" in board.console
            said, names = board.console[-2].rsplit(": ", 1)
            # The sampler's task calls the signer: with it the signer stands still as well.
            assert said == "watchdog: not moving" and part in names.split(", "), board.console
        else:
            board.wait_for("board ", timeout=20)
            time.sleep(6)
            assert [line for line in board.console if "reset" in line] == ["reset cause 1"], board.console
    finally:
        board.cut()


def test_watchdog_is_fed_only_while_everyone_moves() -> None:
    run(
        """
import time
from trig.guard import Guard, late

assert late({"a": 0, "b": 500}, {"a": 1000, "b": 1000}, 1000) == []
assert late({"a": 0, "b": 500}, {"a": 1000, "b": 1000}, 1001) == ["a"]

class Dog:
    fed = 0
    def feed(self):
        self.fed += 1

NAMES = ("sampler", "signer", "uplink")

def fed(moving):
    dog = Dog()
    notes = []
    guard = Guard(dog, {name: 50 for name in NAMES}, notes.append)
    for _ in range(10):
        for name in moving:
            guard.moved(name)
        guard.check()
        time.sleep_ms(10)
    return dog.fed, guard.late, notes

assert fed(NAMES) == (10, [], [])
for idle in NAMES:
    times, missing, notes = fed([name for name in NAMES if name != idle])
    assert 0 < times < 10 and missing == [idle], (idle, times, missing)
    assert notes == ["watchdog: not moving: " + idle], notes
"""
    )
