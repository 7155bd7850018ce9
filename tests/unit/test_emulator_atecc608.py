"""The ATECC608 model: its packets, its sleep and its time, its slots, against the data sheet and OpenSSL."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
from hypothesis import given
from hypothesis import strategies as st
from trigpoint_tools.emulator.errors import EmulatorError, HardwareError
from trigpoint_tools.emulator.i2c import I2CBus, NakError
from trigpoint_tools.emulator.parts.atecc608 import (
    EXECUTION_MS,
    ORDER,
    WAKE_RESPONSE,
    Atecc608,
    ClockMode,
    Opcode,
    Status,
    crc16,
    packet,
)

DIGEST = bytes(range(32))


class Bench:
    """A part and the clock under the test's hand."""

    def __init__(self, path: Path | None = None) -> None:
        self.now = 50.0
        self.part = Atecc608(0x60, lambda: self.now, path)

    def wake(self) -> None:
        self.part.sda_low(80e-6)
        self.now += 0.0016
        assert self.part.read(4) == WAKE_RESPONSE

    def send(self, opcode: int, mode: int, key: int, data: bytes = b"") -> None:
        self.part.write(b"\x03" + packet(bytes((opcode, mode)) + key.to_bytes(2, "little") + data))

    def ask(self, opcode: int, mode: int, key: int = 0, data: bytes = b"") -> bytes:
        """Return the content of the response."""
        self.send(opcode, mode, key, data)
        self.now += 0.12
        response = self.part.read(80)
        count = response[0]
        assert crc16(response[: count - 2]) == response[count - 2 : count]
        assert response[count:] == b"\xff" * (80 - count)
        return response[1 : count - 2]

    def fresh(self, opcode: int, mode: int, key: int = 0, data: bytes = b"") -> bytes:
        """Ask after a sleep, so that the watchdog leaves time."""
        self.part.power_on()
        self.wake()
        return self.ask(opcode, mode, key, data)


@pytest.mark.parametrize(
    ("content", "whole"),
    [
        # Data sheet: the response to a wake pulse, and a command's success; CryptoAuthLib's Info and Random commands.
        ("11", "04113343"),
        ("00", "04000340"),
        ("0f", "040f2342"),
        ("30000000", "0730000000035d"),
        ("1b000000", "071b00000024cd"),
    ],
)
def test_packets(content: str, whole: str) -> None:
    assert packet(bytes.fromhex(content)).hex() == whole


def test_it_sleeps_until_sda_is_low_for_long_enough() -> None:
    bench = Bench()
    bus = I2CBus(22, 21, [bench.part])
    with pytest.raises(HardwareError):
        bus.transfer(0x60, b"\x00", 0)
    with pytest.raises(HardwareError):
        bus.transfer(0, b"\x00", 0, 400_000)  # 20 us
    bench.now += 0.01
    with pytest.raises(HardwareError):
        bus.transfer(0x60, b"", 4)
    with pytest.raises(HardwareError):
        bus.transfer(0, b"\x00", 0, 100_000)  # nobody acknowledges, but the part has heard it
    with pytest.raises(HardwareError):
        bus.transfer(0x60, b"", 4)  # tWHI
    bench.now += 0.0016
    assert bus.transfer(0x60, b"", 4) == WAKE_RESPONSE


def test_the_watchdog_puts_it_to_sleep_whatever_it_does() -> None:
    bench = Bench()
    bench.wake()
    bench.now += 1.2
    assert bench.part.read(1) == b"\xff"
    bench.send(Opcode.SIGN, 0x80, 0)
    assert bench.part.read(4)[1] == Status.WATCHDOG
    bench.now += 0.1
    with pytest.raises(NakError):
        bench.part.read(4)


@pytest.mark.parametrize("mode", list(ClockMode))
@pytest.mark.parametrize("opcode", [Opcode.RANDOM, Opcode.GENKEY])
def test_it_is_busy_for_as_long_as_its_clock_says(mode: ClockMode, opcode: Opcode) -> None:
    bench = Bench()
    bench.part.zone[19] = mode
    bench.wake()
    bench.send(opcode, 0x04 if opcode == Opcode.GENKEY else 0, 0)
    seconds = EXECUTION_MS[opcode][list(ClockMode).index(mode)] / 1000
    bench.now += seconds - 0.001
    with pytest.raises(NakError):
        bench.part.read(4)
    with pytest.raises(NakError):
        bench.part.write(b"\x00")
    bench.now += 0.0011
    assert bench.part.read(1)[0] in (35, 67)


def test_a_response_is_read_in_pieces_and_again_from_the_start() -> None:
    bench = Bench()
    bench.wake()
    whole = packet(bench.ask(Opcode.INFO, 0))
    assert bench.part.read(2) == b"\xff\xff"
    bench.part.write(b"\x00")
    assert bench.part.read(3) + bench.part.read(6) == whole + b"\xff\xff"


def test_what_is_no_command_is_answered_with_a_status() -> None:
    bench = Bench()
    good = packet(bytes.fromhex("1b000000"))
    for bad in (good[:-1] + b"\0", good[:-1], b"\x08" + good[1:], b"", good + b"\0"):
        bench.wake()
        bench.part.write(b"\x03" + bad)
        assert bench.part.read(4) == packet(bytes((Status.COMMUNICATION,)))
        bench.part.write(b"\x01")
    assert bench.fresh(0x77, 0) == bytes((Status.PARSE,))
    assert bench.fresh(Opcode.SIGN, 0x00) == bytes((Status.PARSE,))
    assert bench.fresh(Opcode.GENKEY, 0x04, 16) == bytes((Status.PARSE,))
    assert bench.part.commands.count(Opcode.RANDOM) == 0


@given(data=st.lists(st.binary(max_size=90), max_size=8))
def test_bytes_never_upset_it(data: list[bytes]) -> None:
    bench = Bench()
    bench.wake()
    for piece in data:
        try:
            bench.part.write(piece)
            bench.now += 0.2
            assert len(bench.part.read(70)) == 70
        except NakError:
            bench.part.sda_low(1e-4)
            bench.now += 0.002


def test_key_signature_and_secret() -> None:
    bench = Bench()
    assert bench.fresh(Opcode.INFO, 1, 0)[0] == 0
    assert bench.fresh(Opcode.GENKEY, 0x00, 0) == bytes((Status.EXECUTION,))
    point = bench.fresh(Opcode.GENKEY, 0x04, 0)
    assert bench.fresh(Opcode.INFO, 1, 0)[0] == 1
    assert bench.fresh(Opcode.GENKEY, 0x00, 0) == point
    public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + point)
    seen = set()
    for _ in range(12):
        assert bench.fresh(Opcode.NONCE, 0x03, 0, DIGEST) == b"\0"
        signature = bench.ask(Opcode.SIGN, 0x80, 0)
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
        public.verify(encode_dss_signature(r, s), DIGEST, ec.ECDSA(Prehashed(hashes.SHA256())))
        seen.add(s > ORDER // 2)
    assert seen == {True, False}, "like the part, it does not care for low s"
    other = ec.generate_private_key(ec.SECP256R1())
    numbers = other.public_key().public_numbers()
    mine = numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")
    assert bench.fresh(Opcode.ECDH, 0x0C, 0, mine) == other.exchange(ec.ECDH(), public)
    assert bench.fresh(Opcode.ECDH, 0x0C, 0, mine[:63] + bytes((mine[63] ^ 1,))) == bytes((Status.ECC_FAULT,))


def test_a_digest_serves_one_signature_and_is_lost_in_sleep() -> None:
    bench = Bench()
    bench.fresh(Opcode.GENKEY, 0x04, 0)
    bench.part.write(b"\x01")
    bench.wake()
    assert bench.ask(Opcode.SIGN, 0x80, 0) == bytes((Status.EXECUTION,))
    bench.part.write(b"\x01")
    for word, found in ((b"\x02", 64), (b"\x01", 1)):  # idle keeps TempKey
        bench.wake()
        assert bench.ask(Opcode.NONCE, 0x03, 0, DIGEST) == b"\0"
        bench.part.write(word)
        bench.wake()
        assert len(bench.ask(Opcode.SIGN, 0x80, 0)) == found
        bench.part.write(b"\x01")


@pytest.mark.parametrize(
    ("slot_config", "key_config", "may"),
    [
        (0x2085, 0x0033, {"make", "sign", "ecdh"}),
        (0x0085, 0x0033, {"sign", "ecdh"}),
        (0x2084, 0x0033, {"make", "ecdh"}),
        (0x2081, 0x0033, {"make", "sign"}),
        (0x2085, 0x003C, set()),
    ],
)
def test_slots_do_what_they_are_configured_for(slot_config: int, key_config: int, may: set[str]) -> None:
    bench = Bench()
    bench.fresh(Opcode.GENKEY, 0x04, 0)
    bench.part.configure(0, slot_config, key_config)
    assert (len(bench.fresh(Opcode.GENKEY, 0x04, 0)) == 64) == ("make" in may)
    bench.fresh(Opcode.NONCE, 0x03, 0, DIGEST)
    assert (len(bench.ask(Opcode.SIGN, 0x80, 0)) == 64) == ("sign" in may)
    numbers = bench.part.public_key(1).public_numbers()
    point = numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")
    assert (len(bench.fresh(Opcode.ECDH, 0x0C, 0, point)) == 32) == ("ecdh" in may)


def test_locks() -> None:
    bench = Bench()
    bench.fresh(Opcode.GENKEY, 0x04, 0)
    bench.part.zone[88] = 0xFE  # slot 0 is locked
    assert bench.fresh(Opcode.GENKEY, 0x04, 0) == bytes((Status.EXECUTION,))
    assert len(bench.fresh(Opcode.GENKEY, 0x00, 0)) == 64
    bench.part.zone[86] = 0x55  # data zone open
    bench.fresh(Opcode.NONCE, 0x03, 0, DIGEST)
    assert bench.ask(Opcode.SIGN, 0x80, 0) == bytes((Status.EXECUTION,))
    assert bench.fresh(Opcode.RANDOM, 0) != b"\xff\xff\x00\x00" * 8
    bench.part.zone[87] = 0x55  # configuration open
    assert bench.fresh(Opcode.RANDOM, 0) == b"\xff\xff\x00\x00" * 8


def test_the_configuration_zone_is_read_in_blocks_and_words() -> None:
    part = (bench := Bench()).part
    blocks = b"".join(bench.fresh(Opcode.READ, 0x80, block << 3) for block in range(4))
    assert blocks == bytes(part.zone)
    assert bench.fresh(Opcode.READ, 0x00, 2 << 3 | 5) == part.zone[84:88]
    assert bench.fresh(Opcode.READ, 0x82, 0) == bytes((Status.EXECUTION,)), "a secret slot is not read"
    assert part.serial == blocks[:4] + blocks[8:13]


def test_it_keeps_its_key_in_a_file_of_the_owner(tmp_path: Path) -> None:
    path = tmp_path / "chip.json"
    point = (first := Bench(path)).fresh(Opcode.GENKEY, 0x04, 0)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = Bench(path)
    assert again.fresh(Opcode.GENKEY, 0x00, 0) == point
    assert again.part.serial == first.part.serial
    path.write_text("{}")
    with pytest.raises(EmulatorError, match="no secure element"):
        Bench(path)
