"""The signer's self-test at start: nothing is signed in earnest by a key that has not passed it."""

from hashlib import sha256

from micropython import const

from trig import p256, p256_points
from trig.keys import KeyPair, SignerError

# A statement's signed text begins with the byte 0x84 and a permit's with "trig/1/permit" and a zero byte, so this is
# neither (docs/protocol.md, section 8).
_TEXT = b"trig/1/self-test"

# RFC 6979 appendix A.2.5: the private key, and its signature of "sample" with SHA-256, whose s is the higher one.
_KNOWN_KEY = const("c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721")
_KNOWN_MESSAGE = const(b"sample")
_KNOWN_R = const("efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716")
_KNOWN_S = const("f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8")

_GENERATOR_X = const("6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296")
_GENERATOR_Y = const("4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5")


def run(key):
    """Find out that a key pair signs and agrees on secrets as its public key says.

    Software signs a known answer first. Then the key signs a text that can be no statement and no permit, and the
    signature is verified and dropped; and ECDH with the curve's generator has to give the public key back.

    Args:
        key: trig.keys.KeyPair or trig.secure_key.SecureKey.

    Raises:
        trig.keys.SignerError: names the signer and the test that failed.
    """
    if key.name == KeyPair.name:
        signature = p256.sign(bytes.fromhex(_KNOWN_KEY), sha256(_KNOWN_MESSAGE).digest())
        if signature != p256_points.low_s(bytes.fromhex(_KNOWN_R + _KNOWN_S)):
            raise SignerError(key.name + ": self-test: the known answer of RFC 6979 does not come out")
    digest = sha256(_TEXT + key.kid).digest()
    if not p256_points.verify(key.x, key.y, digest, key.sign(digest)):
        raise SignerError(key.name + ": self-test: its signature does not verify")
    if key.secret(bytes.fromhex(_GENERATOR_X), bytes.fromhex(_GENERATOR_Y)) != key.x:
        raise SignerError(key.name + ": self-test: ECDH gives a wrong secret")
