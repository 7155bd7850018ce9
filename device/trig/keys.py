"""The board's key: made on the board at first boot, kept in NVS, never shown (protocol section 2)."""

from hashlib import sha256

from micropython import const

from trig import p256

_BLOB = "key"
_NOT_FOUND = const(-0x1102)  # ESP_ERR_NVS_NOT_FOUND, as esp32.NVS raises it
_DRAWS = const(8)

# The deterministic CBOR of {1: 2, -1: 1, -2: x, -3: y} but for x and y (RFC 9679 section 3).
_THUMBPRINT = (b"\xa4\x01\x02\x20\x01\x21\x58\x20", b"\x22\x58\x20")


class StoredKeyError(Exception):
    """The key in NVS is no P-256 key, or a new one could not be drawn or stored."""


def thumbprint(x, y):
    """The COSE Key Thumbprint (RFC 9679, SHA-256) of a P-256 public key: 32 bytes, the board id or kid."""
    digest = sha256(_THUMBPRINT[0])
    digest.update(x)
    digest.update(_THUMBPRINT[1])
    digest.update(y)
    return digest.digest()


class _Private:
    # Holds the private key where no print of a KeyPair reaches: a closure or an attribute of its own would be shown.
    def __init__(self, d):
        self._d = d

    def sign(self, digest):
        return p256.sign(self._d, digest)

    def secret(self, x, y):
        return p256.ecdh(self._d, x, y)


class KeyPair:
    """A P-256 key pair: `x`, `y` and `kid`, 32 bytes each. Printing it, or any of its attributes, shows no private key.

    `sign` (of a digest) and `secret` (ECDH with a public key) are for the signer alone, which calls them with what it
    made itself: nothing on a board signs a hash that came from outside.
    """

    def __init__(self, d):
        self.x, self.y = p256.public(d)
        self.kid = thumbprint(self.x, self.y)
        private = _Private(d)
        self.sign = private.sign
        self.secret = private.secret

    def __repr__(self):
        return "<KeyPair %s>" % self.kid.hex()


def load(nvs):
    """The key pair in NVS, or None if there is none yet. Raises StoredKeyError if what is there is not a key.

    Any other fault of the flash is raised as it comes: a key that cannot be read now must not be replaced.
    """
    d = bytearray(32)
    try:
        size = nvs.get_blob(_BLOB, d)
    except OSError as error:
        if error.args[0] == _NOT_FOUND:
            return None
        raise
    if size != 32:
        raise StoredKeyError("the key in NVS is not 32 bytes")
    try:
        return KeyPair(bytes(d))
    except p256.P256Error as error:
        raise StoredKeyError("the key in NVS is no P-256 key: " + str(error))


def create(nvs, urandom):
    """Make a new key pair, store it in NVS in the place of any other, and return it.

    `urandom(32)` gives 32 random bytes. On an ESP32 os.urandom is a true random source only while the radio is on
    (ESP-IDF, random number generation), so activate Wi-Fi first. Raises StoredKeyError if no draw is a key or if NVS
    does not give back what was stored.
    """
    for _ in range(_DRAWS):
        d = urandom(32)
        try:
            pair = KeyPair(d)
            break
        except p256.P256Error:
            # Rejection sampling: one draw in 2^32 is out of range. Eight of them are a broken source.
            pair = None
    if pair is None:
        raise StoredKeyError("the random source gave no P-256 key")
    nvs.set_blob(_BLOB, d)
    nvs.commit()
    stored = load(nvs)
    if stored is None or stored.kid != pair.kid:
        raise StoredKeyError("NVS did not keep the new key")
    return pair
