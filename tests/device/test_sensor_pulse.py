"""The pulse counter: debounced, kept through resets and power cuts but for what the documents say is lost."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from boardrunner import BoardProcess
from hypothesis import given, settings
from hypothesis import strategies as st
from sensorboard import SensorBoard, sensor_board
from trigpoint_tools.emulator.soc import ResetCause

METER = {"type": "pulse", "name": "meter", "pin": 27, "quantity": "energy", "unit": "J", "per_pulse": 3600}
RAIN = {
    "type": "pulse",
    "name": "rain",
    "pin": 26,
    "quantity": "depth",
    "unit": "m",
    "per_pulse": 2,
    "exponent": -4,
    "debounce_ms": 150,
}

_SETUP = """
import asyncio
from trig.sensors.pulse import InterruptSource, PulseCounter
import trig.sensors.pulse as pulse

class Time:
    now = 0
    @staticmethod
    def ticks_ms():
        return Time.now & 0x3FFFFFFF
    @staticmethod
    def ticks_add(a, b):
        return a + b & 0x3FFFFFFF
    @staticmethod
    def ticks_diff(a, b):
        d = a - b & 0x3FFFFFFF
        return d - 0x40000000 if d & 0x20000000 else d

class Pin:
    def irq(self, handler, trigger):
        self.handler = handler

def debounced(debounce, start, gaps):
    pulse.time = Time
    Time.now = start
    pin = Pin()
    source = InterruptSource(pin, 2, debounce)
    for gap in gaps:
        Time.now += gap
        pin.handler(pin)
    return source.count()

class Nvs:
    def __init__(self):
        self.kept, self.new = {}, {}
    def get_i32(self, key):
        if key not in self.kept:
            raise OSError(-4354)
        return self.kept[key]
    def set_i32(self, key, value):
        assert -0x80000000 <= value <= 0x7FFFFFFF
        self.new[key] = value
    def commit(self):
        self.kept.update(self.new)

class Source:
    n = 0
    def count(self):
        return self.n

def run(start, steps):
    # Each step: pulses, then "measure", "save", "reset" (as by power) or "stop" (in order). Returns what was read.
    nvs = Nvs()
    nvs.kept = {"total5": start, "read5": start}
    settings = {"name": "", "pin": 5, "quantity": "energy", "unit": "J", "exponent": 0, "per_pulse": 7}
    read = []
    async def go():
        source = Source()
        counter = PulseCounter(source, nvs, settings)
        for pulses, what in steps:
            source.n += pulses
            if what == "measure":
                out = [0, 0]
                await counter.measure(out)
                read.append(out)
            elif what == "save":
                counter.close()
            elif what in ("reset", "stop"):
                if what == "stop":
                    counter.close()
                nvs.new = {}
                if counter._keeper:
                    counter._keeper.cancel()
                source = Source()
                counter = PulseCounter(source, nvs, settings)
        if counter._keeper:
            counter._keeper.cancel()
    asyncio.run(go())
    return read

class AtOnce(Nvs):
    # Flash is written at each call, and power fails at a chosen one.
    def __init__(self, left):
        super().__init__()
        self.left = left
    def set_i32(self, key, value):
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1
        self.kept[key] = value
    def commit(self):
        pass

def cut(left):
    # 5 pulses are read, 6 more come and power fails after `left` writes of the next reading; then it is read again.
    nvs = AtOnce(2 + left)
    settings = {"name": "", "pin": 5, "quantity": "energy", "unit": "J", "exponent": 0, "per_pulse": 7}
    read = []
    async def measure(pulses):
        source = Source()
        counter = PulseCounter(source, nvs, settings)
        for more in pulses:
            source.n += more
            out = [0, 0]
            await counter.measure(out)
            read.append(out)
        counter._keeper.cancel()
    try:
        asyncio.run(measure([5, 6]))
    except KeyboardInterrupt:
        pass
    nvs.left = 100
    asyncio.run(measure([0]))
    return read
"""


@pytest.fixture(scope="module")
def board() -> Iterator[BoardProcess]:
    with BoardProcess(_SETUP) as process:
        yield process


def test_bouncing_contacts_count_once(board: BoardProcess) -> None:
    closes_and_opens = [500, 1, 1, 2, 90, 1, 1]  # falling edges, ms apart
    assert board.call("debounced", 150, 0, closes_and_opens * 20) == 20
    assert board.call("debounced", 0, 0, [0, 1, 5]) == 3
    # Over the wrap of the millisecond counter.
    assert board.call("debounced", 150, 0x3FFFFFFF - 2000, closes_and_opens * 20) == 20
    assert board.call("debounced", 150, 0, [0]) == 1


_STEPS = st.lists(
    st.tuples(st.integers(0, 1000), st.sampled_from(["measure", "measure", "save", "reset", "stop", "nothing"])),
    max_size=30,
)


@settings(max_examples=200)
@given(st.sampled_from([0, 5, 0x7FFFFFF0]), _STEPS)
def test_counts_never_run_back_and_amounts_add_up(
    board: BoardProcess, start: int, steps: list[tuple[int, str]]
) -> None:
    """Against a model: what was kept survives, what came after is lost, and nothing is read twice."""
    total = kept = read = start
    expected: list[Any] = []
    for pulses, what in steps:
        total += pulses
        if what == "measure":
            expected.append([total & 0x7FFFFFFF, 7 * (total - read)])
            kept = read = total
        elif what in ("save", "stop"):
            kept = total
        elif what == "reset":
            total = kept
    assert board.call("run", start, [list(step) for step in steps]) == expected


@pytest.mark.parametrize(
    ("left", "read"),
    [
        (0, [[5, 35], [5, 0]]),  # the six are lost with the power
        (1, [[5, 35], [11, 42]]),
        (2, [[5, 35], [11, 42], [11, 0]]),
    ],
)
def test_power_cut_between_the_writes_of_a_reading(board: BoardProcess, left: int, read: list[list[int]]) -> None:
    assert board.call("cut", left) == read


def press(sensors: SensorBoard, pin: int, count: int) -> None:
    """Close and open a contact that bounces at both."""
    for _ in range(count):
        for level in (0, None, 0, None, 0):
            sensors.board.drive(pin, level)
            time.sleep(0.002)
        time.sleep(0.05)
        for level in (None, 0, None):
            sensors.board.drive(pin, level)
            time.sleep(0.002)
        time.sleep(0.2)


def test_meter_and_gauge_on_one_board(tmp_path: Path) -> None:
    with sensor_board(tmp_path, [METER, RAIN]) as sensors:
        assert sensors.found() == [[0, 0], [0, 0]]
        assert sensors.channels[0][1] == [["meter/count", "count", 0], ["meter/energy", "J", 0]]
        assert sensors.channels[1][1][1] == ["rain/depth", "m", -4]
        sensors.board.pulse(27, 2000)
        press(sensors, 26, 3)
        sensors.rounds(1)
        meter, rain = sensors.found()
        assert meter == [2000, 0] and rain == [3, 0], "each amount is read once"
        everything = [item["found"] for item in sensors._rounds]
        assert sum(found[0][1] for found in everything) == 2000 * 3600
        assert sum(found[1][1] for found in everything) == 3 * 2


def test_totals_outlive_resets_and_power(tmp_path: Path) -> None:
    with sensor_board(tmp_path, [METER, RAIN]) as sensors:
        sensors.rounds(1)
        sensors.board.pulse(27, 10)
        press(sensors, 26, 1)
        sensors.rounds(2)
        sensors.board._host.loop.call_soon_threadsafe(sensors.board._restart, ResetCause.WATCHDOG)
        sensors.rounds(2)
        sensors.board.pulse(27, 5)
        sensors.rounds(1)
        assert sensors.found() == [[15, 0], [1, 0]]
        sensors.board.cut()
        sensors.board.start()
        assert sensors.found() == [[15, 0], [1, 0]]


def test_many_counters_share_four_units(tmp_path: Path) -> None:
    """A chip has four; the fifth meter counts in an interrupt."""
    entries = [{**METER, "name": f"m{pin}", "pin": pin} for pin in (13, 14, 25, 27, 32)]
    with sensor_board(tmp_path, entries) as sensors:
        sensors.rounds(1)
        for i, entry in enumerate(entries):
            sensors.board.pulse(int(str(entry["pin"])), i + 1)
        sensors.rounds(1)
        assert [found[0] for found in sensors.found()] == [1, 2, 3, 4, 5]
