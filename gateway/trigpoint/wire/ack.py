"""The ack: how a gateway tells a board that its statements are on disk (docs/protocol.md section 6)."""

from __future__ import annotations

import hashlib
import hmac
from typing import NamedTuple

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from trigpoint.wire import cbor
from trigpoint.wire.errors import WireError
from trigpoint.wire.keys import PublicKey

_INFO = b"trig/1/ack"
_PROTECTED = b"\xa1\x01\x04"
_HEAD = b"\xd1\x84\x43" + _PROTECTED + b"\xa0"
_MAC_STRUCTURE = b"\x84\x64MAC0\x43" + _PROTECTED + b"\x40"
"""All of the MAC_structure but the payload (RFC 9052 section 6.3)."""


class Ack(NamedTuple):
    """What an ack says.

    Attributes:
        seq: every statement up to and including this one is on the gateway's disk, or was declared lost.
        time_ms: the gateway's clock, milliseconds since 1970.
    """

    seq: int
    time_ms: int


def derive_key(link_private: ec.EllipticCurvePrivateKey, board: PublicKey) -> bytes:
    """Return the 32-byte key that a board and the gateway's link key share (ECDH, then HKDF-SHA-256, RFC 5869)."""
    secret = link_private.exchange(ec.ECDH(), board.key)
    info = _INFO + board.kid + PublicKey.of(link_private).kid
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=info).derive(secret)


class Sealer:
    """Makes acks for one board.

    Args:
        key: see `derive_key`.
    """

    def __init__(self, key: bytes) -> None:
        self._mac = HMAC(key, hashes.SHA256())

    def seal(self, seq: int, time_ms: int) -> bytes:
        """Encode an ack.

        Raises:
            WireError: `shape`, if seq is not below 2^32 or time_ms not below 2^63.
        """
        if not 0 <= seq < 1 << 32:
            raise WireError("shape", "seq", f"{seq} is not 0 to 2^32 - 1")
        if not 0 <= time_ms < 1 << 63:
            raise WireError("shape", "time", f"{time_ms} is not 0 to 2^63 - 1")
        payload = b"\xa2\x01" + cbor.head(0, seq) + b"\x02" + cbor.head(0, time_ms)
        sized = bytes((0x40 | len(payload),)) + payload  # less than 24 bytes, always
        mac = self._mac.copy()  # a copy of a keyed MAC costs a third of keying one
        mac.update(_MAC_STRUCTURE + sized)
        return b"".join((_HEAD, sized, b"\x48", mac.finalize()[:8]))


def seal(key: bytes, seq: int, time_ms: int) -> bytes:
    """Encode one ack; see `Sealer`."""
    return Sealer(key).seal(seq, time_ms)


def open_ack(key: bytes, data: bytes) -> Ack:
    """Read an ack as a board does, for tests and tools.

    Raises:
        WireError: `size`, `shape`, or `signature` if the MAC is not this key's.
    """
    match cbor.decode(data, max_size=64):
        case cbor.Tag(cbor.TAG_MAC0, [bytes(protected), {**unprotected}, bytes(payload), bytes(mac)]):
            pass
        case _:
            raise WireError("shape", "ack", "not 17([protected, {}, payload, mac])")
    if protected != _PROTECTED or unprotected or len(mac) != 8:
        raise WireError("shape", "ack", "not HMAC 256/64 with an empty unprotected header and a MAC of 8 bytes")
    if not hmac.compare_digest(_mac(key, payload), mac):
        raise WireError("signature", "mac", "not made with this key")
    match cbor.decode(payload):
        case {1: int(seq), 2: int(time_ms), **others} if not others and _is_uint(seq, 32) and _is_uint(time_ms, 63):
            return Ack(seq, time_ms)
    raise WireError("shape", "ack", "payload is not {1: seq, 2: time} with seq below 2^32 and time below 2^63")


def _mac(key: bytes, payload: bytes) -> bytes:
    """Return HMAC 256/64 (RFC 9053 section 3.1) of the MAC_structure."""
    return hmac.digest(key, _MAC_STRUCTURE + cbor.head(2, len(payload)) + payload, hashlib.sha256)[:8]


def _is_uint(value: int, bits: int) -> bool:
    """Tell a number in range from others, and from true and false, which Python takes for numbers."""
    return type(value) is int and 0 <= value < 1 << bits
