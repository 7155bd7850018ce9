"""What a gateway accepts: the checks of docs/protocol.md section 5, in their order, over plain data."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple, Protocol

from trigpoint.wire.statement import NO_PREV


class Stated(Protocol):
    """What a decision needs to know of a statement; see the fields of `trigpoint.wire.statement.Statement`."""

    @property
    def seq(self) -> int:
        """Its number."""
        ...

    @property
    def prev(self) -> bytes:
        """Entry of the one before."""
        ...

    @property
    def oldest(self) -> int:
        """The lowest seq that the board still holds."""
        ...

    @property
    def entry(self) -> bytes:
        """Its own entry."""
        ...


class Reason(StrEnum):
    """What became of a message. The value is the name of its counter."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    SIZE = "size"
    SHAPE = "shape"
    UNKNOWN_BOARD = "unknown_board"
    GAP = "gap"
    SIGNATURE = "signature"
    LOST = "lost"
    CLONE = "clone"
    FORK = "fork"
    NOT_SERVED = "not_served"
    """This gateway's own rule, not the protocol's: it serves other owners' boards."""
    QUOTA = "quota"
    """Likewise: the board has sent more today than it may."""

    @property
    def is_evidence(self) -> bool:
        """Whether the message, though refused, proves that two histories are signed with one key."""
        return self in _EVIDENCE

    @property
    def is_refusal(self) -> bool:
        """Whether the message was not to be taken, and is kept for inspection: as evidence if it is that."""
        return self not in _WELCOME

    @property
    def deserves_ack(self) -> bool:
        """Whether the board is told where the gateway stands: it sent what it should, or needs to know what to send."""
        return self in _ANSWERED


_WELCOME = frozenset({Reason.ACCEPTED, Reason.DUPLICATE})
_ANSWERED = _WELCOME | {Reason.GAP}
_EVIDENCE = frozenset({Reason.CLONE, Reason.FORK})


class BoardState(NamedTuple):
    """What a decision needs to know of a board that the registry knows.

    Attributes:
        active: whether the registry says that it is active.
        next_seq: the seq that the gateway expects.
        last_entry: entry of the statement before it, 32 bytes; zeros at 0; None if that one was declared lost.
    """

    active: bool
    next_seq: int = 0
    last_entry: bytes | None = NO_PREV


class Decision(NamedTuple):
    """What to do with a statement.

    Attributes:
        reason: accepted, or why not.
        lost: first and last seq that this statement declares lost, or None. The declaration stands whether the
            statement is accepted or, because others come before it, refused as a gap.
    """

    reason: Reason
    lost: tuple[int, int] | None = None


_ACCEPTED = Decision(Reason.ACCEPTED)


def decide(
    board: BoardState | None, statement: Stated, stored_entry: bytes | None, signature: bool | None
) -> Decision | None:
    """Decide on a statement of the right size and shape, whose kid is the topic's board id.

    Args:
        board: the state of the board named by kid; None if the registry does not know it.
        statement: the message, parsed.
        stored_entry: entry of the statement stored under this kid and seq, if there is one.
        signature: whether the signature holds, or None if nobody has looked yet.

    Returns:
        The decision, or None if it depends on the signature and that is not known yet: verification is the dearest
        check, so it is made only for what has passed all others.
    """
    if board is None or not board.active:
        return Decision(Reason.UNKNOWN_BOARD)
    if statement.seq < board.next_seq and stored_entry == statement.entry:
        return Decision(Reason.DUPLICATE)
    if statement.oldest <= board.next_seq < statement.seq:
        return Decision(Reason.GAP)
    if signature is None:
        return None
    if not signature:
        return Decision(Reason.SIGNATURE)
    if statement.seq < board.next_seq:
        # Nothing stored contradicts one that was declared lost: flagging its board would let a broker frame an honest
        # one, by keeping back a statement until the board has given it up.
        return Decision(Reason.LOST if stored_entry is None else Reason.CLONE)
    if statement.oldest > board.next_seq:
        first_held = statement.seq == statement.oldest
        return Decision(Reason.ACCEPTED if first_held else Reason.GAP, lost=(board.next_seq, statement.oldest - 1))
    if board.last_entry is not None and statement.prev != board.last_entry:
        return Decision(Reason.FORK)
    return _ACCEPTED


def after(board: BoardState, statement: Stated, decision: Decision) -> BoardState:
    """Return the state of `board` once `decision` on `statement` has been carried out."""
    if decision.reason is Reason.ACCEPTED:
        return BoardState(board.active, statement.seq + 1, statement.entry)
    if decision.lost is not None:
        return BoardState(board.active, decision.lost[1] + 1, None)
    return board
