"""Keys, statements, trees and receipt files for tests, all from fixed secrets: equal input gives equal bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import strategies as st
from trigpoint.log import checkpoint, tree
from trigpoint.log.merkle import EMPTY_ROOT, leaf_hash
from trigpoint.wire import keys, receipt, statement
from trigpoint.wire.keys import PublicKey
from trigpoint.wire.receipt import Anchor
from trigpoint.wire.statement import Reading
from trigpoint.wire.trust import Trust

# RFC 6979 appendix A.2.5, and RFC 8032 section 7.1 test 1.
BOARD_PRIVATE = ec.derive_private_key(
    0xC9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721, ec.SECP256R1()
)
BOARD = PublicKey.of(BOARD_PRIVATE)
LOG_PRIVATE = Ed25519PrivateKey.from_private_bytes(
    bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
)
LOG_KEY = LOG_PRIVATE.public_key().public_bytes_raw()

TRUST = Trust(
    chain_id=31337,
    device_registry=b"\x01" * 20,
    transparency_log=b"\x02" * 20,
    log_id=checkpoint.log_id(b"\x03" * 20, LOG_KEY),
    log_key=LOG_KEY,
)

READINGS = (
    Reading("temperature", "Cel", 2150, -2, 0),
    Reading("humidity", "%RH", 5512, -2, 0),
    Reading("pressure", "Pa", 1013250, -1, 60),
)


def sign(message: bytes) -> bytes:
    """Sign as the sample board."""
    return keys.sign(BOARD_PRIVATE, message)


def build_statement(**fields: object) -> bytes:
    """Encode a statement of the sample board, with some fields changed."""
    values: dict[str, object] = {
        "kid": BOARD.kid,
        "seq": 7,
        "prev": hashlib.sha256(b"the one before").digest(),
        "oldest": 5,
        "base_time": 1_700_000_000,
        "readings": READINGS,
        "sign": sign,
    }
    return statement.build(**(values | fields))  # type: ignore[arg-type]


class MemoryTiles(dict[tuple[int, int], bytes]):
    """Tiles in memory, which counts how many were read."""

    reads = 0

    def tile(self, level: int, index: int) -> bytes:
        self.reads += 1
        return self[level, index]


@dataclass
class SampleLog:
    """A log in memory."""

    size: int = 0
    root: bytes = EMPTY_ROOT
    tiles: MemoryTiles = field(default_factory=MemoryTiles)

    def append(self, leaves: Sequence[bytes]) -> None:
        appended = tree.append(self.tiles, self.size, leaves)
        self.tiles.update(appended.tiles)
        self.size, self.root = appended.size, appended.root


def build_receipt(raw: bytes, *, before: int = 1, after: int = 1, anchored: bool = True) -> bytes:
    """Encode the receipt file of a statement that has that many strangers around it in the log."""
    log = SampleLog()
    strangers = [hashlib.sha256(b"stranger %d" % number).digest() for number in range(before + after)]
    leaves = [*strangers[:before], leaf_hash(statement.parse(raw).entry), *strangers[before:]]
    log.append(leaves)
    anchor = Anchor(
        chain_id=TRUST.chain_id,
        contract=TRUST.transparency_log,
        size=log.size,
        root=log.root,
        transaction=b"\x04" * 32,
        block=1_000,
    )
    return receipt.build(
        statement_raw=raw,
        board_key=BOARD,
        log_id=TRUST.log_id,
        size=log.size,
        index=before,
        path=tree.inclusion_proof(log.tiles, before, log.size),
        root=log.root,
        anchor=anchor if anchored else None,
        sign=LOG_PRIVATE.sign,
    )


_NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9\-:./_]{0,63}", fullmatch=True) | st.sampled_from(["a" * 64, "t" * 23])
_UNITS = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=16)
_NUMBERS = st.integers(-(2**31 - 1), 2**31 - 1) | st.sampled_from([0, 23, 24, 255, 256, 65535, 65536, -24, -25])
MAX_OFFSET = 2**28 - 1


@st.composite
def readings(draw: st.DrawFn, times: st.SearchStrategy[int]) -> tuple[Reading, ...]:
    """One to thirty readings."""
    one = st.builds(Reading, _NAMES, _UNITS, _NUMBERS, st.integers(-18, 0), times)
    return tuple(draw(st.lists(one, min_size=1, max_size=30)))


@st.composite
def statement_fields(draw: st.DrawFn) -> dict[str, object]:
    """All that a valid statement says but its board and signature, with edges drawn often."""
    seq = draw(st.sampled_from([0, 1, 23, 24, 255, 256, 65535, 65536, 2**32 - 1]) | st.integers(0, 2**32 - 1))
    base_time = draw(st.none() | st.sampled_from([2**28, 2**32 - 1, 2**32, 2**33 - 1]) | st.integers(2**28, 2**33 - 1))
    times = st.integers(0, MAX_OFFSET) if base_time is not None else st.integers(-MAX_OFFSET, 0)
    return {
        "seq": seq,
        "prev": draw(st.binary(min_size=32, max_size=32)) if seq else bytes(32),
        "oldest": draw(st.integers(0, seq) | st.just(seq)),
        "base_time": base_time,
        "readings": draw(readings(times)),
    }


@st.composite
def mutated(draw: st.DrawFn, valid: st.SearchStrategy[bytes]) -> bytes:
    """Bytes near valid ones: some changed, cut out, doubled or inserted."""
    data = bytearray(draw(valid))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        match draw(st.integers(0, 4)):
            case 0 if at < len(data):
                data[at] = draw(st.integers(0, 255))
            case 1 if at < len(data):
                data[at] ^= 1 << draw(st.integers(0, 7))
            case 2:
                del data[at : at + draw(st.integers(1, 8))]
            case 3:
                data[at:at] = data[at : at + draw(st.integers(1, 8))]
            case _:
                data[at:at] = draw(st.binary(min_size=1, max_size=9))
    return bytes(data)
