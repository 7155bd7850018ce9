"""Where the software key is kept: made at first boot, in NVS (protocol section 2). Loaded at start only."""

from micropython import const

from trig.keys import KeyPair, SignerError
from trig.p256 import P256Error

BLOB = "key"
RECORD = "chip"  # trig.chip_keys: which secure element holds the board's key
_NOT_FOUND = const(-0x1102)  # ESP_ERR_NVS_NOT_FOUND, as esp32.NVS raises it
_DRAWS = const(8)


class StoredKeyError(SignerError):
    """The key in NVS is no P-256 key, or a new one could not be drawn or stored."""


class NvsKeys:
    """The software signer's key in NVS. ``trig.chip_keys.ChipKeys`` is the same for a secure element.

    Where a record of a secure element's key is found instead, nothing is loaded or made: the board was enrolled with
    the chip, and whoever lost its configuration wants to hear of it.
    """

    def __init__(self, nvs, urandom, radio):
        """Take ``esp32.NVS``, ``os.urandom``, and the ``network.WLAN`` that has to be on while a key is drawn.

        On an ESP32 os.urandom is a true random source only while the radio is on (ESP-IDF, random number generation).
        """
        self._nvs = nvs
        self._urandom = urandom
        self._radio = radio

    def load(self):
        """The key pair in NVS, or None if there is none yet.

        Raises:
            StoredKeyError: what is there is not a key, or a record says that the board's key is in a secure element.
            OSError: the flash cannot be read: a key that cannot be read now must not be replaced.
        """
        if read_blob(self._nvs, RECORD, 64) is not None:
            raise StoredKeyError(
                "software: this board's key is in a secure element, and config.json has no secure_element"
            )
        d = read_blob(self._nvs, BLOB, 32)
        if d is None:
            return None
        if len(d) != 32:
            raise StoredKeyError("software: the key in NVS is not 32 bytes")
        try:
            return KeyPair(d)
        except P256Error as error:
            raise StoredKeyError("software: the key in NVS is no P-256 key: " + str(error))

    def create(self):
        """Make a new key pair, store it in NVS in the place of any other, and return it.

        Raises StoredKeyError if no draw is a key or if NVS does not give back what was stored.
        """
        # It stays on: the board is about to use it, or has a cable.
        self._radio.active(True)
        pair = None
        for _ in range(_DRAWS):
            d = self._urandom(32)
            try:
                pair = KeyPair(d)
                break
            except P256Error:
                # Rejection sampling: one draw in 2^32 is out of range. Eight of them are a broken source.
                pass
        if pair is None:
            raise StoredKeyError("software: the random source gave no P-256 key")
        self._nvs.set_blob(BLOB, d)
        self._nvs.commit()
        stored = self.load()
        if stored is None or stored.kid != pair.kid:
            raise StoredKeyError("software: NVS did not keep the new key")
        return pair

    def confirm(self, key):
        """Nothing: the key itself is what NVS keeps."""


def read_blob(nvs, name, size):
    """A blob of at most ``size`` bytes from NVS, None if there is none; any other fault is raised as it comes."""
    blob = bytearray(size)
    try:
        return bytes(blob[: nvs.get_blob(name, blob)])
    except OSError as error:
        if error.args[0] == _NOT_FOUND:
            return None
        raise
