"""The models of SHT4x, SCD4x, PMS5003, DS18B20 and the pins, against their data sheets, without a board."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trigpoint_tools.emulator.errors import HardwareError
from trigpoint_tools.emulator.facts import wiring_of
from trigpoint_tools.emulator.i2c import I2CBus, NakError
from trigpoint_tools.emulator.onewire import OneWireNet
from trigpoint_tools.emulator.parts import ds18b20, pms5003, scd4x, sensirion, sht4x
from trigpoint_tools.emulator.parts.ds18b20 import Ds18b20, rom_of
from trigpoint_tools.emulator.parts.fault import Fault
from trigpoint_tools.emulator.parts.pms5003 import Pms5003
from trigpoint_tools.emulator.parts.scd4x import Scd4x
from trigpoint_tools.emulator.parts.sht4x import Sht4x
from trigpoint_tools.emulator.pins import FALLING, IN, KEEP, OPEN_DRAIN, OUT, PULL_UP, Pins
from trigpoint_tools.emulator.soldered import solder
from trigpoint_tools.emulator.uart import SerialLine, Uart
from trigpoint_tools.emulator.weather import NoWeatherError, Sample


class Time:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


# -- Sensirion


@pytest.mark.parametrize(
    ("word", "crc"),
    [(0xBEEF, 0x92), (0x01F4, 0x33), (0x6667, 0xA2), (0x5EB9, 0x3C), (0x8000, 0xA2), (0x07E6, 0x48), (0x079E, 0x09)],
)
def test_checksum_of_the_data_sheets(word: int, crc: int) -> None:
    assert sensirion.words(word) == word.to_bytes(2, "big") + bytes((crc,))


def sht(time: Time) -> Sht4x:
    part = Sht4x(0x44, lambda _: Sample(2500, 5000, 101_325), time, time)
    time.now += 0.001
    return part


def test_sht4x_measures_in_its_time_and_answers_once() -> None:
    time = Time()
    part = sht(time)
    with pytest.raises(NakError):
        part.read(6)
    part.write(b"\xfd")
    time.now += 0.0082
    for silent in (lambda: part.read(6), lambda: part.write(b"\xfd")):
        with pytest.raises(NakError):
            silent()
    time.now += 0.0002
    answer = part.read(6)
    assert part.readings == 2
    raw_t, raw_h = (int.from_bytes(answer[i : i + 2], "big") for i in (0, 3))
    assert answer == sensirion.words(raw_t, raw_h)
    assert -45 + 175 * raw_t / 65535 == pytest.approx(25, abs=0.002)
    assert -6 + 125 * raw_h / 65535 == pytest.approx(50, abs=0.001)
    with pytest.raises(NakError):
        part.read(6)
    part.write(b"\x89")
    assert part.read(6) == sensirion.words(0x0EF2, 0x1A3C)
    with pytest.raises(NakError):
        part.write(b"\x00")


def test_sht4x_is_silent_where_there_is_no_weather() -> None:
    def none(_: float) -> Sample:
        raise NoWeatherError

    time = Time()
    with pytest.raises(NakError):
        Sht4x(0x44, none, time, time).write(b"")


def test_scd4x_follows_the_data_sheets_examples() -> None:
    time = Time()
    part = Scd4x(time)
    with pytest.raises(NakError):
        part.write(b"\x36\x82")  # it needs 30 ms to start
    time.now += 0.03

    def ask(command: str, size: int) -> str:
        part.write(bytes.fromhex(command))
        time.now += 0.001
        return part.read(size).hex()

    # Section 3.6.2 has 6667 and 5eb9 for 25 Cel and 37 %RH: one more than the nearest values of its formulas.
    measured = sensirion.words(500, 0x6666, 0x5EB8).hex()
    assert ask("3682", 9) == "f896319f07c23bbe89"
    part.write(bytes.fromhex("2427079e09"))
    time.now += 0.001
    assert part.altitude == 1950
    with pytest.raises(NakError):
        part.write(bytes.fromhex("2427079e0a"))
    time.now += 0.001
    part.write(bytes.fromhex("21b1"))
    with pytest.raises(NakError):
        part.write(bytes.fromhex("3682"))  # not while it measures
    assert ask("e4b8", 3) == "8000a2"
    time.now += 5
    assert ask("e4b8", 3) != "8000a2"
    assert ask("ec05", 9) == measured
    assert part.readings == 3
    with pytest.raises(NakError):
        ask("ec05", 9)
    part.write(bytes.fromhex("3f86"))
    time.now += 0.499
    with pytest.raises(NakError):
        part.write(b"")
    time.now += 0.001
    part.write(bytes.fromhex("219d"))
    time.now += 5
    assert ask("ec05", 9) == measured


@given(st.lists(st.tuples(st.binary(max_size=6), st.integers(0, 12)), max_size=20))
def test_any_bytes_are_taken_by_the_i2c_parts(operations: list[tuple[bytes, int]]) -> None:
    time = Time()
    for part in (sht(time), Scd4x(time)):
        for data, size in operations:
            time.now += 0.1
            with contextlib.suppress(NakError):
                part.write(data)
            with contextlib.suppress(NakError):
                part.read(size)


# -- the I2C bus and the pins


def test_only_nine_clocks_and_a_stop_free_a_bus_that_hangs() -> None:
    time = Time()
    part = sht(time)
    bus = I2CBus(22, 21, [part])
    pins = Pins([bus], lambda pin: None)
    part.fault = Fault.STUCK
    with pytest.raises(HardwareError) as stuck:
        bus.transfer(0x44, b"\xfd", 0)
    assert stuck.value.code == 116
    part.fault = Fault.NONE
    with pytest.raises(HardwareError):
        bus.transfer(0x44, b"\xfd", 0)
    assert (pins.level(22), pins.level(21)) == (1, 0)
    for pin in (22, 21):
        pins.set(pin, OPEN_DRAIN, 0, 1)

    def clock(count: int) -> None:
        for _ in range(count):
            pins.set(22, KEEP, KEEP, 0)
            pins.set(22, KEEP, KEEP, 1)

    clock(8)
    assert pins.level(21) == 0
    clock(1)
    assert pins.level(21) == 1
    pins.attach(22, 21)
    with pytest.raises(HardwareError):
        bus.transfer(0x44, b"\xfd", 0)  # without a STOP it still waits
    pins.set(21, OPEN_DRAIN, 0, 0)
    pins.set(22, OPEN_DRAIN, 0, 1)
    pins.set(21, KEEP, KEEP, 1)
    assert bus.recoveries == 1
    with pytest.raises(HardwareError):
        bus.transfer(0x44, b"\xfd", 0)  # the wires are plain pins still
    pins.attach(22, 21)
    assert bus.transfer(0x44, b"\xfd", 0) == b""


def test_a_stretched_clock_lasts_until_the_repair() -> None:
    time = Time()
    part = sht(time)
    bus = I2CBus(22, 21, [part, Scd4x(time)])
    part.fault = Fault.STRETCHED
    time.now += 1
    assert bus.transfer(0x62, b"", 0) == b""
    with pytest.raises(HardwareError):
        bus.transfer(0x44, b"", 0)
    assert bus.levels() == (0, 1)
    with pytest.raises(HardwareError):
        bus.transfer(0x62, b"", 0)
    part.fault = Fault.NONE
    assert bus.transfer(0x62, b"", 0) == b""


def test_pins_have_levels_edges_and_counters() -> None:
    edges: list[int] = []
    pins = Pins([], edges.append)
    pins.set(4, IN, PULL_UP, KEEP)
    assert pins.level(4) == 1
    pins.watch(4, FALLING)
    pins.count(0, 4, FALLING)
    pins.pulse(4, 3)
    assert edges == [4, 4, 4] and pins.counted(0) == 3
    pins.drive(4, 0)
    assert pins.level(4) == 0 and pins.counted(0) == 4
    pins.drive(4, 0)
    assert pins.counted(0) == 4
    pins.reset()
    pins.drive(4, None)
    pins.pulse(4)
    assert edges == [4] * 4
    pins.set(5, OUT, 0, 1)
    assert pins.level(5) == 1


# -- DS18B20


def test_ds18b20_checksum() -> None:
    """Maxim application note 27: the ROM code 02 1C B8 01 00 00 00 has the CRC A2."""
    assert ds18b20.crc8(bytes.fromhex("021cb801000000")) == 0xA2


# Data sheet, table 1.
TABLE = [
    (12500, 0x07D0),
    (8500, 0x0550),
    (2506.25, 0x0191),
    (1012.5, 0x00A2),
    (50, 0x0008),
    (0, 0x0000),
    (-50, 0xFFF8),
    (-1012.5, 0xFF5E),
    (-2506.25, 0xFE6F),
    (-5500, 0xFC90),
]


@pytest.mark.parametrize(("centi", "register"), TABLE)
def test_ds18b20_temperatures_of_the_data_sheet(centi: float, register: int) -> None:
    sixteenths = register - (register >> 15 << 16)
    assert centi * 16 == sixteenths * 100
    assert ds18b20.raw(round(centi)) == sixteenths


def test_ds18b20_converts_and_forgets_with_its_power() -> None:
    time = Time()
    part = Ds18b20(rom_of(1), lambda: 2500, time)
    net = OneWireNet(4, [part])

    def command(*data: int) -> None:
        assert net.reset()
        for byte in (0xCC, *data):
            net.write(byte, 8)

    def scratchpad() -> bytes:
        command(0xBE)
        data = bytes(net.read(8) for _ in range(9))
        assert ds18b20.crc8(data) == 0
        return data

    # Data sheet figure 8: +85 degrees, TH and TL from EEPROM, 12 bits, FF, reserved, 10.
    assert scratchpad()[:6] == bytes.fromhex("50054b467fff")
    command(0x4E, 1, 2, 0x7F)
    command(0x44)
    assert net.read(1) == 0
    time.now += 0.75
    assert net.read(1) == 1
    assert scratchpad()[:5] == bytes.fromhex("900101027f")
    part.power_on()
    assert scratchpad()[:5] == bytes.fromhex("50054b467f")
    command(0x4E, 1, 2, 0x1F)  # 9 bits: half degrees in an eighth of the time
    part.raw = 0x0197
    command(0x44)
    time.now += 0.094
    assert scratchpad()[:2] == bytes.fromhex("9001")


@given(st.sets(st.integers(0, 2**48 - 1), min_size=1, max_size=5))
def test_ds18b20_is_chosen_by_its_rom_code(serials: set[int]) -> None:
    time = Time()
    parts = [Ds18b20(rom_of(serial), lambda: 2500, time) for serial in serials]
    net = OneWireNet(4, parts)
    for i, part in enumerate(parts):
        net.reset()
        for byte in (0x55, *part.rom, 0x4E, i, i, 0x7F):
            net.write(byte, 8)
    for i, part in enumerate(parts):
        net.reset()
        for byte in (0x55, *part.rom, 0xBE):
            net.write(byte, 8)
        assert bytes(net.read(8) for _ in range(9))[2] == i


def test_a_wire_without_parts_and_a_wire_held_low() -> None:
    part = Ds18b20(rom_of(1), lambda: 2500, Time())
    net = OneWireNet(4, [part])
    part.fault = Fault.MISSING
    assert not net.reset() and net.read(8) == 0xFF
    part.fault = Fault.STUCK
    assert net.reset() and net.read(8) == 0


# -- PMS5003


def test_pms5003_commands_of_the_manual() -> None:
    """Appendix II's table, with its sums."""
    assert pms5003.command(0xE2, 0).hex() == "424de200000171"
    assert pms5003.command(0xE4, 0).hex() == "424de400000173"
    assert pms5003.command(0xE4, 1).hex() == "424de400010174"


def test_pms5003_sends_a_frame_a_second_but_asleep() -> None:
    time = Time()
    part = Pms5003(time)
    assert part.say() == b""
    time.now += 2.5
    said = part.say()
    assert len(said) == 64 and said[:32] == said[32:]
    assert said[:4].hex() == "424d001c" and sum(said[:30]) == int.from_bytes(said[30:32], "big")
    assert [int.from_bytes(said[i : i + 2], "big") for i in (10, 12, 14)] == [5, 9, 12]
    part.hear(b"noise" + pms5003.command(0xE4, 0)[:3])
    part.hear(pms5003.command(0xE4, 0)[3:])
    time.now += 10
    assert part.asleep and part.say() == b""
    part.hear(pms5003.command(0xE4, 1))
    time.now += 1
    assert len(part.say()) == 32
    part.hear(pms5003.command(0xE1, 0))
    time.now += 5
    assert part.say() == b""
    part.hear(pms5003.command(0xE2, 0))
    assert len(part.say()) == 32


def test_uart_loses_what_does_not_fit_and_garbles_at_another_speed() -> None:
    time = Time()
    part = Pms5003(time)
    uart = Uart()
    uart.init([SerialLine(17, 16, part)], 17, 16, 9600, 100)
    time.now += 4.5
    assert uart.any() == 100
    assert uart.read(32)[:2] == b"BM" and uart.any() == 68
    uart.write(pms5003.command(0xE4, 0))
    assert part.asleep
    part.power_on()
    uart.init([SerialLine(17, 16, part)], -1, 16, 115200, 100)
    uart.write(pms5003.command(0xE4, 0))
    assert not part.asleep
    time.now += 1.5
    assert uart.read(32)[:2] != b"BM"
    uart.init([SerialLine(17, 16, part)], 16, 17, 9600, 100)  # wires swapped
    time.now += 1.5
    assert uart.any() == 0


# -- the whole board


def test_what_is_soldered_on_follows_the_configuration() -> None:
    sensors: list[object] = [
        {"type": "sht4x", "scl": 22, "sda": 21, "address": 69},
        {"type": "scd4x", "scl": 22, "sda": 21},
        {"type": "pms5003", "rx": 16},
        {"type": "ds18b20", "pin": 4, "rom": "28ff641e8216036c"},
        {"type": "ds18b20", "pin": 4},
        {"type": "analog", "pin": 34},
        {"type": "pulse", "pin": 27},  # a contact is not a part
        {"type": "sht4x", "address": 3},
        {"type": "pms5003"},
        {"type": "ds18b20", "pin": 4, "rom": "28"},
        {"type": "ds18b20", "pin": "4"},
        {"type": ["sht4x"]},
    ]
    wiring = wiring_of({"sensors": sensors})
    assert [wires.type for wires in wiring] == ["sht4x", "scd4x", "pms5003", "ds18b20", "ds18b20", "analog"]
    assert (wiring[0].address, wiring[1].address, wiring[2].tx) == (69, 0x62, -1)
    time = Time()
    on = solder(wiring, bytes(6), lambda _: Sample(2500, 5000, 101_325), time, time)
    assert [type(part).__name__ for part in on.parts] == ["Sht4x", "Scd4x", "Pms5003", "Ds18b20", "Ds18b20", "Probe"]
    assert len(on.buses()) == len(on.nets()) == len(on.lines) == len(on.probes) == 1


def test_raw_values_are_the_nearest() -> None:
    assert scd4x.raw(2500, 3700) == (0x6666, 0x5EB8)
    assert sht4x.raw(Sample(-4500, -600, 0)) == (0, 0)
    assert sht4x.raw(Sample(13000, 11900, 0)) == (65535, 65535)
