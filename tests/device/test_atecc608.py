"""The driver of the ATECC608 against the emulated part: all clock modes, every way to fail, garbage on the wire."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from boardrunner import BoardProcess
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
from emulated import WEATHER
from hypothesis import given
from hypothesis import strategies as st
from trigpoint.clock import WorldClock
from trigpoint.wire.keys import PublicKey
from trigpoint_tools.emulator.board import EmulatedBoard
from trigpoint_tools.emulator.parts.atecc608 import EXECUTION_MS, Atecc608, ClockMode, Opcode, packet

CONFIG: dict[str, Any] = {"wifi": [{"ssid": "trig"}], "secure_element": {"scl": 22, "sda": 21}}
DIGEST = bytes(range(32))
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551

# One line of JSON per operation: what came out, or what the error said.
SETUP = """
import json, time
from machine import I2C, Pin
from trig.atecc608 import Atecc608
from trig.chip_keys import ChipKeys
from trig.keys import SignerError
from trig.p256 import P256Error
class Nvs:
    values = {}
    def get_blob(self, name, buffer):
        if name not in self.values:
            raise OSError(-0x1102)
        buffer[: len(self.values[name])] = self.values[name]
        return len(self.values[name])
    def set_blob(self, name, value):
        self.values[name] = bytes(value)
    def erase_key(self, name):
        del self.values[name]
    def commit(self):
        pass
def chip(freq=100000):
    return Atecc608(I2C(0, scl=Pin(22), sda=Pin(21), freq=freq), 0x60)
def keys(slot=0, freq=100000):
    return ChipKeys(Nvs(), chip(freq), slot)
def tell(f, *args):
    began = time.ticks_ms()
    try:
        result = f(*args)
        result = result.hex() if type(result) is bytes else str(result)
        error = ""
    except (SignerError, P256Error) as failure:
        result, error = "", str(failure)
    print(json.dumps([result, error, time.ticks_diff(time.ticks_ms(), began)]))
digest = bytes(range(32))
"""


@pytest.fixture
def board(tmp_path: Path) -> Iterator[EmulatedBoard]:
    made = EmulatedBoard.create(tmp_path / "board", CONFIG, WorldClock(1_370_000_000, time.time(), 1.0), WEATHER)
    yield made
    made.cut()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the part answer at once: for tests that ask it hundreds of times."""
    for opcode in Opcode:
        monkeypatch.setitem(EXECUTION_MS, opcode, (0, 0, 0))


def tell(board: EmulatedBoard, code: str, timeout: float = 60) -> list[tuple[str, str, int]]:
    lines = board.exec(SETUP + code, timeout).splitlines()
    return [tuple(json.loads(line)) for line in lines]


def part(board: EmulatedBoard) -> Atecc608:
    assert board.secure_element is not None
    return board.secure_element


def valid(board: EmulatedBoard, signature: str, digest: bytes = DIGEST) -> bool:
    raw = bytes.fromhex(signature)
    r, s = int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
    part(board).public_key(0).verify(encode_dss_signature(r, s), digest, ec.ECDSA(Prehashed(hashes.SHA256())))
    return s <= ORDER // 2


def test_packets_are_read_back_whole_or_not_at_all() -> None:
    with BoardProcess("from trig.atecc608 import crc16, unpack") as process:

        @given(
            content=st.binary(min_size=1, max_size=64).filter(lambda c: len(c) in (1, 4, 32, 64)),
            at=st.integers(0, 66),
            change=st.integers(1, 255),
        )
        def whole(content: bytes, at: int, change: int) -> None:
            answer = packet(content)
            assert process.call("unpack", answer, len(content)) == content
            at %= len(answer)
            bent = answer[:at] + bytes((answer[at] ^ change,)) + answer[at + 1 :]
            found = process.call("unpack", bent, len(content))
            # A count turned into 4 may make a status of it, which is never taken for data.
            assert found is None or (isinstance(found, bytes) and len(found) == 1 < len(content))

        @given(answer=st.binary(min_size=4, max_size=67), size=st.sampled_from([1, 4, 32, 64]))
        def garbage(answer: bytes, size: int) -> None:
            found = process.call("unpack", answer, size)
            assert found is None or (isinstance(found, bytes) and packet(found) == answer[: len(found) + 3])

        whole()
        garbage()
        assert process.call("crc16", bytes.fromhex("0411")) == 0x4333  # the wake response: 33 43


@pytest.mark.parametrize("mode", list(ClockMode))
def test_key_signature_and_secret_at_each_clock(board: EmulatedBoard, mode: ClockMode) -> None:
    chip = part(board)
    chip.zone[19] = mode
    chip.high_s = True
    link = ec.generate_private_key(ec.SECP256R1())
    numbers = link.public_key().public_numbers()
    point = (numbers.x.to_bytes(32, "big"), numbers.y.to_bytes(32, "big"))
    made, empty, again, signed, secret, wrong = tell(
        board,
        "store = keys(); tell(store.load); tell(store.create); key = store.load()\n"
        "tell(lambda: key.x + key.y); tell(key.sign, digest)\n"
        f"tell(key.secret, {point[0]!r}, {point[1]!r}); tell(key.secret, {point[0]!r}, {point[0]!r})",
    )
    assert made[0] == "None" and not empty[1]
    public = chip.public_key(0).public_numbers()
    assert again[0] == (public.x.to_bytes(32, "big") + public.y.to_bytes(32, "big")).hex()
    assert valid(board, signed[0]), "the chip's high s is turned into the low one"
    assert signed[2] >= EXECUTION_MS[Opcode.SIGN][list(ClockMode).index(mode)]
    assert secret[0] == link.exchange(ec.ECDH(), chip.public_key(0)).hex()
    assert "not a point of the curve" in wrong[1]


def _unlock_data(chip: Atecc608) -> None:
    chip.zone[86] = 0x55


def _unlock_config(chip: Atecc608) -> None:
    chip.zone[87] = 0x55


def _old_revision(chip: Atecc608) -> None:
    chip.zone[4:8] = bytes.fromhex("00005000")


def _protect_ecdh(chip: Atecc608) -> None:
    chip.zone[91] = 0x01


def _slot(slot_config: int, key_config: int) -> Callable[[Atecc608], None]:
    return lambda chip: chip.configure(0, slot_config, key_config)


def _absent(chip: Atecc608) -> None:
    chip.absent = True


def _stuck(chip: Atecc608) -> None:
    chip.stuck = True


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_absent, "no answer on the bus"),
        (_stuck, "no answer"),
        (_old_revision, "revision 00005000, want an ATECC608"),
        (_unlock_data, "not locked"),
        (_unlock_config, "not locked"),
        (_protect_ecdh, "ChipOptions protect the result of ECDH"),
        (_slot(0x2085, 0x003C), "KeyConfig 0x003c is for no P-256 private key"),
        (_slot(0x2085, 0x0031), "KeyConfig 0x0031 does not tell its public key"),
        (_slot(0x2085, 0x00B3), "KeyConfig 0x00b3 wants an authorisation before use"),
        (_slot(0x2085, 0x1033), "KeyConfig 0x1033 wants an authorisation before use"),
        (_slot(0x2005, 0x0033), "SlotConfig 0x2005 is not secret"),
        (_slot(0x20A5, 0x0033), "SlotConfig 0x20a5 limits the number of uses"),
        (_slot(0x2084, 0x0033), "SlotConfig 0x2084 does not sign external messages"),
        (_slot(0x2081, 0x0033), "SlotConfig 0x2081 does not do ECDH"),
        (_slot(0x208D, 0x0033), "SlotConfig 0x208d does not do ECDH with its result in the clear"),
        (_slot(0x6085, 0x0033), "SlotConfig 0x6085 lets a key be written from outside"),
    ],
)
def test_a_chip_that_is_unfit_is_refused_with_the_reason(
    board: EmulatedBoard, spoil: Callable[[Atecc608], None], message: str
) -> None:
    spoil(part(board))
    ((_, error, ms),) = tell(board, "tell(keys().load)")
    assert message in error and error.startswith("secure element 0x60"), error
    assert ms < 3000


def test_what_the_chip_refuses_is_told_once_and_what_it_fails_at_is_tried_again(board: EmulatedBoard) -> None:
    chip = part(board)
    ((_, error, _),) = tell(board, "tell(chip().sign, 2, digest)")
    assert error == "secure element 0x60: command 0x41 ended with status 0x0f"
    assert chip.commands.count(Opcode.SIGN) == 1
    fault, last = packet(b"\x05"), [2]

    def fails_twice(data: bytes) -> bytes:
        if len(data) == 67 and last[0]:
            last[0] -= 1
            return fault + data[4:]
        return data

    tell(board, "tell(keys().create)")
    chip.tamper = fails_twice
    begun = len(chip.commands)
    ((signature, error, _),) = tell(board, "tell(chip().sign, 0, digest)")
    assert not error and len(signature) == 128
    assert chip.commands[begun:].count(Opcode.SIGN) == 3


def test_its_wake_pulse_is_too_short_on_a_fast_bus(board: EmulatedBoard) -> None:
    slow, fast = tell(board, "tell(keys().load); tell(keys(freq=400000).load)")
    assert slow[0] == "None" and "no answer on the bus" in fast[1]


def test_a_chip_that_is_awake_busy_or_in_the_middle_of_something_is_taken_in(board: EmulatedBoard) -> None:
    results = tell(
        board,
        "keys().create()\n"
        "bus = I2C(0, scl=Pin(22), sda=Pin(21), freq=100000)\n"
        "def wake():\n"
        "    try:\n"
        "        bus.writeto(0, b'\\0')\n"
        "    except OSError:\n"
        "        time.sleep_ms(2)\n"
        "key = keys().load()\n"
        "for words in ((b'\\0',), (b'\\2',), (b'\\x03\\x07\\x1b\\0\\0\\0\\x24\\xcd',), (b'\\x03\\x07\\x40\\0\\0',)):\n"
        "    wake()\n"
        "    for word in words:\n"
        "        bus.writeto(0x60, word)\n"
        "    tell(key.sign, digest)\n",
    )
    assert len(results) == 4 and all(valid(board, signature) for signature, _, _ in results)


class Bender:
    """Changes one byte in a read now and then, until each byte of each response of a signature has had its turn."""

    def __init__(self) -> None:
        self.left = {
            kind: list(range(size)) for kind, size in (("wake", 4), ("random", 35), ("nonce", 4), ("sign", 67))
        }
        self._reads = 0
        self._last = 0
        self._source = random.Random(7)

    def __call__(self, data: bytes) -> bytes:
        self._reads += 1
        kind = {35: "random", 67: "sign", 4: "nonce" if self._last == 35 else "wake"}[len(data)]
        self._last = len(data)
        if self._reads < 6 or not self.left[kind]:
            return data
        self._reads = 0
        at = self.left[kind].pop()
        return data[:at] + bytes((data[at] ^ self._source.randrange(1, 256),)) + data[at + 1 :]


def test_one_damaged_byte_anywhere_costs_at_most_a_try(board: EmulatedBoard, quick: None) -> None:
    tell(board, "tell(keys().create)")
    key = 'store = keys(); key = store.load(); print(\'["", "", 0]\'); '
    bender = Bender()

    def begin(data: bytes) -> bytes:
        # The start of the session is left alone: what it reads has other sizes.
        return bender(data) if part(board).commands[-1:] in ([Opcode.RANDOM], [Opcode.NONCE], [Opcode.SIGN]) else data

    part(board).tamper = begin
    lines = tell(board, key + "\nfor _ in range(180):\n    tell(key.sign, digest)\n")[1:]
    assert not any(bender.left.values()), bender.left
    assert [error for _, error, _ in lines if error] == []
    assert all(valid(board, signature) for signature, _, _ in lines)


def test_garbage_never_crashes_never_signs_wrongly_and_ends_soon(board: EmulatedBoard, quick: None) -> None:
    """From the wake on the part says what it likes, at times in whole packets: a signature verifies or there is none,
    and no operation reads more than its bounded retries."""
    chip = part(board)
    tell(board, "tell(keys().create)")
    source = random.Random(20)
    reads = 0

    def babble(data: bytes) -> bytes:
        nonlocal reads
        reads += 1
        choice = source.randrange(6)
        if choice == 0:
            return source.randbytes(len(data))
        if choice == 1 and len(data) > 3:
            return packet(source.randbytes(len(data) - 3))  # a good CRC around nonsense
        if choice == 2:
            return (packet(bytes((source.randrange(256),))) + b"\xff" * 64)[: len(data)]
        if choice == 3:
            return bytes((source.randrange(256),)) + data[1:]
        return data

    def after_start(data: bytes) -> bytes:
        return babble(data) if Opcode.SIGN in chip.commands else data

    chip.tamper = after_start
    rounds = 60
    lines = tell(
        board,
        f"key = keys().load(); chip().sign(0, digest)\nfor _ in range({rounds}):\n    tell(key.sign, digest)\n",
        120,
    )
    assert len(lines) == rounds
    signed = [signature for signature, _, _ in lines if signature]
    assert all(valid(board, signature) for signature in signed)
    assert 0 < len(signed) < rounds
    assert all(error.startswith("secure element 0x60") for signature, error, _ in lines if not signature)
    # Twice three sessions of a wake and three commands, each read at most four times.
    assert reads <= rounds * 2 * 3 * (1 + 3 * 4)


def test_loading_through_garbage_gives_the_boards_key_or_none(board: EmulatedBoard, quick: None) -> None:
    """With the record in NVS even whole packets of nonsense pass for neither another key nor an empty slot."""
    chip = part(board)
    tell(board, "tell(keys().create)")
    numbers = chip.public_key(0).public_numbers()
    public = PublicKey(numbers.x.to_bytes(32, "big"), numbers.y.to_bytes(32, "big"))
    record = chip.serial + b"\0" + public.kid
    source = random.Random(3)

    def bend(data: bytes) -> bytes:
        if source.random() < 0.8:
            return data
        return packet(source.randbytes(len(data) - 3)) if source.random() < 0.5 else source.randbytes(len(data))

    chip.tamper = bend
    commands = len(chip.commands)
    lines = tell(
        board, f"Nvs.values['chip'] = {record!r}\nfor _ in range(40):\n    tell(lambda: keys().load().kid)\n", 120
    )
    assert len(lines) == 40
    assert all(found == public.kid.hex() or error for found, error, _ in lines)
    assert any(found for found, _, _ in lines) and any(error for _, error, _ in lines)
    assert len(chip.commands) - commands <= 40 * 7 * 3
