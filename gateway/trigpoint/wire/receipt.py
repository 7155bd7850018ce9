"""The receipt file: a statement with the proof that it is in a log (docs/protocol.md section 10, RFC 9942)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from trigpoint.wire import cbor, statement
from trigpoint.wire.errors import WireError
from trigpoint.wire.keys import PublicKey
from trigpoint.wire.statement import Statement

MAX_SIZE = 16_384
MAX_PATH = 48
"""Most nodes of an inclusion path, and bits of a log's size."""

LABEL_RECEIPTS = 394
LABEL_VDS = 395
LABEL_VDP = 396
LABEL_BOARD_KEY = -65540
LABEL_ANCHOR = -65541

_EDDSA = -8
_RFC9162_SHA256 = 1
_INCLUSION = -1


@dataclass(frozen=True)
class Anchor:
    """A head of the log that is on a chain, as the log signed it.

    Attributes:
        chain_id: EIP-155 chain id, 1 to 2^64 - 1.
        contract: address of the TransparencyLog, 20 bytes.
        size: leaves under the head, 1 to 2^48 - 1.
        root: 32 bytes.
        transaction: hash of the transaction that anchored it, 32 bytes.
        block: number of its block.
    """

    chain_id: int
    contract: bytes
    size: int
    root: bytes
    transaction: bytes
    block: int


@dataclass(frozen=True)
class ReceiptFile:
    """A receipt file of the right shape. None of its signatures has been checked.

    Attributes:
        statement: what the board signed, with its unprotected header emptied.
        board_key: the key that the file claims for the board.
        log_id: the log that the receipt claims, 32 bytes.
        anchor: None if the log has only signed.
        size: leaves in the proof's tree, below 2^48.
        index: the statement's place in the log, below 2^48.
        path: inclusion path, leaf side first.
        signature: the log's Ed25519 signature, 64 bytes.
        protected: the receipt's protected header, as signed.
    """

    statement: Statement
    board_key: PublicKey
    log_id: bytes
    anchor: Anchor | None
    size: int
    index: int
    path: tuple[bytes, ...]
    signature: bytes
    protected: bytes

    def to_be_signed(self, root: bytes) -> bytes:
        """Return what the log key signs for this receipt over a root of 32 bytes (RFC 9052 section 4.4)."""
        return statement.sig_structure(self.protected, root)


def build(
    *,
    statement_raw: bytes,
    board_key: PublicKey,
    log_id: bytes,
    size: int,
    index: int,
    path: Sequence[bytes],
    root: bytes,
    anchor: Anchor | None,
    sign: Callable[[bytes], bytes],
) -> bytes:
    """Encode a receipt file.

    Args:
        statement_raw: the statement as the board sent it.
        board_key: the board's public key.
        log_id: 32 bytes.
        size: leaves in the tree of the proof; the anchor's, if there is one.
        index: the statement's place.
        path: inclusion path, leaf side first.
        root: root of that tree: what the log signs.
        anchor: None until there is one.
        sign: makes the log key's Ed25519 signature, 64 bytes.

    Raises:
        WireError: if the statement is not one, or what would come out is not a receipt file that `parse` takes.
    """
    signed = statement.parse(statement_raw)
    header: dict[int, object] = {1: _EDDSA, 4: log_id, LABEL_VDS: _RFC9162_SHA256}
    if anchor is not None:
        header[LABEL_ANCHOR] = {
            1: anchor.chain_id,
            2: anchor.contract,
            3: anchor.size,
            4: anchor.root,
            5: anchor.transaction,
            6: anchor.block,
        }
    protected = cbor.encode(header)
    proof = cbor.encode([size, index, list(path)])
    signature = sign(statement.sig_structure(protected, root))
    receipt = cbor.encode(cbor.Tag(cbor.TAG_SIGN1, [protected, {LABEL_VDP: {_INCLUSION: [proof]}}, None, signature]))
    unprotected = {LABEL_RECEIPTS: [receipt], LABEL_BOARD_KEY: board_key.to_cose()}
    data = cbor.encode(cbor.Tag(cbor.TAG_SIGN1, [signed.protected, unprotected, signed.payload, signed.signature]))
    parse(data)
    return data


def parse(data: bytes) -> ReceiptFile:
    """Read a receipt file; nothing in it is verified but its form.

    Raises:
        WireError: `size` unless there are 1 to 16,384 bytes (and 4,096 in the statement); `shape`, with the field at
            fault, for every byte that sections 1, 3, 4 and 10 of the protocol do not allow.
    """
    protected, unprotected, payload, signature = _sign1(data, MAX_SIZE, "receipt file")
    if set(unprotected) != {LABEL_RECEIPTS, LABEL_BOARD_KEY}:
        raise WireError("shape", "unprotected header", f"labels are not {LABEL_RECEIPTS} and {LABEL_BOARD_KEY}")
    receipts = unprotected[LABEL_RECEIPTS]
    if not isinstance(receipts, list) or len(receipts) != 1 or not isinstance(receipts[0], bytes):
        raise WireError("shape", "receipts", "not an array of one byte string")
    signed = statement.parse(cbor.encode(cbor.Tag(cbor.TAG_SIGN1, [protected, {}, payload, signature])))
    board_key = PublicKey.from_cose(unprotected[LABEL_BOARD_KEY])

    header_bytes, proofs, detached, log_signature = _sign1(receipts[0], MAX_SIZE, "receipt")
    if detached is not None:
        raise WireError("shape", "receipt payload", "not nil: the root is detached")
    if not isinstance(log_signature, bytes) or len(log_signature) != 64:
        raise WireError("shape", "receipt signature", "not a byte string of 64 bytes")
    log_id, anchor = _header(header_bytes)
    size, index, path = _proof(proofs)
    return ReceiptFile(signed, board_key, log_id, anchor, size, index, path, log_signature, header_bytes)


def _sign1(data: bytes, max_size: int, field: str) -> tuple[bytes, dict[object, object], object, object]:
    """Return the four parts of a COSE_Sign1, of which only the headers have been looked at."""
    match cbor.decode(data, max_size=max_size):
        case cbor.Tag(cbor.TAG_SIGN1, [bytes(protected), {**unprotected}, payload, signature]):
            return protected, unprotected, payload, signature
    raise WireError("shape", field, "not a COSE_Sign1 18([protected, unprotected, payload, signature])")


def _header(protected: bytes) -> tuple[bytes, Anchor | None]:
    """Return log id and anchor of the receipt's protected header."""
    header = cbor.decode(protected)
    if not isinstance(header, dict) or set(header) | {LABEL_ANCHOR} != {1, 4, LABEL_VDS, LABEL_ANCHOR}:
        raise WireError("shape", "receipt header", f"labels are not 1, 4, {LABEL_VDS} and maybe {LABEL_ANCHOR}")
    if header[1] != _EDDSA:
        raise WireError("shape", "receipt alg", f"not {_EDDSA} (EdDSA)")
    if _uint(header[LABEL_VDS], 8, "receipt vds") != _RFC9162_SHA256:
        raise WireError("shape", "receipt vds", f"not {_RFC9162_SHA256} (RFC9162_SHA256)")
    log_id = _bytes(header[4], 32, "log id")
    return log_id, _anchor(header[LABEL_ANCHOR]) if LABEL_ANCHOR in header else None


def _anchor(item: object) -> Anchor:
    if not isinstance(item, dict) or set(item) != {1, 2, 3, 4, 5, 6}:
        raise WireError("shape", "anchor", "not a map with labels 1 to 6")
    anchor = Anchor(
        chain_id=_uint(item[1], 64, "anchor chain id"),
        contract=_bytes(item[2], 20, "anchor contract"),
        size=_uint(item[3], MAX_PATH, "anchor size"),
        root=_bytes(item[4], 32, "anchor root"),
        transaction=_bytes(item[5], 32, "anchor transaction"),
        block=_uint(item[6], 64, "anchor block"),
    )
    if anchor.chain_id == 0:
        raise WireError("shape", "anchor chain id", "0 is no chain")
    if anchor.size == 0:
        raise WireError("shape", "anchor size", "an empty log has no anchor")
    return anchor


def _proof(unprotected: dict[object, object]) -> tuple[int, int, tuple[bytes, ...]]:
    """Return size, index and path of the receipt's one inclusion proof."""
    match unprotected:
        case {396: {-1: [bytes(encoded)], **other_proofs}, **others} if not others and not other_proofs:
            pass
        case _:
            raise WireError("shape", "proofs", "not {396: {-1: [one byte string]}}")
    match cbor.decode(encoded):
        case [size, index, list(path)]:
            pass
        case _:
            raise WireError("shape", "inclusion proof", "not [size, index, path]")
    if len(path) > MAX_PATH:
        raise WireError("shape", "inclusion path", f"{len(path)} nodes, at most {MAX_PATH} allowed")
    nodes = tuple(_bytes(node, 32, f"inclusion path[{place}]") for place, node in enumerate(path))
    return _uint(size, MAX_PATH, "proof size"), _uint(index, MAX_PATH, "proof index"), nodes


def _uint(item: object, bits: int, field: str) -> int:
    # bool is a kind of int in Python, and true is not 1 on the wire.
    if not isinstance(item, int) or isinstance(item, bool) or not 0 <= item < 1 << bits:
        raise WireError("shape", field, f"not an integer from 0 to 2^{bits} - 1")
    return item


def _bytes(item: object, length: int, field: str) -> bytes:
    if not isinstance(item, bytes) or len(item) != length:
        raise WireError("shape", field, f"not a byte string of {length} bytes")
    return item
