"""Microchip ATECC608 secure element at byte level: packets, sleep, execution times, slot configuration, P-256.

Sources: ATECC608A-TNGTLS data sheet DS40002112 and ATECC608B-TNGTLS DS40002250 (wake, watchdog, I/O groups, commands
and slot policies); ATECC508A complete data sheet DS20005927 section 2.2 (configuration zone, SlotConfig, KeyConfig,
whose layout the 608 keeps). The full data sheet of the 608 is under a non-disclosure agreement; execution times for the
clock modes are the figures that Microchip publishes in CryptoAuthLib.

Only what a Trigpoint board uses is there: Info, Read of the configuration zone, Random, GenKey, Nonce in pass-through
mode, Sign of an external digest, and ECDH with its result in the clear. All else is a parse error.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature

from trigpoint_tools.emulator.errors import EmulatorError
from trigpoint_tools.emulator.i2c import NakError
from trigpoint_tools.emulator.nvs import write_atomically

ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
WAKE_RESPONSE = bytes.fromhex("04113343")

_WAKE_LOW_S = 60e-6  # tWLO
_WAKE_DELAY_S = 1.5e-3  # tWHI
_WATCHDOG_S = 1.3
_SLOTS = 16

# Places in the configuration zone.
_I2C_ADDRESS = 16
_CHIP_MODE = 19
_SLOT_CONFIG = 20
_LOCK_DATA = 86
_LOCK_CONFIG = 87
_SLOT_LOCKED = 88
_CHIP_OPTIONS = 90
_KEY_CONFIG = 96
UNLOCKED = 0x55


class Word(IntEnum):
    """The first byte of a write: what kind it is."""

    RESET = 0
    SLEEP = 1
    IDLE = 2
    COMMAND = 3


class Opcode(IntEnum):
    """Commands."""

    READ = 0x02
    NONCE = 0x16
    RANDOM = 0x1B
    INFO = 0x30
    GENKEY = 0x40
    SIGN = 0x41
    ECDH = 0x43


class Status(IntEnum):
    """What a four-byte response says."""

    SUCCESS = 0x00
    PARSE = 0x03
    ECC_FAULT = 0x05
    EXECUTION = 0x0F
    WATCHDOG = 0xEE
    COMMUNICATION = 0xFF


class ClockMode(IntEnum):
    """The clock divider as it stands in ChipMode: full speed, half, and a sixth or so, for less current."""

    M0 = 0x00
    M1 = 0x28
    M2 = 0x68


# The longest execution times in milliseconds, for M0, M1 and M2.
EXECUTION_MS: dict[Opcode, tuple[int, int, int]] = {
    Opcode.READ: (5, 5, 5),
    Opcode.NONCE: (20, 20, 20),
    Opcode.RANDOM: (23, 23, 23),
    Opcode.INFO: (5, 5, 5),
    Opcode.GENKEY: (115, 215, 653),
    Opcode.SIGN: (115, 220, 665),
    Opcode.ECDH: (75, 172, 531),
}
_MODES = list(ClockMode)


class _CommandError(Exception):
    """A command ends with a status."""

    def __init__(self, status: Status) -> None:
        super().__init__(status)
        self.status = status


def crc16(data: bytes) -> bytes:
    """Return the CRC of a packet as its two last bytes: polynomial 0x8005, lowest bit of each byte first, from 0."""
    register = 0
    for byte in data:
        for bit in range(8):
            feedback = (byte >> bit & 1) ^ register >> 15
            register = register << 1 & 0xFFFF
            if feedback:
                register ^= 0x8005
    return register.to_bytes(2, "little")


def packet(content: bytes) -> bytes:
    """Return count, content and CRC: a response, or a command without its word address."""
    counted = bytes((len(content) + 3,)) + content
    return counted + crc16(counted)


def configuration(
    serial: bytes,
    address: int = 0x60,
    clock_mode: ClockMode = ClockMode.M0,
    slots: dict[int, tuple[int, int]] | None = None,
) -> bytearray:
    """Return a locked configuration zone, 128 bytes.

    Args:
        serial: the nine bytes of the serial number.
        address: the 7-bit I2C address.
        clock_mode: how fast the part computes.
        slots: SlotConfig and KeyConfig by slot. By default slot 0 is for a board's key, slot 1 holds one that cannot
            be changed, slots 2 to 4 are as in a Trust&GO part, and the others hold no P-256 keys.
    """
    zone = bytearray(128)
    zone[0:4] = serial[:4]
    zone[4:8] = bytes.fromhex("00006003")
    zone[8:13] = serial[4:]
    zone[14] = 0x01
    zone[_I2C_ADDRESS] = address << 1
    zone[_CHIP_MODE] = clock_mode
    regular = {0: (0x2085, 0x0033), 1: (0x0085, 0x0053)} | dict.fromkeys((2, 3, 4), (0x2085, 0x0073))
    for slot in range(_SLOTS):
        slot_config, key_config = (regular | (slots or {})).get(slot, (0x8F80, 0x001C))
        zone[_SLOT_CONFIG + 2 * slot : _SLOT_CONFIG + 2 * slot + 2] = slot_config.to_bytes(2, "little")
        zone[_KEY_CONFIG + 2 * slot : _KEY_CONFIG + 2 * slot + 2] = key_config.to_bytes(2, "little")
    zone[_LOCK_DATA] = zone[_LOCK_CONFIG] = 0x00
    zone[_SLOT_LOCKED : _SLOT_LOCKED + 2] = b"\xff\xff"
    return zone


class Atecc608:
    """One ATECC608 in the emulated world.

    Args:
        address: the 7-bit I2C address.
        monotonic: the machine's seconds; commands take real time.
        path: the file that keeps configuration and keys, mode 0600; None keeps them in memory. Made if it is missing.
        random: gives so many random bytes.

    Attributes:
        zone: the configuration zone, 128 bytes.
        commands: every opcode it has executed, in order.
        absent: whether it is off the bus.
        tamper: changes what the board reads; gets and returns the bytes of one read.
        stuck: whether it stays busy for ever with the next command.
        high_s: whether its signatures have the higher s; None leaves it to chance, as the part does.
    """

    def __init__(
        self,
        address: int,
        monotonic: Callable[[], float],
        path: Path | None = None,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self.address = address
        self.commands: list[Opcode] = []
        self.absent = False
        self.tamper: Callable[[bytes], bytes] | None = None
        self.stuck = False
        self.high_s: bool | None = None
        self._monotonic = monotonic
        self._path = path
        self._source = random
        self._keys: dict[int, int] = {1: self._new_key()}
        self.zone = configuration(bytes.fromhex("0123") + random(6) + b"\xee", address)
        if path is not None and path.exists():
            self._load(path)
        else:
            self.save()
        self.power_on()

    @property
    def serial(self) -> bytes:
        """The serial number, nine bytes."""
        return bytes(self.zone[0:4] + self.zone[8:13])

    def public_key(self, slot: int) -> ec.EllipticCurvePublicKey:
        """Return the public key of a slot; KeyError if it holds none."""
        return ec.derive_private_key(self._keys[slot], ec.SECP256R1()).public_key()

    def configure(self, slot: int, slot_config: int, key_config: int) -> None:
        """Set a slot's configuration, as whoever fitted the part has done before it was locked."""
        self.zone[_SLOT_CONFIG + 2 * slot : _SLOT_CONFIG + 2 * slot + 2] = slot_config.to_bytes(2, "little")
        self.zone[_KEY_CONFIG + 2 * slot : _KEY_CONFIG + 2 * slot + 2] = key_config.to_bytes(2, "little")
        self.save()

    def save(self) -> None:
        """Write configuration and keys to the file."""
        if self._path is not None:
            keys = {str(slot): f"{key:064x}" for slot, key in self._keys.items()}
            write_atomically(self._path, json.dumps({"zone": self.zone.hex(), "keys": keys}, indent=1).encode())

    def power_on(self) -> None:
        """Start as after the supply voltage has come: asleep, and nothing in TempKey."""
        self._awake_at: float | None = None
        self._busy_until = 0.0
        self._digest: bytes | None = None
        self._output = b""
        self._pointer = 0

    def sda_low(self, seconds: float) -> None:
        """Wake up, if the pulse is long enough."""
        self._settle()
        if not self.absent and self._awake_at is None and seconds >= _WAKE_LOW_S:
            self._awake_at = self._monotonic()
            self._busy_until = self._awake_at + _WAKE_DELAY_S
            self._respond(WAKE_RESPONSE)

    def write(self, data: bytes) -> None:
        """Take a word address and what follows it."""
        self._ready()
        if not data:
            return
        if data[0] == Word.RESET:
            self._pointer = 0
        elif data[0] == Word.SLEEP:
            self._sleep()
        elif data[0] == Word.IDLE:
            self._awake_at = None
        elif data[0] == Word.COMMAND:
            self._command(data[1:])

    def read(self, size: int) -> bytes:
        """Return the response from where the last read has ended, 0xFF behind its end."""
        self._ready()
        data = self._output[self._pointer : self._pointer + size]
        self._pointer += len(data)
        data += b"\xff" * (size - len(data))
        return self.tamper(data) if self.tamper else data

    def _load(self, path: Path) -> None:
        try:
            stored = json.loads(path.read_text())
            self.zone = bytearray.fromhex(stored["zone"])
            self._keys = {int(slot): int(key, 16) for slot, key in stored["keys"].items()}
        except (ValueError, KeyError, TypeError, AttributeError):
            raise EmulatorError(f"{path} is no secure element; make the board anew") from None

    def _new_key(self) -> int:
        return int.from_bytes(self._source(32), "big") % (ORDER - 1) + 1

    def _sleep(self) -> None:
        self._awake_at = None
        self._digest = None
        self._output = b""

    def _settle(self) -> None:
        # The watchdog counts from the wake pulse, whatever happens meanwhile.
        if self._awake_at is not None and self._monotonic() - self._awake_at >= _WATCHDOG_S:
            self._sleep()

    def _ready(self) -> None:
        """Raise NakError while the part does not listen."""
        self._settle()
        if self.absent or self._awake_at is None or self._monotonic() < self._busy_until:
            raise NakError

    def _respond(self, output: bytes) -> None:
        self._output = output
        self._pointer = 0

    def _command(self, data: bytes) -> None:
        """Execute a command packet and leave the response in the output buffer, to be read when its time is over."""
        if len(data) < 7 or data[0] != len(data) or crc16(data[:-2]) != data[-2:]:
            self._respond(packet(bytes((Status.COMMUNICATION,))))
            return
        key_id = int.from_bytes(data[3:5], "little")
        now = self._monotonic()
        try:
            opcode = Opcode(data[1])
            seconds = EXECUTION_MS[opcode][self._mode()] / 1000
            assert self._awake_at is not None
            if now + seconds >= self._awake_at + _WATCHDOG_S:
                raise _CommandError(Status.WATCHDOG)
            self.commands.append(opcode)
            self._busy_until = float("inf") if self.stuck else now + seconds
            handler = getattr(self, f"_{opcode.name.lower()}")
            self._respond(packet(handler(data[2], key_id, data[5:-2])))
        except _CommandError as failure:
            self._respond(packet(bytes((failure.status,))))
        except ValueError:
            self._respond(packet(bytes((Status.PARSE,))))

    def _mode(self) -> int:
        divider = self.zone[_CHIP_MODE] & 0xF8
        return _MODES.index(ClockMode(divider)) if divider in _MODES else 0

    def _word(self, start: int, slot: int) -> int:
        if not 0 <= slot < _SLOTS:
            raise _CommandError(Status.PARSE)
        return int.from_bytes(self.zone[start + 2 * slot : start + 2 * slot + 2], "little")

    def _private_slot(self, slot: int, *, data_locked: bool) -> int:
        """Return the SlotConfig of a slot for a P-256 private key that may be used now."""
        slot_config, key_config = self._word(_SLOT_CONFIG, slot), self._word(_KEY_CONFIG, slot)
        if key_config & 0x1D != 0x11:  # Private, and KeyType 4
            raise _CommandError(Status.EXECUTION)
        if self.zone[_LOCK_CONFIG] or (data_locked and self.zone[_LOCK_DATA]):
            raise _CommandError(Status.EXECUTION)
        return slot_config

    def _key(self, slot: int) -> ec.EllipticCurvePrivateKey:
        if slot not in self._keys:
            raise _CommandError(Status.EXECUTION)
        return ec.derive_private_key(self._keys[slot], ec.SECP256R1())

    def _info(self, mode: int, key_id: int, data: bytes) -> bytes:
        if data or mode not in (0, 1):
            raise _CommandError(Status.PARSE)
        if mode == 0:
            return bytes(self.zone[4:8])
        self._private_slot(key_id, data_locked=False)
        return bytes((key_id in self._keys, 0, 0, 0))

    def _read(self, zone: int, address: int, data: bytes) -> bytes:
        # Bit 7: 32 bytes and not 4. Slots with IsSecret, and the others for want of need, cannot be read.
        size = 32 if zone & 0x80 else 4
        start = (address >> 3 & 3) * 32 + (0 if size == 32 else (address & 7) * 4)
        if data or address >> 5:
            raise _CommandError(Status.PARSE)
        if zone & 0x7F:
            raise _CommandError(Status.EXECUTION)
        return bytes(self.zone[start : start + size])

    def _random(self, mode: int, zero: int, data: bytes) -> bytes:
        if data or zero or mode not in (0, 1):
            raise _CommandError(Status.PARSE)
        # Before the configuration is locked it tells a pattern, so that nobody takes it for a source of keys.
        return b"\xff\xff\x00\x00" * 8 if self.zone[_LOCK_CONFIG] else self._source(32)

    def _genkey(self, mode: int, slot: int, data: bytes) -> bytes:
        if data or mode not in (0x00, 0x04):
            raise _CommandError(Status.PARSE)
        slot_config = self._private_slot(slot, data_locked=False)
        if mode == 0x04:
            locked = not int.from_bytes(self.zone[_SLOT_LOCKED : _SLOT_LOCKED + 2], "little") >> slot & 1
            if not slot_config >> 13 & 1 or locked:
                raise _CommandError(Status.EXECUTION)
            self._keys[slot] = self._new_key()
            self.save()
        elif not self._word(_KEY_CONFIG, slot) & 2:
            raise _CommandError(Status.EXECUTION)
        numbers = self._key(slot).public_key().public_numbers()
        return numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")

    def _nonce(self, mode: int, zero: int, data: bytes) -> bytes:
        if mode != 0x03 or zero or len(data) != 32:
            raise _CommandError(Status.PARSE)
        self._digest = data
        return bytes((Status.SUCCESS,))

    def _sign(self, mode: int, slot: int, data: bytes) -> bytes:
        if data or mode != 0x80:
            raise _CommandError(Status.PARSE)
        slot_config = self._private_slot(slot, data_locked=True)
        digest, self._digest = self._digest, None
        if digest is None or not slot_config & 1:
            raise _CommandError(Status.EXECUTION)
        r, s = decode_dss_signature(self._key(slot).sign(digest, ec.ECDSA(Prehashed(hashes.SHA256()))))
        if self.high_s is not None and (s > ORDER // 2) != self.high_s:
            s = ORDER - s
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    def _ecdh(self, mode: int, slot: int, data: bytes) -> bytes:
        if mode != 0x0C or len(data) != 64:
            raise _CommandError(Status.PARSE)
        slot_config = self._private_slot(slot, data_locked=True)
        protection = int.from_bytes(self.zone[_CHIP_OPTIONS : _CHIP_OPTIONS + 2], "little") >> 8 & 3
        if not slot_config >> 2 & 1 or protection:
            raise _CommandError(Status.EXECUTION)
        try:
            numbers = ec.EllipticCurvePublicNumbers(
                int.from_bytes(data[:32], "big"), int.from_bytes(data[32:], "big"), ec.SECP256R1()
            )
            return self._key(slot).exchange(ec.ECDH(), numbers.public_key())
        except ValueError:
            raise _CommandError(Status.ECC_FAULT) from None
