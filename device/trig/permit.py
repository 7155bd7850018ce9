"""The enrolment permit: what a board signs to let one owner register it (protocol section 8)."""

from hashlib import sha256

from micropython import const

_TAG = const(b"trig/1/permit")


class PermitError(ValueError):
    """A field of a permit with the wrong length or out of range. Names the field."""


def _exactly(data, size, name):
    if len(data) != size:
        raise PermitError("%s is not %d bytes" % (name, size))
    return bytes(32 - size) + bytes(data)


def _uint256(number, name):
    if number < 0 or number >> 256:
        raise PermitError(name + " does not fit 256 bits")
    return number.to_bytes(32, "big")


def digest(chain_id, registry, owner, x, y, metadata_hash, deadline):
    """SHA-256 of abi.encode(tag, chainId, registry, owner, x, y, metadataHash, deadline): what the board signs.

    chain_id and deadline (seconds since 1970) are integers, registry and owner 20 bytes, the others 32 bytes each.
    Raises PermitError.
    """
    words = (
        _TAG + bytes(32 - len(_TAG)),
        _uint256(chain_id, "chain id"),
        _exactly(registry, 20, "registry"),
        _exactly(owner, 20, "owner"),
        _exactly(x, 32, "x"),
        _exactly(y, 32, "y"),
        _exactly(metadata_hash, 32, "metadata hash"),
        _uint256(deadline, "deadline"),
    )
    return sha256(b"".join(words)).digest()
