"""The enrolment permit: a board agrees to be registered for one owner (docs/protocol.md section 8)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from trigpoint.wire.errors import WireError
from trigpoint.wire.keys import PublicKey

_TAG = b"trig/1/permit".ljust(32, b"\x00")
_LENGTHS = {"owner": 20, "x": 32, "y": 32, "metadata_hash": 32, "r": 32, "s": 32}


@dataclass(frozen=True)
class Permit:
    """A permit, in the order and with the meaning of the contract's struct.

    Attributes:
        owner: address that will own the device's token, 20 bytes.
        x: the board's public key, 32 bytes.
        y: 32 bytes.
        metadata_hash: SHA-256 of the owner's document about the device; zeros for none.
        deadline: seconds since 1970, below 2^256; the permit is void after it.
        r: signature, 32 bytes.
        s: signature, 32 bytes.

    Raises:
        WireError: `shape`, if a field has not its length or range.
    """

    owner: bytes
    x: bytes
    y: bytes
    metadata_hash: bytes
    deadline: int
    r: bytes
    s: bytes

    def __post_init__(self) -> None:
        """Check lengths and range."""
        for field, length in _LENGTHS.items():
            if len(getattr(self, field)) != length:
                raise WireError("shape", field, f"{len(getattr(self, field))} bytes, {length} wanted")
        _word(self.deadline, "deadline")


def message(chain_id: int, registry: bytes, permit: Permit) -> bytes:
    """Return the bytes whose SHA-256 the board signs: the ABI encoding of tag and fields, but r and s.

    All types are static, so the words stand one after the other.

    Args:
        chain_id: EIP-155 chain id.
        registry: address of the DeviceRegistry, 20 bytes.
        permit: the other fields; its r and s have no part in it.

    Raises:
        WireError: `shape`, if registry is not 20 bytes or chain_id not a uint256.
    """
    if len(registry) != 20:
        raise WireError("shape", "registry", f"{len(registry)} bytes, 20 wanted")
    return b"".join(
        (
            _TAG,
            _word(chain_id, "chain id"),
            registry.rjust(32, b"\x00"),
            permit.owner.rjust(32, b"\x00"),
            permit.x,
            permit.y,
            permit.metadata_hash,
            _word(permit.deadline, "deadline"),
        )
    )


def digest(chain_id: int, registry: bytes, permit: Permit) -> bytes:
    """Return the 32-byte SHA-256 of `message`, with the same arguments and errors: what the board signs."""
    return hashlib.sha256(message(chain_id, registry, permit)).digest()


def verify(chain_id: int, registry: bytes, permit: Permit) -> bool:
    """Tell whether the permit's own key signed it for this chain and registry, with low s.

    Raises:
        WireError: `shape`, as `message`.
    """
    signed = message(chain_id, registry, permit)
    try:
        key = PublicKey(permit.x, permit.y)
    except WireError:
        return False
    return key.verify(permit.r + permit.s, signed)


def _word(number: int, field: str) -> bytes:
    if not 0 <= number < 1 << 256:
        raise WireError("shape", field, "not a uint256")
    return number.to_bytes(32, "big")
