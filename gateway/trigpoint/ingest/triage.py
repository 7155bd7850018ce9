"""Guesses which messages will need their signature looked at: a wrong guess costs time, and never a wrong decision."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from trigpoint.ingest.boards import Board, Boards
from trigpoint.ingest.check import Signer
from trigpoint.ingest.message import Message
from trigpoint.wire.cbor import uint_at

# Where things are in a statement of the right shape (protocol section 3).
_KID = 13
_SEQ = _KID + 32 + 5
_FROM_SEQ_TO_OLDEST = 5 + 2 + 32 + 5


def peek(payload: bytes) -> tuple[bytes, int, int] | None:
    """Return kid, seq and oldest if this is a statement; anything, or None, if it is not."""
    try:
        seq, end = uint_at(payload, _SEQ)
        oldest, _ = uint_at(payload, end + _FROM_SEQ_TO_OLDEST)
    except IndexError:
        return None
    return payload[_KID : _KID + 32], seq, oldest


class Triage:
    """Remembers what each board is likely to send next, given what of it is still being checked.

    Args:
        boards: where the boards stand.
        stored_entry: gives the entry of a stored statement, by the board's number and seq.
    """

    def __init__(self, boards: Boards, stored_entry: Callable[[int, int], bytes | None]) -> None:
        self._boards = boards
        self._stored_entry = stored_entry

    def signer(self, message: Message) -> Signer | None:
        """Return whose signature to look for, or None if the decision will hardly need it."""
        seen = peek(message.payload)
        if seen is None:
            return None
        kid, seq, oldest = seen
        board = self._boards.get(kid)
        if board is None or not board.state.active or not board.served:
            return None
        if message.topic != board.topic:
            return None  # refused whatever it says; and nobody is to spoil the guesses about another board
        return board.signer if self._needed(board, seq, oldest, message.payload) else None

    def _needed(self, board: Board, seq: int, oldest: int, payload: bytes) -> bool:
        following = max(board.expected, board.state.next_seq)
        if seq == following or oldest > following:
            board.expected = seq + 1 if seq in (following, oldest) else oldest
            return True
        if seq > following:
            return False  # a gap
        if seq >= board.state.next_seq:
            return False  # one that is on its way already, sent again
        return self._stored_entry(board.signer[0], seq) != hashlib.sha256(payload).digest()
