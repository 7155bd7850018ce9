"""Issues receipt files (docs/protocol.md section 10) from what is stored."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from enum import StrEnum

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from trigpoint.errors import OperatorError
from trigpoint.log import tree
from trigpoint.log.merkle import ProofError, leaf_hash, root_from_inclusion
from trigpoint.store import log, statements
from trigpoint.store.chain import first_final_anchor, first_mined_anchor, is_final, latest_final_anchor
from trigpoint.wire import receipt
from trigpoint.wire.keys import PublicKey
from trigpoint.wire.receipt import Anchor, ReceiptFile


class Stage(StrEnum):
    """How far the proof of a statement has come. A reorganisation of the chain can set it back.

    - signed: it is in the log, and the log has signed that.
    - anchored: a head that covers it is in a block of the chain, which may yet leave it. No receipt names that anchor.
    - final: that block lies deep enough, and the receipt names the anchor.
    """

    SIGNED = "signed"
    ANCHORED = "anchored"
    FINAL = "final"


@dataclass(frozen=True)
class Issued:
    """A receipt file, how far its statement's proof has come, and the anchor that this goes by, if there is one."""

    data: bytes
    stage: Stage
    anchor: Anchor | None


def get(
    connection: sqlite3.Connection,
    log_key: Ed25519PrivateKey,
    *,
    kid: bytes | None = None,
    seq: int | None = None,
    index: int | None = None,
) -> bytes:
    """Return the receipt file of a stored statement; see `issue`."""
    return issue(connection, log_key, kid=kid, seq=seq, index=index).data


def issue(
    connection: sqlite3.Connection,
    log_key: Ed25519PrivateKey,
    *,
    kid: bytes | None = None,
    seq: int | None = None,
    index: int | None = None,
) -> Issued:
    """Return the receipt file of a stored statement, and how far its proof has come.

    It proves inclusion in the newest head that is final on the chain, if that covers the statement, and names the
    anchor. Otherwise it proves inclusion in the log's newest folded head that has it, under the log's signature alone.

    A board that is no longer active was not so when the newest heads were anchored, and a verifier asks for that time
    (protocol section 11). So what it stated is proved by the first final head that covers it.

    Args:
        connection: the database, for reading; not in a transaction.
        log_key: signs the receipt.
        kid: board id, together with `seq`.
        seq: the statement's number, together with `kid`.
        index: the statement's place in the log, instead of both.

    Raises:
        OperatorError: no such statement is stored, or the gateway has never run with its keys.
    """
    connection.execute("BEGIN")  # one moment for all that follows
    try:
        found = connection.execute(
            "SELECT leaf_index, raw, x, y, active_until IS NULL FROM statements JOIN boards ON number = board"
            " WHERE leaf_index = ?",
            (_place(connection, kid, seq) if index is None else index,),
        ).fetchone()
        if found is None:
            raise OperatorError("no such statement is stored; check the board id and the seq, or the index")
        (log_id,) = connection.execute("SELECT log_id FROM log_state").fetchone()
        if log_id is None:
            raise OperatorError("the log has no id yet; run the gateway once")
        leaf_index, raw, x, y, active = found
        anchor = latest_final_anchor(connection) if active else first_final_anchor(connection, leaf_index)
        if anchor is not None and anchor.size <= leaf_index:
            anchor = None
        mined = None if anchor is not None else first_mined_anchor(connection, leaf_index)
        newest = log.head(connection)
        tiles: tree.TileReader = log.StoredTiles(connection)
        if max(leaf_index + 1, anchor.size if anchor is not None else 0) > newest.size:
            newest, tiles = log.current(connection)  # dearer: it hashes all that is not folded yet
        size, root = (anchor.size, anchor.root) if anchor is not None else newest
        path = tree.inclusion_proof(tiles, leaf_index, size)
    finally:
        connection.execute("COMMIT")
    data = receipt.build(
        statement_raw=raw,
        board_key=PublicKey(x, y),
        log_id=log_id,
        size=size,
        index=leaf_index,
        path=path,
        root=root,
        anchor=anchor,
        sign=log_key.sign,
    )
    if anchor is not None:
        return Issued(data, Stage.FINAL, anchor)
    return Issued(data, Stage.SIGNED if mined is None else Stage.ANCHORED, mined)


def upgrade(connection: sqlite3.Connection, log_key: Ed25519PrivateKey, held: ReceiptFile) -> Issued | None:
    """Issue a receipt anew if that makes it better, if its anchor has left the chain, or if it is damaged.

    Args:
        connection: the database, for reading; not in a transaction.
        log_key: signs the receipt.
        held: the receipt as it was issued before, from this log.

    Returns:
        The new one; None if the one held is as good as can be had now.

    Raises:
        OperatorError: it is of another log, or its statement is not stored here.
    """
    issued = issue(connection, log_key, kid=held.statement.kid, seq=held.statement.seq)
    new = receipt.parse(issued.data)
    if (new.log_id, new.statement.raw) != (held.log_id, held.statement.raw):
        raise OperatorError("it is of another log, or another statement than this gateway's: ask whoever issued it")
    if not is_sound(held, new.board_key, log_key):
        return issued
    if held.anchor is not None and is_final(connection, held.anchor):
        return None
    return None if held.anchor is None and issued.stage is not Stage.FINAL else issued


def is_sound(held: ReceiptFile, board_key: PublicKey, log_key: Ed25519PrivateKey) -> bool:
    """Tell whether all around a receipt's statement is as the log signed it: no bit of it has changed since."""
    try:
        root = root_from_inclusion(leaf_hash(held.statement.entry), held.index, held.size, held.path)
        log_key.public_key().verify(held.signature, held.to_be_signed(root))
    except (ProofError, InvalidSignature):
        return False
    return held.board_key == board_key


def _place(connection: sqlite3.Connection, kid: bytes | None, seq: int | None) -> int | None:
    """Return the leaf index of a board's statement, if it is stored."""
    board = None if kid is None else statements.board(connection, kid)
    return None if board is None or seq is None else statements.find(connection, board.number, seq)
