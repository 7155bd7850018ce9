"""A receipt file and its trust file, made from nothing, as a gateway would have made them."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from trigpoint.log.merkle import leaf_hash, node_hash
from trigpoint.wire import receipt, statement
from trigpoint.wire.keys import PublicKey, sign
from trigpoint.wire.receipt import Anchor
from trigpoint.wire.statement import Reading
from trigpoint.wire.trust import Trust

BOARD = ec.derive_private_key(0x7E57, ec.SECP256R1())
LOG = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
TRUST = Trust(
    chain_id=31337,
    device_registry=bytes(range(1, 21)),
    transparency_log=bytes(range(2, 22)),
    log_id=sha256(b"log").digest(),
    log_key=LOG.public_key().public_bytes_raw(),
)
READINGS = (
    Reading("temperature", "Cel", -150, -2, 0),
    Reading("humidity", "%RH", 5937, -2, 0),
    Reading("pressure", "Pa", 1012345, -1, 0),
    Reading("temperature", "Cel", -90, -2, 3600),
)


@dataclass(frozen=True)
class Made:
    """The file's bytes, and what is in it."""

    data: bytes
    trust: Trust
    kid: bytes


def make(*, anchored: bool = True, base_time: int | None = 1_360_249_200) -> Made:
    """A statement at index 1 of a log of 3."""
    key = PublicKey.of(BOARD)
    readings = READINGS if base_time is not None else tuple(r._replace(t=r.t - 7200) for r in READINGS)
    raw = statement.build(
        kid=key.kid,
        seq=0,
        prev=bytes(32),
        oldest=0,
        base_time=base_time,
        readings=readings,
        sign=lambda message: sign(BOARD, message),
    )
    left, right = leaf_hash(sha256(b"before").digest()), leaf_hash(sha256(b"after").digest())
    root = node_hash(node_hash(left, leaf_hash(sha256(raw).digest())), right)
    anchor = Anchor(31337, TRUST.transparency_log, 3, root, sha256(b"transaction").digest(), 17) if anchored else None
    data = receipt.build(
        statement_raw=raw,
        board_key=key,
        log_id=TRUST.log_id,
        size=3,
        index=1,
        path=[left, right],
        root=root,
        anchor=anchor,
        sign=LOG.sign,
    )
    return Made(data, TRUST, key.kid)
