"""The BME280 driver: the data sheet's arithmetic, and a part that is missing, wrong, wedged or silent."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest
from boardrunner import BoardProcess, run
from hypothesis import given, settings
from hypothesis import strategies as st

# Calibration words of the worked example in Bosch's BMP280 data sheet (BST-BMP280-DS001, section 3.12), whose
# temperature and pressure formulas are the BME280's. The humidity words are those of a real part.
T = (27504, 26435, -1000)
P = (36477, -10685, 3024, 2855, 140, -7, 15500, -14600, 6000)
H = (75, 362, 0, 313, 50, 30)


def registers(t: tuple[int, ...] = T, p: tuple[int, ...] = P, h: tuple[int, ...] = H) -> tuple[bytes, bytes]:
    """Return registers 0x88 to 0xA1 and 0xE1 to 0xE7 that hold these calibration words."""
    first = struct.pack("<Hhh", *t) + struct.pack("<Hhhhhhhhh", *p) + bytes((0, h[0]))
    second = struct.pack("<hB", h[1], h[2])
    second += bytes((h[3] >> 4 & 0xFF, (h[3] & 0x0F) | (h[4] & 0x0F) << 4, h[4] >> 4 & 0xFF, h[5] & 0xFF))
    return first, second


_SETUP = """
from trig.sensors.bme280 import Calibration
def words(first, second):
    c = Calibration(first, second)
    return [c.t1, c.t2, c.t3, c.p, c.h1, c.h2, c.h3, c.h4, c.h5, c.h6]
def compensate(first, second, raw_t, raw_p, raw_h):
    c = Calibration(first, second)
    fine = c.fine_temperature(raw_t)
    return [fine, c.temperature(fine), c.pressure(raw_p, fine), c.humidity(raw_h, fine)]
"""


@pytest.fixture(scope="module")
def driver() -> Iterator[BoardProcess]:
    with BoardProcess(_SETUP) as process:
        yield process


def test_data_sheet_example(driver: BoardProcess) -> None:
    """25.08 Cel and 100,653.27 Pa, fine temperature 128,422."""
    fine, temperature, pressure, _ = driver.call("compensate", *registers(), 519888, 415148, 30000)  # type: ignore[misc]
    assert (fine, temperature) == (128422, 2508)
    assert pressure == 1006533


_INT16 = st.integers(-32768, 32767)
_INT12 = st.integers(-2048, 2047)


@given(
    st.tuples(st.integers(0, 65535), _INT16, _INT16),
    st.tuples(st.integers(0, 65535), *[_INT16] * 8),
    st.tuples(st.integers(0, 255), _INT16, st.integers(0, 255), _INT12, _INT12, st.integers(-128, 127)),
)
@settings(max_examples=100, deadline=None)
def test_calibration_words(driver: BoardProcess, t: tuple[int, ...], p: tuple[int, ...], h: tuple[int, ...]) -> None:
    assert driver.call("words", *registers(t, p, h)) == [*t, [*p], *h]


def _in_floats(raw_t: int, raw_p: int, raw_h: int) -> tuple[float, float, float]:
    """The data sheet's floating-point formulas (section 8.1): Cel, Pa, %RH."""
    v1 = (raw_t / 16384 - T[0] / 1024) * T[1]
    v2 = (raw_t / 131072 - T[0] / 8192) ** 2 * T[2]
    fine = v1 + v2
    v1 = fine / 2 - 64000
    v2 = v1 * v1 * P[5] / 32768 + v1 * P[4] * 2
    v2 = v2 / 4 + P[3] * 65536
    v1 = (P[2] * v1 * v1 / 524288 + P[1] * v1) / 524288
    v1 = (1 + v1 / 32768) * P[0]
    p = (1048576 - raw_p - v2 / 4096) * 6250 / v1
    pressure = p + (P[8] * p * p / 2147483648 + p * P[7] / 32768 + P[6]) / 16
    h = fine - 76800
    h = (raw_h - (H[3] * 64 + H[4] / 16384 * h)) * (
        H[1] / 65536 * (1 + H[5] / 67108864 * h * (1 + H[2] / 67108864 * h))
    )
    return fine / 5120, pressure, min(max(h * (1 - H[0] * h / 524288), 0), 100)


@given(st.integers(400000, 640000), st.integers(250000, 600000), st.integers(15000, 45000))
@settings(max_examples=200, deadline=None)
def test_integers_agree_with_the_data_sheets_floats(driver: BoardProcess, raw_t: int, raw_p: int, raw_h: int) -> None:
    _, temperature, pressure, humidity = driver.call("compensate", *registers(), raw_t, raw_p, raw_h)  # type: ignore[misc]
    wanted = _in_floats(raw_t, raw_p, raw_h)
    assert abs(temperature / 100 - wanted[0]) <= 0.011
    # The integer formulas take the fine temperature in whole steps of 0.0002 Cel.
    assert abs(pressure / 10 - wanted[1]) <= 0.6
    assert abs(humidity / 100 - wanted[2]) <= 0.06


# A bus with one part on it, whose registers a test can bend.
_BUS = f"""
import asyncio
from trig.sensors import SensorError
from trig.sensors.bme280 import Bme280

FIRST, SECOND = {registers()!r}

class Bus:
    def __init__(self):
        self.registers = bytearray(256)
        self.registers[0xD0] = 0x60
        self.registers[0x88:0x88 + 26] = FIRST
        self.registers[0xE1:0xE1 + 7] = SECOND
        raw_p, raw_t, raw_h = 415148, 519888, 30000
        self.data = bytes((raw_p >> 12, raw_p >> 4 & 255, raw_p << 4 & 255,
                           raw_t >> 12, raw_t >> 4 & 255, raw_t << 4 & 255, raw_h >> 8, raw_h & 255))
        self.gone = False
        self.busy = 0
        self.log = []
    def _answer(self):
        if self.gone:
            raise OSError(19)
    def writeto_mem(self, address, register, data):
        self._answer()
        assert address == 0x76
        self.log.append((register, data[0]))
        if register == 0xF4:
            self.registers[0xF7:0xFF] = self.data
    def readfrom_mem_into(self, address, register, buffer):
        self._answer()
        if register == 0xF3:
            buffer[0] = 8 if self.busy else 0
            self.busy -= self.busy > 0
            return
        buffer[:] = self.registers[register : register + len(buffer)]
    def readfrom_mem(self, address, register, size):
        self._answer()
        return bytes(self.registers[register : register + size])

bus = Bus()
part = Bme280(bus, 0x76, "roof")
out = [0, 0, 0]

def fails(word):
    try:
        asyncio.run(part.measure(out))
    except SensorError as error:
        assert "BME280 roof" in str(error) and word in str(error), error
        return
    raise SystemExit("no SensorError")

def works():
    asyncio.run(part.measure(out))
    assert out[0] == 2508 and out[2] == 1006533, out
"""


def _bus(code: str) -> None:
    run(_BUS + code)


def test_forced_mode_sequence() -> None:
    _bus("""
works()
assert bus.log == [(0xF5, 0), (0xF2, 1), (0xF4, 0x25)], bus.log
assert [c[0] for c in part.channels] == ["roof/temperature", "roof/humidity", "roof/pressure"]
""")


def test_missing_part_is_named_and_taken_in_when_it_comes() -> None:
    _bus("""
bus.gone = True
fails("no answer")
bus.gone = False
works()
bus.gone = True
fails("no answer")
bus.gone = False
bus.log.clear()
works()
assert (0xF5, 0) in bus.log, "set up anew after it was gone"
""")


def test_other_part_at_the_address() -> None:
    _bus("bus.registers[0xD0] = 0x58\nfails('chip id 0x58')\n")


def test_wedged_part_times_out() -> None:
    _bus("bus.busy = 5\nworks()\nbus.busy = 10000\nfails('measuring')\nbus.busy = 0\nworks()\n")


def test_half_of_full_scale_is_a_value_like_any_other() -> None:
    """0x8000 stands for "not measured" in the registers, but 50 %RH may also come out as just that."""
    _bus("""
bus.data = bus.data[:6] + b"\\x80\\x00"
works()
assert 4000 < out[1] < 8000, out
bus.data = bus.data[:3] + b"\\x80\\x00\\x00" + bus.data[6:]
asyncio.run(part.measure(out))
""")


def test_values_that_no_part_measures_are_refused() -> None:
    _bus("""
works()
bus.data = bytes((0x80, 0, 0, 0x80, 0, 0, 0x80, 0))
fails("nothing was measured")
bus.data = bytes(8)
fails("beyond")
bus.data = b"\\xff" * 8
fails("beyond")
bus.registers[0x88:0x88 + 26] = bytes(26)
fails("calibration")
""")
