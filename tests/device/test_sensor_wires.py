"""PMS5003, DS18B20 and the analog probe: values, checksums and every way to fail, on emulated wires."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from boardrunner import BoardError, BoardProcess
from hypothesis import given, settings
from hypothesis import strategies as st
from sensorboard import sensor_board
from trigpoint_tools.emulator.board import EmulatedBoard
from trigpoint_tools.emulator.parts.ds18b20 import Ds18b20, crc8, rom_of
from trigpoint_tools.emulator.parts.fault import Fault
from trigpoint_tools.emulator.parts.pms5003 import Pms5003, frame
from trigpoint_tools.emulator.parts.probe import Probe

PMS = {"type": "pms5003", "rx": 16, "tx": 17, "warm_up_s": 0}
SOIL = {
    "type": "analog",
    "name": "soil",
    "pin": 34,
    "quantity": "moisture",
    "unit": "/",
    "exponent": -3,
    "low_mv": 1200,
    "low": 1000,
    "high_mv": 2800,
    "high": 0,
    "min_mv": 800,
    "max_mv": 3000,
}

_SETUP = """
import asyncio
from trig.sensors.analog import Line
from trig.sensors.ds18b20 import Ds18b20
from trig.sensors.pms5003 import FrameReader

async def at_once(ms):
    pass

asyncio.sleep_ms = at_once

def frames(data):
    reader = FrameReader()
    found = []
    for byte in data:
        if reader.feed(byte):
            found.append([reader.word(i) for i in range(1, 14)])
    return [found, reader.damaged]

def line(low_mv, low, high_mv, high, microvolts):
    return Line(low_mv, low, high_mv, high).at(microvolts)

class Wire:
    # What the part answers, with a checksum that is right, and the mark that was set unless it has lost it.
    def __init__(self, temperature, forget, short):
        self.temperature, self.forget, self.short = temperature, forget, short
        self.mark = b"\\x4b\\x46"
    def reset(self):
        return True
    def writebyte(self, byte):
        pass
    def write(self, data):
        if data[0] == 0x4E and not self.forget:
            self.mark = bytes(data[1:3])
    def crc8(self, data):
        crc = 0
        for byte in data:
            crc ^= byte
            for _ in range(8):
                crc = crc >> 1 ^ (0x8C if crc & 1 else 0)
        return crc
    def readinto(self, buffer):
        if self.short:
            buffer[:] = bytes(9)
            return
        content = self.temperature + self.mark + b"\\x7f\\xff\\x0c\\x10"
        buffer[:] = content + bytes((self.crc8(content),))

def celsius(temperature, forget=False, short=False):
    part = Ds18b20(Wire(temperature, forget, short), b"", "", 4)
    out = [None]
    asyncio.run(part.measure(out))
    return out[0]
"""


@pytest.fixture(scope="module")
def board() -> Iterator[BoardProcess]:
    with BoardProcess(_SETUP) as process:
        yield process


# -- PMS5003


def test_frames_are_found_in_noise_and_refused_when_damaged(board: BoardProcess) -> None:
    values = list(range(1, 14))
    good = frame(*values)
    assert good[:4].hex() == "424d001c"
    wrong_sum = good[:-1] + bytes((good[-1] ^ 1,))
    wrong_length = good[:3] + b"\x1d" + good[4:]
    stream = b"BBM" + good + b"\x42" + good + wrong_sum + good[:20] + wrong_length + good
    found, damaged = board.call("frames", stream)  # type: ignore[misc]
    assert found[0] == values and found[-1] == values
    assert damaged >= 2


@settings(max_examples=100)
@given(st.lists(st.integers(0, 65535), min_size=13, max_size=13), st.integers(0, 32 * 8 - 1))
def test_one_wrong_bit_costs_the_frame(board: BoardProcess, values: list[int], bit: int) -> None:
    bent = bytearray(frame(*values))
    assert board.call("frames", bytes(bent)) == [[values], 0]
    bent[bit // 8] ^= 1 << bit % 8
    assert board.call("frames", bytes(bent))[0] == []  # type: ignore[index]


@settings(max_examples=50)
@given(st.binary(max_size=200))
def test_any_bytes_are_read(board: BoardProcess, data: bytes) -> None:
    found, _ = board.call("frames", data + bytes(32) + frame(*range(13)))  # type: ignore[misc]
    assert found[-1] == list(range(13))


def test_two_dust_sensors_and_one_breaks(tmp_path: Path) -> None:
    entries = [{**PMS, "name": "in"}, {**PMS, "name": "out", "uart": 2, "rx": 25, "tx": 26}]
    with sensor_board(tmp_path, entries) as sensors:
        inside, outside = sensors.parts
        assert isinstance(inside, Pms5003) and isinstance(outside, Pms5003)
        outside.pm1, outside.pm25, outside.pm10 = 30, 41, 500
        assert sensors.found() == [[5, 9, 12], [30, 41, 500]]
        assert sensors.channels[0][1] == [[f"in/{name}", "kg/m3", -9] for name in ("pm1", "pm2.5", "pm10")]
        inside.fault = Fault.CORRUPT
        outside.fault = Fault.STUCK
        found = sensors.found()
        assert "PMS5003 in: no whole frame" in found[0] and "PMS5003 out: sends nothing" in found[1]
        inside.fault = outside.fault = Fault.NONE
        outside.pm1 = 42  # more than the PM2.5 that contains it
        found = sensors.found()
        assert found[0] == [5, 9, 12] and "PMS5003 out: PM 42, 41, 500 cannot be" in found[1]


def test_dust_sensor_sleeps_between_measurements(tmp_path: Path) -> None:
    with sensor_board(tmp_path, [{**PMS, "warm_up_s": 1}], pause_ms=700) as sensors:
        part = sensors.parts[0]
        assert isinstance(part, Pms5003)
        assert sensors.rounds(2)[1] == {"took": pytest.approx(2000, abs=1200), "found": [[5, 9, 12]]}
        assert part.asleep


# -- DS18B20

TABLE = [  # data sheet, table 1
    ("d007", 1250000),
    ("5005", 850000),
    ("9101", 250625),
    ("a200", 101250),
    ("0800", 5000),
    ("0000", 0),
    ("f8ff", -5000),
    ("5eff", -101250),
    ("6ffe", -250625),
    ("90fc", -550000),
]


@pytest.mark.parametrize(("register", "celsius"), TABLE)
def test_temperatures_of_the_data_sheet(board: BoardProcess, register: str, celsius: int) -> None:
    assert board.call("celsius", bytes.fromhex(register)) == celsius


def test_power_on_value_and_shorted_wire_are_no_temperatures(board: BoardProcess) -> None:
    assert crc8(bytes(9)) == 0, "nine zeros have the right checksum: the trap that is tested here"
    for arguments in ((b"\x50\x05", True), (b"\0\0", False, True)):
        with pytest.raises(BoardError) as caught:
            board.call("celsius", *arguments)
        assert caught.value.kind == "SensorError" and "started anew" in caught.value.text


ROMS = [rom_of(0x10F00 + i) for i in range(3)]
DS = [{"type": "ds18b20", "name": f"t{i}", "pin": 4, "rom": rom.hex()} for i, rom in enumerate(ROMS)]


def _at(board: EmulatedBoard, raws: tuple[int, ...]) -> None:
    for part, raw in zip(board.parts, raws, strict=True):
        assert isinstance(part, Ds18b20)
        part.raw = raw


def test_three_on_one_wire_and_one_alone(tmp_path: Path) -> None:
    entries = [*DS, {"type": "ds18b20", "pin": 5}]
    with sensor_board(tmp_path, entries, prepare=lambda board: _at(board, (0x0191, -162, -880, 0x0550))) as sensors:
        assert sensors.found() == [[250625], [-101250], [-550000], [850000]]
        assert sensors.channels[0] == ["DS18B20 t0", [["t0/temperature", "Cel", -4]]]
        first = sensors.parts[0]
        for fault, said in (
            (Fault.CORRUPT, "checksum is wrong"),
            (Fault.GARBAGE, "checksum is wrong"),
            (Fault.MISSING, "checksum is wrong"),  # the others answer the reset; nobody answers the read
        ):
            first.fault = fault
            found = sensors.found()
            assert found[0].startswith("SensorError: DS18B20 t0: ") and said in found[0]
            assert found[1:] == [[-101250], [-550000], [850000]]
        first.fault = Fault.NONE
        sensors.parts[3].fault = Fault.MISSING
        found = sensors.found()
        assert found[0] == [250625] and "DS18B20 pin 5: nobody on the wire" in found[3]
        first.fault = Fault.STUCK
        found = sensors.found()
        for i in range(3):
            assert f"DS18B20 t{i}: started anew while it measured, or the wire is shorted" in found[i]
        first.fault = Fault.NONE
        first.power_on()
        sensors.rounds(1)
        assert sensors.found()[:3] == [[250625], [-101250], [-550000]]


def test_rom_codes_are_found_on_the_wire(tmp_path: Path) -> None:
    with sensor_board(tmp_path, DS) as sensors:
        board = sensors.board
        board.cut()
        printed = board.exec("from trig.sensors.ds18b20 import scan\nprint(sorted(scan(4)), scan(5))")
        assert printed.strip().endswith(f"{sorted(rom.hex() for rom in ROMS)} []")


def test_weather_drives_the_thermometer(tmp_path: Path) -> None:
    with sensor_board(tmp_path, [{"type": "ds18b20", "pin": 4}]) as sensors:
        assert sensors.found() == [[250000]]


# -- analog


@settings(max_examples=200)
@given(
    st.tuples(st.integers(0, 3299), st.integers(1, 3300)),
    st.tuples(st.integers(-(10**6), 10**6), st.integers(-(10**6), 10**6)),
    st.integers(0, 3_300_000),
)
def test_a_line_through_two_points(
    board: BoardProcess, voltages: tuple[int, int], values: tuple[int, int], microvolts: int
) -> None:
    (low_mv, span), (low, high) = voltages, values
    high_mv = low_mv + span
    assert board.call("line", low_mv, low, high_mv, high, low_mv * 1000) == low
    assert board.call("line", low_mv, low, high_mv, high, high_mv * 1000) == high
    value = board.call("line", low_mv, low, high_mv, high, microvolts)
    exact = low + (microvolts / 1000 - low_mv) * (high - low) / span
    assert abs(value - exact) <= 0.5 + abs(exact) * 1e-12  # type: ignore[operator]


def test_probe_reads_between_its_points_and_a_broken_wire_is_named(tmp_path: Path) -> None:
    entries = [SOIL, {**SOIL, "name": "second", "pin": 35}]

    def prepare(board: EmulatedBoard) -> None:
        first, second = board.parts
        assert isinstance(first, Probe) and isinstance(second, Probe)
        first.millivolts, second.millivolts = 2000, 1200

    with sensor_board(tmp_path, entries, prepare=prepare) as sensors:
        assert sensors.found() == [[500], [1000]]
        first = sensors.parts[0]
        assert isinstance(first, Probe)
        first.noise = 40
        assert abs(sensors.found()[0][0] - 500) < 15, "the mean of 32 samples"
        first.noise = 0
        for fault, said in ((Fault.MISSING, "0 mV"), (Fault.STUCK, "3100 mV")):
            first.fault = fault
            found = sensors.found()
            assert f"analog soil: {said} is not 800 to 3000 mV" in found[0] and found[1] == [1000]
