"""Boards for tests: keys and signed statements, made fast, with every fault that a test may want."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field, replace

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature
from trigpoint.wire import keys, permit, statement
from trigpoint.wire.keys import PublicKey
from trigpoint.wire.permit import Permit
from trigpoint.wire.statement import NO_PREV, Reading

BASE_TIME = 1_700_000_000


@dataclass
class TestBoard:
    """A board that signs like a real one, and keeps what it signed."""

    __test__ = False

    number: int
    key: ec.EllipticCurvePrivateKey = field(init=False)
    public: PublicKey = field(init=False)
    sent: dict[int, bytes] = field(default_factory=dict)
    next_seq: int = 0
    prev: bytes = NO_PREV

    def __post_init__(self) -> None:
        self.key = ec.derive_private_key(0x1234567 + self.number, ec.SECP256R1())
        self.public = PublicKey.of(self.key)

    @property
    def kid(self) -> bytes:
        return self.public.kid

    @property
    def topic(self) -> str:
        return f"trig/1/{self.kid.hex()}/s"

    def sign(self, message: bytes) -> bytes:
        return keys.sign(self.key, message)

    def make(
        self,
        seq: int,
        prev: bytes,
        oldest: int = 0,
        *,
        value: int = 0,
        readings: int = 1,
        base_time: int | None = BASE_TIME,
    ) -> bytes:
        """Sign a statement with any header, without taking note of it."""
        pack = [
            Reading(f"r{place % 3}", "Cel", value + place, -2, place if base_time is not None else -place)
            for place in range(readings)
        ]
        return statement.build(
            kid=self.kid, seq=seq, prev=prev, oldest=oldest, base_time=base_time, readings=pack, sign=self.sign
        )

    def next(
        self, *, oldest: int = 0, value: int | None = None, readings: int = 1, base_time: int | None = BASE_TIME
    ) -> bytes:
        """Sign the next statement, as the firmware would."""
        raw = self.make(
            self.next_seq,
            self.prev,
            oldest,
            value=self.next_seq if value is None else value,
            readings=readings,
            base_time=base_time,
        )
        self.sent[self.next_seq] = raw
        self.prev = statement.parse(raw).entry
        self.next_seq += 1
        return raw


def sign_permit(board: TestBoard, chain_id: int, registry: bytes, owner: bytes) -> Permit:
    """Return a permit as the board's firmware would sign it, void after 2100."""
    bare = Permit(owner, board.public.x, board.public.y, bytes(32), 4_102_444_800, bytes(32), bytes(32))
    digest = permit.digest(chain_id, registry, bare)
    r, s = decode_dss_signature(board.key.sign(digest, ec.ECDSA(Prehashed(hashes.SHA256()))))
    return replace(bare, r=r.to_bytes(32, "big"), s=min(s, keys.ORDER - s).to_bytes(32, "big"))


def spoil_signature(raw: bytes) -> bytes:
    """Return the statement with another signature of the right form."""
    return raw[:-1] + bytes([raw[-1] ^ 1])


def enrol(connection: sqlite3.Connection, *boards: TestBoard) -> None:
    """Put boards into the registry's mirror as active."""
    connection.executemany(
        "INSERT INTO boards (kid, x, y, owner, active_from) VALUES (?, ?, ?, ?, 1)",
        [(board.kid, board.public.x, board.public.y, bytes(20)) for board in boards],
    )
