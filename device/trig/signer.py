"""The one place where the board's key is used: statements, permits, and the key that acks are checked with.

It signs what it has built itself and nothing else; no function here takes a hash.

The ladder: a secure element if config.json names one, else software. Which one it is is a matter of configuration and
never of what happens to answer: a board whose chip is silent does not sign.
"""

import gc
import sys

from micropython import const

from trig import keys, permit, statement
from trig.hkdf import hkdf
from trig.journal import Journal

NVS = "trig"  # the namespace of the key
JOURNAL = "/journal"

_LOADING = const(4096)  # bytes between two collections while modules are compiled

_ACK_INFO = b"trig/1/ack"


def start(settings):
    """Open the signer that the configuration names on this board's hardware, find or make its key, and test it.

    A wake from deep sleep is not tested: that would take more of a battery than all the rest of the wake.

    Args:
        settings: the checked ``secure_element`` of config.json, None for software.

    Returns:
        The key pair and its journal.

    Raises:
        trig.keys.SignerError: names the signer and says what is wrong; the board must not sign.
        OSError: flash or NVS cannot be read; nothing was replaced.
    """
    import esp32
    import machine

    # What is needed only once is compiled here, with the heap often cleared up so as to leave large pieces, and goes.
    threshold = gc.threshold()
    gc.threshold(_LOADING)
    tested = machine.reset_cause() == machine.DEEPSLEEP_RESET
    if not tested:
        import trig.self_test

    store = _store(settings, esp32.NVS(NVS))
    gc.threshold(threshold)
    key, journal = open_identity(store, JOURNAL)
    del store
    if not tested:
        trig.self_test.run(key)
        del sys.modules["trig.self_test"], trig.self_test
    if settings is not None:
        del sys.modules["trig.chip_keys"], trig.chip_keys
    gc.collect()
    return key, journal


def _store(settings, nvs):
    if settings is None:
        import os

        import network

        return keys.NvsKeys(nvs, os.urandom, network.WLAN(network.STA_IF))
    import machine

    from trig.atecc608 import Atecc608
    from trig.chip_keys import ChipKeys

    bus = machine.I2C(settings["i2c"], scl=machine.Pin(settings["scl"]), sda=machine.Pin(settings["sda"]), freq=100_000)
    return ChipKeys(nvs, Atecc608(bus, settings["address"]), settings["slot"])


def open_identity(store, directory):
    """Return (key pair, journal): the board's own, or new ones at first boot.

    A key and its journal belong together: without the journal the next seq is unknown, and a key that might sign a seq
    twice must not sign again (protocol, section 3). So a key without a journal is replaced. At first boot the key is
    stored before the journal appears: a power cut in between leaves a key that has signed nothing, and the next
    boot makes another.

    Args:
        store: trig.keys.NvsKeys or trig.chip_keys.ChipKeys.
        directory: the journal's folder.

    Raises:
        trig.keys.SignerError: the stored key is damaged, or the chip is missing or not this board's.
        OSError: flash or NVS cannot be read; nothing was replaced.
    """
    key = store.load()
    if key is not None:
        journal = Journal(directory, key.kid)
        if journal.recover():
            store.confirm(key)
            return key, journal
    key = store.create()
    journal = Journal(directory, key.kid)
    journal.create()
    return key, journal


class Signer:
    """Builds and signs.

    Attributes:
        x, y, kid: the public key and the board id, 32 bytes each.
    """

    def __init__(self, key, journal, clock, buffer):
        """Take the key pair, the journal, the clock, and a buffer of at least 4,096 bytes to build statements in."""
        self.x = key.x
        self.y = key.y
        self.kid = key.kid
        self._key = key
        self._journal = journal
        self._clock = clock
        self._buffer = buffer

    def statement(self, pack):
        """Sign the pack's readings as the next statement and keep it in the journal; it is then safe to clear the pack.

        Raises:
            OSError, trig.journal.JournalError: flash refused; a second try finds out from flash which seq is next.
        """
        journal = self._journal
        journal.make_room()
        clock = self._clock
        journal.append(
            statement.build(
                self._buffer,
                kid=self.kid,
                seq=journal.next_seq,
                prev=journal.prev,
                oldest=journal.oldest,
                pack=pack,
                base_time=clock.unix(pack.first_time),
                now=clock.seconds(),
                sign=self._key.sign,
            )
        )

    def permit(self, chain_id, registry, owner, metadata_hash, deadline):
        """Agree to be registered for ``owner`` (protocol, section 8); return r || s, 64 bytes.

        Raises:
            trig.permit.PermitError: names the argument that is out of range.
        """
        return self._key.sign(permit.digest(chain_id, registry, owner, self.x, self.y, metadata_hash, deadline))

    def ack_key(self, link_key):
        """Return the 32-byte key shared with the gateway whose link key, x || y, this is (protocol, section 6).

        Raises:
            trig.p256.P256Error: the link key is not a point on the curve.
        """
        x, y = link_key[:32], link_key[32:]
        return hkdf(b"", self._key.secret(x, y), _ACK_INFO + self.kid + keys.thumbprint(x, y), 32)
