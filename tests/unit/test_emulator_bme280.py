"""The BME280 model: its formulas, their inversion, its registers and its bus manners."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trigpoint_tools.emulator.errors import HardwareError
from trigpoint_tools.emulator.i2c import I2CBus, NakError, transfer
from trigpoint_tools.emulator.parts.bme280 import (
    Bme280,
    Calibration,
    conversion_time,
    raw_humidity,
    raw_pressure,
    raw_temperature,
)
from trigpoint_tools.emulator.weather import NoWeatherError, Sample

CTRL_HUM, STATUS, CTRL_MEAS, CONFIG, DATA = 0xF2, 0xF3, 0xF4, 0xF5, 0xF7
X16_FORCED = 5 << 5 | 5 << 2 | 1


class World:
    """Weather and clocks under the test's hand."""

    def __init__(self) -> None:
        self.sample = Sample(2153, 4567, 101325)
        self.now = 1_370_000_000.0
        self.monotonic = 100.0

    def part(self, calibration: Calibration | None = None) -> Bme280:
        part = Bme280(0x76, lambda _: self.sample, lambda: self.now, lambda: self.monotonic, calibration)
        self.monotonic += 0.002
        return part


def registers(part: Bme280, start: int, size: int) -> bytes:
    part.write(bytes((start,)))
    return part.read(size)


def raw(data: bytes) -> tuple[int, int, int]:
    """Pressure, temperature, humidity from the eight data registers."""
    return int.from_bytes(data[:3], "big") >> 4, int.from_bytes(data[3:6], "big") >> 4, int.from_bytes(data[6:8], "big")


def measure(world: World, part: Bme280, ctrl_hum: int = 5, ctrl_meas: int = X16_FORCED) -> bytes:
    part.write(bytes((CTRL_HUM, ctrl_hum)))
    part.write(bytes((CTRL_MEAS, ctrl_meas)))
    world.monotonic += conversion_time(ctrl_meas >> 5, ctrl_meas >> 2 & 7, ctrl_hum)
    return registers(part, DATA, 8)


def test_formulas_give_the_data_sheets_example() -> None:
    # BMP280 data sheet BST-BMP280-DS001, section 3.12: 25.08 degrees and 100653.27 Pa.
    calibration = Calibration()
    t_fine = calibration.t_fine(519888)
    assert t_fine == 128422
    assert calibration.temperature(t_fine) == 2508
    assert calibration.pressure(415148, t_fine) / 256 == pytest.approx(100653.27, abs=0.03)


@given(
    seed=st.binary(min_size=1, max_size=8),
    temperature=st.integers(-4000, 8500),
    humidity=st.integers(0, 10_000),
    pressure=st.integers(30_000, 110_000),
)
def test_what_goes_in_comes_out(seed: bytes, temperature: int, humidity: int, pressure: int) -> None:
    calibration = Calibration.of_part(seed)
    t_fine = calibration.t_fine(raw_temperature(calibration, temperature))
    assert calibration.temperature(t_fine) == temperature
    adc_p = raw_pressure(calibration, pressure * 256, t_fine)
    assert 0 < adc_p < (1 << 20) - 1
    assert abs(calibration.pressure(adc_p, t_fine) - pressure * 256) <= 128
    adc_h = raw_humidity(calibration, humidity * 1024 // 100, t_fine)
    assert abs(calibration.humidity(adc_h, t_fine) - humidity * 1024 // 100) <= 10.24


@given(seed=st.binary(min_size=1, max_size=8))
def test_calibration_registers_spell_the_words(seed: bytes) -> None:
    words = Calibration.of_part(seed)
    first, second = words.registers()
    assert (len(first), len(second)) == (26, 7)
    signed = [int.from_bytes(first[i : i + 2], "little", signed=i not in (0, 6)) for i in range(0, 24, 2)]
    expected = [words.t1, words.t2, words.t3, words.p1, words.p2, words.p3, words.p4, words.p5, words.p6]
    assert signed == [*expected, words.p7, words.p8, words.p9]
    assert first[25] == words.h1
    assert int.from_bytes(second[:2], "little", signed=True) == words.h2
    assert second[2] == words.h3
    # dig_H4 and dig_H5 share a byte (data sheet table 16).
    assert int.from_bytes(second[3:4], signed=True) << 4 | second[4] & 15 == words.h4
    assert int.from_bytes(second[5:6], signed=True) << 4 | second[4] >> 4 == words.h5
    assert int.from_bytes(second[6:7], signed=True) == words.h6


def test_a_negative_h5_is_spelled_in_twos_complement() -> None:
    _, second = Calibration(h4=-300, h5=-17).registers()
    assert int.from_bytes(second[3:4], signed=True) << 4 | second[4] & 15 == -300
    assert int.from_bytes(second[5:6], signed=True) << 4 | second[4] >> 4 == -17


def test_identity_and_values_before_the_first_measurement() -> None:
    part = World().part()
    assert registers(part, 0xD0, 1) == b"\x60"
    assert raw(registers(part, DATA, 8)) == (0x80000, 0x80000, 0x8000)


def test_forced_measurement_takes_its_time_and_is_counted_once() -> None:
    world = World()
    part = world.part()
    part.write(bytes((CTRL_HUM, 5)))
    part.write(bytes((CTRL_MEAS, X16_FORCED)))
    assert registers(part, STATUS, 1)[0] & 8
    assert not part.conversions
    world.monotonic += conversion_time(5, 5, 5) - 0.001
    assert raw(registers(part, DATA, 8))[0] == 0x80000
    world.monotonic += 0.001
    assert not registers(part, STATUS, 1)[0] & 8
    assert registers(part, CTRL_MEAS, 1)[0] & 3 == 0
    assert not part.conversions  # nobody has it yet
    pressure, temperature, humidity = raw(registers(part, DATA, 8))
    assert raw(registers(part, DATA, 8)) == (pressure, temperature, humidity)
    assert len(part.conversions) == 1
    t_fine = part.calibration.t_fine(temperature)
    assert part.calibration.temperature(t_fine) == part.conversions[0].temperature == 2153
    assert part.calibration.pressure(pressure, t_fine) == part.conversions[0].pressure
    assert abs(part.calibration.pressure(pressure, t_fine) / 256 - 101325) <= 0.5
    assert abs(part.calibration.humidity(humidity, t_fine) / 10.24 - 4567) <= 1
    assert part.conversions[0].time == world.now
    assert part.conversions[0].readings == 3


def test_conversion_time_is_the_data_sheets_maximum() -> None:
    # Section 9.1: x1 for all takes 9.3 ms at most.
    assert conversion_time(1, 1, 1) == pytest.approx(0.0093)
    assert conversion_time(1, 0, 0) == pytest.approx(0.00355)


def test_humidity_setting_needs_a_write_to_ctrl_meas() -> None:
    world = World()
    part = world.part()
    data = measure(world, part, ctrl_hum=0)
    assert raw(data)[2] == 0x8000
    assert part.conversions[-1].humidity is None
    assert part.conversions[-1].readings == 2
    part.write(bytes((CTRL_HUM, 1)))
    assert len(part.conversions) == 1
    assert raw(measure(world, part))[2] != 0x8000


def test_low_oversampling_leaves_low_bits_clear() -> None:
    # Section 3.4: 16 bits at x1, and 20 with the filter on.
    world = World()
    part = world.part()
    pressure, temperature, _ = raw(measure(world, part, 1, 1 << 5 | 1 << 2 | 1))
    assert pressure % 16 == temperature % 16 == 0
    part.write(bytes((CONFIG, 1 << 2)))
    world.sample = Sample(2154, 4567, 101326)
    pressure, temperature, _ = raw(measure(world, part, 1, 1 << 5 | 1 << 2 | 1))
    assert pressure % 16 or temperature % 16


def test_reset_forgets_settings_and_a_running_measurement() -> None:
    world = World()
    part = world.part()
    part.write(bytes((CTRL_HUM, 5)))
    part.write(bytes((CTRL_MEAS, X16_FORCED)))
    part.write(bytes((0xE0, 0xB6)))
    assert registers(part, STATUS, 1)[0] & 1
    world.monotonic += 1
    assert registers(part, STATUS, 1) == b"\0"
    assert registers(part, CTRL_MEAS, 1) == b"\0"
    assert not part.conversions


def test_silent_where_there_is_no_weather_and_after_its_end() -> None:
    world = World()

    def none(_: float) -> Sample:
        raise NoWeatherError

    part = Bme280(0x76, none, lambda: world.now, lambda: world.monotonic)
    with pytest.raises(NakError):
        part.write(b"\xd0")
    part = world.part()
    part.end_at = world.now + 10
    assert registers(part, 0xD0, 1) == b"\x60"
    world.now += 10
    with pytest.raises(NakError):
        part.read(1)


@given(st.lists(st.tuples(st.binary(max_size=12), st.integers(0, 300)), max_size=20))
def test_any_bytes_are_taken(operations: list[tuple[bytes, int]]) -> None:
    world = World()
    part = world.part()
    for data, size in operations:
        part.write(data)
        world.monotonic += 0.003
        assert len(part.read(size)) == size
    assert registers(part, 0xD0, 1) == b"\x60"


def test_the_bus_knows_who_is_there() -> None:
    bus = I2CBus(22, 21, [World().part()])
    assert bus.transfer(0x76, b"\xd0", 1) == b"\x60"
    assert bus.transfer(0x76, b"", 0) == b""
    with pytest.raises(HardwareError) as refused:
        bus.transfer(0x77, b"\xd0", 1)
    assert refused.value.code == 19
    request = bytes((22, 21, 0x76, 1, 0, 100, 0)) + b"\xd0"
    assert transfer([bus], request) == b"\x60"
    with pytest.raises(HardwareError):
        transfer([bus], bytes((21, 22)) + request[2:])  # wires swapped
    with pytest.raises(HardwareError):
        transfer([bus], b"\x16")
    with pytest.raises(ValueError, match="0x76"):
        I2CBus(22, 21, [World().part(), World().part()])
