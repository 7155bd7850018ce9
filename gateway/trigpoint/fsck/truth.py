"""The statements themselves, and what boards signed besides: read once, from the first to the last."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field

from trigpoint.fsck.findings import RESTORE, BrokenError
from trigpoint.wire.errors import WireError
from trigpoint.wire.keys import PublicKey
from trigpoint.wire.statement import NO_PREV, Statement, parse

_LATEST_MS = 1 << 53
"""A clock may be wrong by decades, but not by this."""


@dataclass
class Board:
    """A board as the rows so far leave it.

    Attributes:
        number: in the database.
        kid: board id.
        key: its public key.
        next_seq: the seq that must come next.
        last_entry: entry of the one before; zeros at 0; None if that one was declared lost.
        losses: first seq -> last seq of what it declared lost, as far as no statement has come after it.
    """

    number: int
    kid: bytes
    key: PublicKey
    next_seq: int = 0
    last_entry: bytes | None = NO_PREV
    losses: dict[int, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What to call it in a message."""
        return f"board {self.kid.hex()[:8]}"


@dataclass(frozen=True)
class Row:
    """A row of `statements` that holds what it must."""

    leaf_index: int
    board: Board
    arrival_ms: int
    statement: Statement


def boards(connection: sqlite3.Connection) -> dict[int, Board]:
    """Read the boards, by number. Raises BrokenError at the first whose key and id do not belong together."""
    found = {}
    rows = connection.execute("SELECT number, kid, x, y, owner, active_from, active_until, flagged FROM boards")
    for number, kid, x, y, owner, active_from, active_until, flagged in rows:
        where = f"boards, number {number} ({kid.hex()[:8]})"
        try:
            key = PublicKey(x, y)
        except ValueError as error:
            raise BrokenError(where, f"its key is none: {error}", RESTORE) from error
        if key.kid != kid:
            raise BrokenError(where, "its id is not the thumbprint of its key", RESTORE)
        if len(owner) != 20 or active_from < 0 or (active_until is not None and active_until < active_from):
            raise BrokenError(where, "its owner or the times of its registration cannot be", RESTORE)
        if flagged not in (0, 1):
            raise BrokenError(where, f"flagged is {flagged}", RESTORE)
        found[number] = Board(number, kid, key)
    return found


def losses(connection: sqlite3.Connection, known: dict[int, Board]) -> int:
    """Read what boards declared lost, check each word of it, and give it to its board. Returns how many there are."""
    by_kid = {board.kid: board for board in known.values()}
    count = 0
    for kid, first, last, raw in connection.execute(
        "SELECT kid, from_seq, to_seq, raw FROM lost ORDER BY kid, from_seq"
    ):
        where = f"lost, board {kid.hex()[:8]} from seq {first}"
        board, statement = _signed(where, by_kid, kid, raw)
        if statement.oldest != last + 1 or not 0 <= first <= last:
            raise BrokenError(where, f"its statement declares lost all below {statement.oldest}, not {last}", RESTORE)
        board.losses[first] = last
        count += 1
    return count


def evidence(connection: sqlite3.Connection, known: dict[int, Board]) -> int:
    """Check the evidence of clones and forks. Returns how many there are."""
    by_kid = {board.kid: board for board in known.values()}
    count = 0
    accused = set()
    for kid, entry, seq, raw, reason in connection.execute("SELECT kid, entry, seq, raw, reason FROM evidence"):
        where = f"evidence, board {kid.hex()[:8]} seq {seq}"
        board, statement = _signed(where, by_kid, kid, raw)
        if statement.entry != entry or statement.seq != seq:
            raise BrokenError(where, "the row does not describe the statement in it", RESTORE)
        if _contradicts(connection, board, statement) is False:
            raise BrokenError(where, f"it contradicts nothing that is stored, and so is no {reason}", RESTORE)
        accused.add(kid)
        count += 1
    flagged = {kid for (kid,) in connection.execute("SELECT kid FROM boards WHERE flagged = 1")}
    for kid in flagged ^ accused:
        what = (
            "is flagged, and nothing speaks against it"
            if kid in flagged
            else "has contradicted itself, and is not flagged"
        )
        raise BrokenError(f"boards, {kid.hex()[:8]}", what, RESTORE)
    return count


def statements(connection: sqlite3.Connection, known: dict[int, Board]) -> Iterator[Row]:
    """Read all statements, oldest first, and check each against its row and the ones before it.

    Raises:
        BrokenError: at the first that is not what it must be.
    """
    rows = connection.execute("SELECT leaf_index, board, seq, arrival_ms, raw FROM statements ORDER BY leaf_index")
    for expected, (leaf_index, number, seq, arrival_ms, raw) in enumerate(rows):
        where = f"statements, leaf_index {leaf_index}"
        if leaf_index != expected:
            raise BrokenError(f"statements, leaf_index {expected}", f"it is missing: the next is {leaf_index}", RESTORE)
        try:
            statement = parse(raw)
        except WireError as error:
            raise BrokenError(where, f"its bytes are no statement: {error}", RESTORE) from error
        board = known.get(number)
        if board is None:
            raise BrokenError(where, f"there is no board number {number}", RESTORE)
        where = f"{where} ({board.name} seq {seq})"
        if statement.kid != board.kid or statement.seq != seq:
            what = f"its bytes are seq {statement.seq} of board {statement.kid.hex()[:8]}"
            raise BrokenError(where, what, RESTORE)
        if not 0 <= arrival_ms < _LATEST_MS:
            raise BrokenError(where, f"it cannot have arrived at {arrival_ms} ms", RESTORE)
        _follow(where, board, statement)
        yield Row(leaf_index, board, arrival_ms, statement)


def finish(known: dict[int, Board]) -> None:
    """Check that after the last statement no declared loss is left over. Call it when all statements are read."""
    for board in known.values():
        _skip(board)
        for first in board.losses:
            where = f"lost, {board.name} from seq {first}"
            raise BrokenError(where, "it was declared where nothing was missing", RESTORE)


def _follow(where: str, board: Board, statement: Statement) -> None:
    """Check that a statement is the board's next, and note that it came."""
    if statement.seq != board.next_seq:
        if statement.seq < board.next_seq:
            raise BrokenError(where, f"seq {board.next_seq} must come here: it is a second one", RESTORE)
        missing = board.next_seq
        _skip(board, statement.seq)
        if board.next_seq != statement.seq:
            what = (
                f"seq {board.next_seq if board.next_seq < statement.seq else missing} is missing and not declared lost"
            )
            raise BrokenError(where, what, RESTORE)
    if board.last_entry is not None and statement.prev != board.last_entry:
        raise BrokenError(where, f"its prev is not the entry of seq {statement.seq - 1}", RESTORE)
    board.next_seq, board.last_entry = statement.seq + 1, statement.entry


def _skip(board: Board, below: int | None = None) -> None:
    """Pass over what was declared lost from here on, but only if it lies below a seq."""
    while board.next_seq in board.losses and (below is None or board.next_seq < below):
        board.next_seq, board.last_entry = board.losses.pop(board.next_seq) + 1, None


def _signed(where: str, by_kid: dict[bytes, Board], kid: bytes, raw: bytes) -> tuple[Board, Statement]:
    """Return the board and the statement of a row that holds a statement for proof, with its signature checked."""
    board = by_kid.get(kid)
    if board is None:
        raise BrokenError(where, "there is no such board", RESTORE)
    try:
        statement = parse(raw)
    except WireError as error:
        raise BrokenError(where, f"its bytes are no statement: {error}", RESTORE) from error
    if statement.kid != kid:
        raise BrokenError(where, f"its statement is of board {statement.kid.hex()[:8]}", RESTORE)
    if not board.key.verify(statement.signature, statement.to_be_signed()):
        raise BrokenError(where, "the board did not sign it", RESTORE)
    return board, statement


def _contradicts(connection: sqlite3.Connection, board: Board, statement: Statement) -> bool | None:
    """Tell whether a statement contradicts what is stored of its board; None if nothing is stored to compare with.

    It does if another one has its seq, or the one before it is not the one that it names.
    """
    same = _stored(connection, board, statement.seq)
    if same is not None and same != statement.raw:
        return True
    before = _stored(connection, board, statement.seq - 1)
    if before is not None and parse(before).entry != statement.prev:
        return True
    return None if same is None and before is None else False


def _stored(connection: sqlite3.Connection, board: Board, seq: int) -> bytes | None:
    """Return the statement stored under a seq, from the index or from the tail that is not folded into it yet."""
    row = connection.execute(
        "SELECT raw FROM statements JOIN seqs USING (leaf_index) WHERE seqs.board = ? AND seqs.seq = ?",
        (board.number, seq),
    ).fetchone()
    row = (
        row
        or connection.execute(
            "SELECT raw FROM statements WHERE leaf_index >= (SELECT size FROM folds WHERE name = 'index')"
            " AND board = ? AND seq = ?",
            (board.number, seq),
        ).fetchone()
    )
    return row[0] if row else None
