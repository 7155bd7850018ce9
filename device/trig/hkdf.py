"""HMAC-SHA-256 (RFC 2104) and HKDF-SHA-256 (RFC 5869). Stock MicroPython has SHA-256 but neither of these."""

from hashlib import sha256

from micropython import const

_BLOCK = const(64)
_SIZE = const(32)
_INNER = b"\x36" * 64
_OUTER = b"\x5c" * 64


def _xor(block, pad):
    # One operation on two large numbers is far faster here than 64 on bytes.
    return (int.from_bytes(block, "big") ^ int.from_bytes(pad, "big")).to_bytes(_BLOCK, "big")


def hmac_sha256(key, *parts):
    """HMAC-SHA-256 of the parts one after the other: 32 bytes. The parts are never joined into a copy."""
    if len(key) > _BLOCK:
        key = sha256(key).digest()
    key = bytes(key) + bytes(_BLOCK - len(key))
    inner = sha256(_xor(key, _INNER))
    for part in parts:
        inner.update(part)
    outer = sha256(_xor(key, _OUTER))
    outer.update(inner.digest())
    return outer.digest()


def hkdf(salt, secret, info, length):
    """HKDF-SHA-256: `length` bytes of key, 1 to 8160, from a secret. An empty salt stands for 32 zero bytes.

    Raises ValueError if the length is outside that range.
    """
    if not 0 < length <= 255 * _SIZE:
        raise ValueError("hkdf length")
    # RFC 5869 takes HashLen zero bytes for a missing salt; HMAC pads its key with zeros, so an empty key is the same.
    extracted = hmac_sha256(salt, secret)
    key = block = b""
    counter = 0
    while len(key) < length:
        counter += 1
        block = hmac_sha256(extracted, block, info, bytes((counter,)))
        key += block
    return key[:length]


def equal(a, b):
    """Whether two byte strings are equal, in a time that does not tell where they differ. Their lengths are public."""
    if len(a) != len(b):
        return False
    difference = 0
    for i in range(len(a)):
        difference |= a[i] ^ b[i]
    return difference == 0
