"""The log's head on the chain, and how it stands to the log here."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from trigpoint.chain.errors import ChainUnavailableError
from trigpoint.errors import OperatorError


class LogForkError(OperatorError):
    """The chain holds a head that this database's log does not begin with: an old backup, or another gateway's log.

    To go on would give two histories under one log key, so the gateway must take no statement until it is put right.
    """


class ForkSuspectedError(ChainUnavailableError):
    """A node says what would be a fork. It is asked again, or another one: a single answer may be a lie or a mishap."""


@dataclass(frozen=True)
class ChainHead:
    """The log's newest head on the chain: its writer (20 bytes), leaves and root; size 0 before the first anchor."""

    writer: bytes
    size: int
    root: bytes


class Standing(Enum):
    """How the log's head on the chain stands to the log here."""

    KNOWN = auto()
    """It is the newest final anchor, or there is none yet."""
    LOST = auto()
    """It is older than the newest final anchor: the chain was reorganised deeply."""
    FOREIGN = auto()
    """It is a head of this log, but its anchor is not in the database."""
    FORKED = auto()
    """It is no head of this log."""


def compare(head: ChainHead, final: tuple[int, bytes] | None, log_size: int, root_there: bytes | None) -> Standing:
    """Compare the chain's head with the log.

    Args:
        head: on the chain.
        final: size and root of the newest final anchor in the database.
        log_size: leaves in the log.
        root_there: the log's own root at the head's size; None if the log is shorter.
    """
    if head.size > log_size or (head.size > 0 and head.root != root_there):
        return Standing.FORKED
    final_size = final[0] if final else 0
    if head.size > final_size:
        return Standing.FOREIGN
    return Standing.LOST if head.size < final_size else Standing.KNOWN
