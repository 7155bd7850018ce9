"""The board's key in software, never shown (protocol section 2). Where it is kept is in key_store.py."""

from hashlib import sha256

from micropython import const

from trig import p256

# The deterministic CBOR of {1: 2, -1: 1, -2: x, -3: y} but for x and y (RFC 9679 section 3).
_THUMBPRINT = const((b"\xa4\x01\x02\x20\x01\x21\x58\x20", b"\x22\x58\x20"))


class SignerError(Exception):
    """The board's key cannot be used; the message names the signer and says why."""


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
        from trig.p256_points import ecdh

        return ecdh(self._d, x, y)


class KeyPair:
    """A P-256 key pair: `x`, `y` and `kid`, 32 bytes each. Printing it, or any of its attributes, shows no private key.

    `name` says which signer it is.

    `sign` (of a digest) and `secret` (ECDH with a public key) are for the signer alone, which calls them with what it
    made itself: nothing on a board signs a hash that came from outside.
    """

    name = "software"

    def __init__(self, d):
        self.x, self.y = p256.public(d)
        self.kid = thumbprint(self.x, self.y)
        private = _Private(d)
        self.sign = private.sign
        self.secret = private.secret

    def __repr__(self):
        return "<KeyPair %s>" % self.kid.hex()
