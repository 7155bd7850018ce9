"""What is done with a secure element once, at start: check it, find the board's key in it, or have it make one.

A record in NVS keeps a board and its chip together: with another chip, or another key in the slot, the board does not
sign. It never falls back on a key in software, and makes a new key only where there has been none or where its journal
is gone (docs/protocol.md, section 3).

Source: ATECC508A complete data sheet DS20005927 section 2.2: configuration zone, SlotConfig and KeyConfig, which the
608 keeps. Loaded at start only.
"""

from micropython import const

from trig.key_store import BLOB, RECORD, read_blob
from trig.keys import SignerError
from trig.secure_key import SecureKey

_READ = const(0x02)
_INFO = const(0x30)
_GENKEY = const(0x40)

_READ_32_CONFIG = const(0x80)
_INFO_REVISION = const(0x00)
_INFO_KEY_VALID = const(0x01)
_GENKEY_PUBLIC = const(0x00)
_GENKEY_CREATE = const(0x04)

# Places in the configuration zone (table 2-4).
_CHIP_MODE = const(19)
_SLOT_CONFIG = const(20)
_LOCK_DATA = const(86)
_LOCK_CONFIG = const(87)
_SLOT_LOCKED = const(88)
_CHIP_OPTIONS = const(90)
_KEY_CONFIG = const(96)
_CLOCKS = const(b"\x00\x28\x68")

_RECORD_BYTES = const(42)  # serial number 9, slot 1, board id 32


class ChipKeys:
    """Loads and makes the key in one slot; the same interface as ``trig.key_store.NvsKeys``."""

    def __init__(self, nvs, chip, slot):
        """Take ``esp32.NVS``, a ``trig.atecc608.Atecc608`` and the slot."""
        self._nvs = nvs
        self._chip = chip
        self._slot = slot
        self._name = "{} slot {}".format(chip.name, slot)
        self._place = b""
        self._renewable = False

    def load(self):
        """The key in the slot, None if it holds none. A journal or the record has to say that it is this board's.

        Raises:
            trig.keys.SignerError: the chip is missing or not as it should be, it is another one than the record says,
                its key is another, or the board has a key in software.
            OSError: NVS cannot be read.
        """
        if read_blob(self._nvs, BLOB, 32) is not None:
            self._fail("this board has a key in software; trig.enroll.forget gives that up for a new one")
        self._check()
        record = self._record()
        if record is not None and record[:10] != self._place:
            self._fail(
                "this board's key is in slot {} of the chip {}, and this one is {}".format(
                    record[9], record[:9].hex(), self._place[:9].hex()
                )
            )
        if self._chip.session((_INFO, _INFO_KEY_VALID, self._slot, b"", 4))[0] != 1:
            if record is not None:
                self._fail("the board's key is gone from the slot")
            return None
        key = self._key()
        if record is not None and record[10:] != key.kid:
            self._fail("the slot holds another key than this board's")
        return key

    def create(self):
        """Have the chip make a new key in the slot, in the place of any other, write the record, and return the key.

        Raises:
            trig.keys.SignerError: the slot takes no new key, or the chip failed.
        """
        if not self._place:
            self._check()
        if not self._renewable:
            self._fail("holds a key that has no journal on this board and cannot be replaced; take another slot")
        # The record goes first: a power cut must not leave one for a key that is no more.
        if self._record() is not None:
            self._nvs.erase_key(RECORD)
            self._nvs.commit()
        # The answer to a first try may be lost, so only what the chip says of its key afterwards counts.
        self._chip.session((_GENKEY, _GENKEY_CREATE, self._slot, b"", 64))
        key = self._key()
        self.confirm(key)
        return key

    def confirm(self, key):
        """Write down that this is the board's key, unless that is known."""
        record = self._place + key.kid
        if self._record() == record:
            return
        self._nvs.set_blob(RECORD, record)
        self._nvs.commit()
        if self._record() != record:
            self._fail("NVS did not keep the record of the key")

    def _key(self):
        point = self._chip.session((_GENKEY, _GENKEY_PUBLIC, self._slot, b"", 64))
        return SecureKey(self._chip, self._slot, point[:32], point[32:])

    def _record(self):
        record = read_blob(self._nvs, RECORD, _RECORD_BYTES)
        if record is not None and len(record) != _RECORD_BYTES:
            self._fail("the record of the key in NVS is damaged")
        return record

    def _check(self):
        # Whether the chip is there, and the slot is fit for a board's key.
        revision = self._chip.session((_INFO, _INFO_REVISION, 0, b"", 4))
        if revision[2] != 0x60:
            self._fail("chip revision {}, want an ATECC608".format(revision.hex()))
        zone = b"".join([self._chip.session((_READ, _READ_32_CONFIG, block, b"", 32)) for block in (0, 8, 16, 24)])
        if zone[:2] != b"\x01\x23":
            self._fail("no serial number of Microchip's")
        if zone[_LOCK_CONFIG] or zone[_LOCK_DATA]:
            self._fail("configuration or data zone is not locked; configure and lock the chip first")
        fault = slot_fault(zone, self._slot)
        if fault:
            self._fail(fault)
        clock = bytes((zone[_CHIP_MODE] & 0xF8,))
        self._chip.clock = _CLOCKS.find(clock) if clock in _CLOCKS else 2
        self._place = zone[:4] + zone[8:13] + bytes((self._slot,))
        unlocked = (zone[_SLOT_LOCKED] | zone[_SLOT_LOCKED + 1] << 8) >> self._slot & 1
        self._renewable = bool(unlocked and zone[_SLOT_CONFIG + 2 * self._slot + 1] & 0x20)

    def _fail(self, text):
        raise SignerError("{}: {}".format(self._name, text))


def slot_fault(zone, slot):
    """What makes a slot unfit for a board's key, or None: its SlotConfig, KeyConfig, and the chip's ECDH protection.

    ``zone`` is the configuration zone, 128 bytes (tables 2-5 to 2-12; ChipOptions are the 608's).
    """
    slot_config = zone[_SLOT_CONFIG + 2 * slot] | zone[_SLOT_CONFIG + 2 * slot + 1] << 8
    key_config = zone[_KEY_CONFIG + 2 * slot] | zone[_KEY_CONFIG + 2 * slot + 1] << 8
    for word, name, mask, want, meaning in (
        (key_config, "KeyConfig", 0x001D, 0x0011, "is for no P-256 private key"),
        (key_config, "KeyConfig", 0x0002, 0x0002, "does not tell its public key"),
        (key_config, "KeyConfig", 0x1080, 0x0000, "wants an authorisation before use"),
        (slot_config, "SlotConfig", 0x0080, 0x0080, "is not secret"),
        (slot_config, "SlotConfig", 0x0020, 0x0000, "limits the number of uses"),
        (slot_config, "SlotConfig", 0x0001, 0x0001, "does not sign external messages"),
        (slot_config, "SlotConfig", 0x000C, 0x0004, "does not do ECDH with its result in the clear"),
        (slot_config, "SlotConfig", 0x4000, 0x0000, "lets a key be written from outside"),
    ):
        if word & mask != want:
            return "{} {:#06x} {}".format(name, word, meaning)
    if zone[_CHIP_OPTIONS + 1] & 0x03:
        return "ChipOptions protect the result of ECDH"
    return None
