"""A board's or gateway's P-256 public key, its id, and the ES256 signatures it checks."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from trigpoint.wire.errors import WireError

ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Order n of the P-256 group (SEC 2 section 2.4.2)."""

_HALF_ORDER = (ORDER // 2).to_bytes(32, "big")
_CURVE = ec.SECP256R1()
_ECDSA = ec.ECDSA(hashes.SHA256())


@dataclass(frozen=True)
class PublicKey:
    """A point on P-256. Keep it and use it again: to make one costs as much as a tenth of a verification.

    Attributes:
        x: 32 bytes, big-endian.
        y: 32 bytes, big-endian.

    Raises:
        WireError: `shape`, if a coordinate is not 32 bytes or the point is not on the curve.
    """

    x: bytes
    y: bytes
    key: ec.EllipticCurvePublicKey = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the point."""
        if len(self.x) != 32 or len(self.y) != 32:
            raise WireError("shape", "public key", "x and y must be 32 bytes each")
        try:
            key = ec.EllipticCurvePublicKey.from_encoded_point(_CURVE, b"\x04" + self.x + self.y)
        except ValueError:
            raise WireError("shape", "public key", "the point is not on P-256") from None
        object.__setattr__(self, "key", key)

    @classmethod
    def of(cls, private: ec.EllipticCurvePrivateKey) -> PublicKey:
        """Return the public half of a P-256 private key."""
        numbers = private.public_key().public_numbers()
        return cls(numbers.x.to_bytes(32, "big"), numbers.y.to_bytes(32, "big"))

    @classmethod
    def from_cose(cls, item: object) -> PublicKey:
        """Read a decoded COSE_Key: exactly `{1: 2, -1: 1, -2: x, -3: y}` (RFC 9053 section 7.1.1).

        Raises:
            WireError: `shape`.
        """
        match item:
            # true is 1 to Python, but not on the wire.
            case {1: 2, -1: 1 as curve, -2: bytes(x), -3: bytes(y), **others} if not others and curve is not True:
                return cls(x, y)
        raise WireError("shape", "public key", "not a COSE_Key {1: 2, -1: 1, -2: x, -3: y}")

    def to_cose(self) -> dict[int, object]:
        """Return the COSE_Key as an item for `cbor.encode`."""
        return {1: 2, -1: 1, -2: self.x, -3: self.y}

    @cached_property
    def kid(self) -> bytes:
        """The board id: the COSE Key Thumbprint with SHA-256, 32 bytes (RFC 9679 section 3)."""
        return hashlib.sha256(b"\xa4\x01\x02\x20\x01\x21\x58\x20" + self.x + b"\x22\x58\x20" + self.y).digest()

    def verify(self, signature: bytes, message: bytes) -> bool:
        """Tell whether an ES256 signature (RFC 9053 section 2.1) is this key's over the message.

        Args:
            signature: r || s, 64 bytes. One with s above half the order is false, however well it verifies:
                otherwise anyone could make a second spelling of a signed message.
            message: the signed bytes, before hashing.
        """
        if len(signature) != 64 or signature[32:] > _HALF_ORDER:
            return False
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
        try:
            self.key.verify(encode_dss_signature(r, s), message, _ECDSA)
        except InvalidSignature:
            return False
        return True


def sign(private: ec.EllipticCurvePrivateKey, message: bytes) -> bytes:
    """Sign with ES256 as a board does: r || s, 64 bytes, the lower of s and n - s.

    The nonce is deterministic (RFC 6979), so equal input gives equal bytes.
    """
    r, s = decode_dss_signature(private.sign(message, ec.ECDSA(hashes.SHA256(), deterministic_signing=True)))
    return r.to_bytes(32, "big") + min(s, ORDER - s).to_bytes(32, "big")
