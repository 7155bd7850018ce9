"""COSE (RFC 9052): the bytes around a COSE_Sign1 signature and a COSE_Mac0 tag, hashed where they lie."""

from hashlib import sha256

from micropython import const

from trig.cbor import CborError, Reader
from trig.hkdf import equal, hmac_sha256

SIGN1_TAG = const(18)
_MAC0_TAG = const(17)

# The heads of the structures that are hashed: an array of four whose first item is the context string.
_SIGNATURE1 = const(b"\x84\x6aSignature1")
_MAC0 = const(b"\x84\x64MAC0")
_EMPTY_BYTES = const(b"\x40")
_HMAC_256_64_HEADER = const(b"\xa1\x01\x04")  # {1: 4}
_MAC_SIZE = const(8)


class CoseError(ValueError):
    """A COSE message that is malformed, of another kind than wanted, or not authentic."""


def sign1_digest(protected, payload):
    """SHA-256 of the Sig_structure (RFC 9052 section 4.4) with no external data: what ES256 signs.

    Both arguments are whole encoded byte strings, heads included, as they stand in the message: they are hashed there.
    """
    digest = sha256(_SIGNATURE1)
    digest.update(protected)
    digest.update(_EMPTY_BYTES)
    digest.update(payload)
    return digest.digest()


def mac0_open(key, data, max_size=256):
    """The payload of a COSE_Mac0 made with `key` and HMAC 256/64, as a memoryview into `data`.

    Raises CoseError that says what is wrong. MACs are compared in constant time.
    """
    try:
        reader = Reader(data, max_size)
        if reader.tag() != _MAC0_TAG or reader.array() != 4:
            raise CoseError("not a COSE_Mac0")
        if reader.byte_string() != _HMAC_256_64_HEADER:
            raise CoseError("protected header is not HMAC 256/64 alone")
        if reader.map() != 0:
            raise CoseError("unprotected header is not empty")
        start = reader.at
        payload = reader.byte_string()
        encoded = memoryview(data)[start : reader.at]
        mac = reader.byte_string()
        reader.end()
    except CborError as error:
        raise CoseError(str(error))
    expected = hmac_sha256(key, _MAC0, b"\x43", _HMAC_256_64_HEADER, _EMPTY_BYTES, encoded)[:_MAC_SIZE]
    if not equal(mac, expected):
        raise CoseError("MAC is wrong")
    return payload
