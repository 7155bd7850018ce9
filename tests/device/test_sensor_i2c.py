"""SHT4x and SCD4x on an emulated bus: values, checksums, every way to fail, and a bus that is freed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from boardrunner import BoardError, BoardProcess
from hypothesis import given, settings
from hypothesis import strategies as st
from sensorboard import sensor_board
from trigpoint_tools.emulator.parts import scd4x, sht4x
from trigpoint_tools.emulator.parts.fault import Fault
from trigpoint_tools.emulator.parts.scd4x import Scd4x
from trigpoint_tools.emulator.parts.sensirion import words
from trigpoint_tools.emulator.soc import ResetCause
from trigpoint_tools.emulator.weather import Sample

SHT = {"type": "sht4x", "scl": 22, "sda": 21}
SCD = {"type": "scd4x", "scl": 22, "sda": 21, "low_power": False}
BME = {"type": "bme280", "scl": 22, "sda": 21, "name": "bme"}

# A bus whose part answers whatever a test wants.
_SETUP = """
import asyncio
from trig.sensors import sensirion
from trig.sensors.sht4x import Sht4x
from trig.sensors.scd4x import Scd4x

async def at_once(ms):
    pass

asyncio.sleep_ms = at_once

class Bus:
    answers = ()
    def writeto(self, address, data):
        self.log.append(bytes(data).hex())
    def readfrom_into(self, address, buffer):
        buffer[:] = self.answers.pop(0)

def measure(kind, answers):
    bus = Bus()
    bus.log = []
    bus.answers = list(answers)
    part = Sht4x(bus, 0x44) if kind == "sht4x" else Scd4x(bus, "", False, 1950)
    out = [None] * len(part.channels)
    asyncio.run(part.measure(out))
    return [out, bus.log]

def crc(data):
    return sensirion.crc8(data, 0)
"""


@pytest.fixture(scope="module")
def board() -> Iterator[BoardProcess]:
    with BoardProcess(_SETUP) as process:
        yield process


@pytest.mark.parametrize(
    ("word", "crc"),
    # SHT4x data sheet section 4.4; SCD4x data sheet, the examples beside the commands.
    [("beef", 0x92), ("01f4", 0x33), ("6667", 0xA2), ("5eb9", 0x3C), ("8000", 0xA2), ("f896", 0x31), ("9f07", 0xC2)],
)
def test_checksum_of_the_data_sheets(board: BoardProcess, word: str, crc: int) -> None:
    assert board.call("crc", bytes.fromhex(word)) == crc


SERIAL = bytes.fromhex("f896319f07c23bbe89")
READY = words(0x8006)


def test_scd4x_example_of_the_data_sheet(board: BoardProcess) -> None:
    """500 ppm, 25 Cel, 37 %RH (section 3.6.2); altitude 1,950 m (set_sensor_altitude)."""
    out, log = board.call("measure", "scd4x", [SERIAL, READY, bytes.fromhex("01f4336667a25eb93c")])  # type: ignore[misc]
    assert out == [500, 2500, 3700]
    assert log == ["3f86", "3682", "2427079e09", "21b1", "e4b8", "ec05"]


@settings(max_examples=100)
@given(st.integers(-4000, 12500), st.integers(0, 10_000))
def test_sht4x_value_in_is_value_out(board: BoardProcess, temperature: int, humidity: int) -> None:
    answer = words(*sht4x.raw(Sample(temperature, humidity, 101_325)))
    out, _ = board.call("measure", "sht4x", [answer])  # type: ignore[misc]
    assert out == [temperature, humidity]


@settings(max_examples=50)
@given(st.integers(1, 40_000), st.integers(-1000, 6000), st.integers(0, 10_000))
def test_scd4x_value_in_is_value_out(board: BoardProcess, co2: int, temperature: int, humidity: int) -> None:
    answer = words(co2, *scd4x.raw(temperature, humidity))
    out, _ = board.call("measure", "scd4x", [SERIAL, READY, answer])  # type: ignore[misc]
    assert out == [co2, temperature, humidity]


@settings(max_examples=100)
@given(st.integers(0, 65535), st.integers(0, 65535), st.integers(0, 47))
def test_one_wrong_bit_is_refused(board: BoardProcess, first: int, second: int, bit: int) -> None:
    answer = bytearray(words(first, second))
    answer[bit // 8] ^= 1 << bit % 8
    with pytest.raises(BoardError) as caught:
        board.call("measure", "sht4x", [bytes(answer)])
    assert caught.value.kind == "SensorError" and "SHT4x 0x44: checksum is wrong" in caught.value.text


@settings(max_examples=100)
@given(st.binary(min_size=9, max_size=9))
def test_any_answer_is_a_value_within_bounds_or_a_sensor_error(board: BoardProcess, answer: bytes) -> None:
    for kind, answers in (("sht4x", [answer[:6]]), ("scd4x", [SERIAL, READY, answer])):
        try:
            out, _ = board.call("measure", kind, answers)  # type: ignore[misc]
        except BoardError as error:
            assert error.kind == "SensorError"
        else:
            assert -4500 <= out[-2] <= 13000 and 0 <= out[-1] <= 10000


def _fast(part: object) -> None:
    assert isinstance(part, Scd4x)
    part.pace = 0.02


def test_three_of_a_kind_and_two_others_on_one_bus(tmp_path: Path) -> None:
    several = [{**SHT, "name": f"s{a}", "address": a} for a in (0x44, 0x45, 0x46)]
    with sensor_board(
        tmp_path, [*several, {**SCD, "name": "air"}, BME], prepare=lambda board: _fast(board.parts[3])
    ) as sensors:
        first = sensors.found()
        assert first[:3] == [[2500, 5000]] * 3
        assert first[3] == [500, 2500, 3700]
        assert first[4][0] == 2500
        assert [channel[0] for channel in sensors.channels[3][1]] == ["air/co2", "air/temperature", "air/humidity"]
        assert sensors.channels[3][1][0][1:] == ["/", -6]
        part = sensors.parts[3]
        assert isinstance(part, Scd4x)
        part.co2, part.temperature, part.humidity = 1234, -555, 9999
        sensors.rounds(2)
        assert sensors.found()[3] == [1234, -555, 9999]


@pytest.mark.parametrize(
    ("fault", "said"),
    [(Fault.MISSING, "no answer on the bus"), (Fault.GARBAGE, "checksum"), (Fault.CORRUPT, "checksum")],
)
def test_a_broken_part_is_named_and_the_others_go_on(tmp_path: Path, fault: Fault, said: str) -> None:
    entries = [{**SHT, "name": "good"}, {**SHT, "name": "bad", "address": 0x45}, {**SCD, "name": "air"}]
    with sensor_board(tmp_path, entries, prepare=lambda board: _fast(board.parts[2])) as sensors:
        assert sensors.found()[1] == [2500, 5000]
        sensors.parts[1].fault = fault
        for found in (item["found"] for item in sensors.rounds(3)):
            assert found[0] == [2500, 5000] and found[2][0] == 500
            assert found[1].startswith("SensorError: SHT4x bad: ") and said in found[1]
        sensors.parts[1].fault = Fault.NONE
        sensors.parts[2].fault = fault
        found = sensors.found()
        assert found[:2] == [[2500, 5000]] * 2 and found[2].startswith("SensorError: SCD4x air: ") and said in found[2]
        sensors.parts[2].fault = Fault.NONE
        assert sensors.found() == [[2500, 5000], [2500, 5000], [500, 2500, 3700]]


def test_a_part_that_holds_sda_is_made_to_let_go(tmp_path: Path) -> None:
    """Without nine clocks and a STOP not one of the others could be read again."""
    entries = [{**SHT, "name": "stuck"}, {**SHT, "name": "good", "address": 0x45}, BME]
    with sensor_board(tmp_path, entries) as sensors:
        sensors.found()
        sensors.parts[0].fault = Fault.STUCK
        for each in sensors.rounds(3):
            assert "SHT4x stuck: no answer on the bus" in each["found"][0]
            assert each["found"][1] == [2500, 5000] and each["found"][2][0] == 2500
            assert each["took"] < 500
        sensors.parts[0].fault = Fault.NONE
        assert sensors.found()[0] == [2500, 5000]


def test_a_bme280_that_answers_anything_stops_no_other(tmp_path: Path) -> None:
    """It has no checksum: what is within its bounds passes, all else is refused by name."""
    with sensor_board(tmp_path, [{**BME, "name": "mad"}, {**SHT, "name": "good"}]) as sensors:
        good = sensors.found()[0]
        sensors.parts[0].fault = Fault.GARBAGE
        refused = 0
        for each in sensors.rounds(8):
            assert each["found"][1] == [2500, 5000]
            if isinstance(each["found"][0], str):
                assert each["found"][0].startswith("SensorError: BME280 mad: ")
                refused += 1
        assert refused
        sensors.parts[0].fault = Fault.NONE
        sensors.rounds(1)
        assert sensors.found()[0] == good


def test_a_clock_held_low_ends_in_time_outs_and_is_over_when_it_is(tmp_path: Path) -> None:
    """Nothing but its power makes such a part let go: all on this bus are named, those on the other go on."""
    entries = [
        {**SHT, "name": "stuck"},
        {**SHT, "name": "victim", "address": 0x45},
        {**SHT, "name": "other", "i2c": 1, "scl": 18, "sda": 19},
    ]
    with sensor_board(tmp_path, entries) as sensors:
        sensors.found()
        sensors.parts[0].fault = Fault.STRETCHED
        sensors.rounds(1)
        for each in sensors.rounds(2):
            assert "SHT4x stuck" in each["found"][0] and "SHT4x victim" in each["found"][1]
            assert each["found"][2] == [2500, 5000]
            assert each["took"] < 1000
        sensors.parts[0].fault = Fault.NONE
        assert sensors.found() == [[2500, 5000]] * 3


def test_scd4x_that_lost_its_power_is_started_again(tmp_path: Path) -> None:
    with sensor_board(tmp_path, [SCD], prepare=lambda board: _fast(board.parts[0])) as sensors:
        assert sensors.found() == [[500, 2500, 3700]]
        part = sensors.parts[0]
        assert isinstance(part, Scd4x)
        part.power_on()
        part.co2 = 600
        # Silent for a moment, or idle until the driver has waited long enough; then it is set up anew.
        assert any(each["found"] == [[600, 2500, 3700]] for each in sensors.rounds(4))


def test_scd4x_still_measuring_from_before_a_reset_takes_its_settings(tmp_path: Path) -> None:
    with sensor_board(tmp_path, [{**SCD, "altitude_m": 1950}], prepare=lambda board: _fast(board.parts[0])) as sensors:
        part = sensors.parts[0]
        assert isinstance(part, Scd4x)
        sensors.found()
        part.altitude = 0
        board = sensors.board
        board._host.loop.call_soon_threadsafe(board._restart, ResetCause.HARD)  # the part keeps its power
        sensors.rounds(2)
        assert part.altitude == 1950
