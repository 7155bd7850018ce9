"""Proof that a log forked: two heads under the log's signature of which neither tree begins with the other.

Two signed checkpoints of one size with two roots prove it by themselves. Of different sizes they need one thing more:
which root the newer tree has at the older one's size. A consistency proof (RFC 9162 section 2.1.4) from that root
binds it to the newer head, since no one can find two roots from which one and the same tree follows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trigpoint.log import checkpoint, tree
from trigpoint.log.checkpoint import Checkpoint, CheckpointError
from trigpoint.log.merkle import ProofError, verify_consistency
from trigpoint.log.tree import TileReader


@dataclass(frozen=True)
class Fork:
    """The proof.

    Attributes:
        older: the signed checkpoint of fewer, or as many, leaves; the note's text.
        newer: the other one.
        root: what the newer tree has as its root at the older size, 32 bytes.
        proof: consistency proof from that root to the newer head; empty if the sizes are equal.
    """

    older: str
    newer: str
    root: bytes
    proof: Sequence[bytes]

    def holds(self, log_id: bytes, log_key: bytes) -> bool:
        """Tell whether it proves that the owner of the log key forked the log. Never raises on bad input.

        RFC 9162 binds a size to its root only loosely, so the log may instead have signed a false size: no less guilty.
        """
        try:
            older = checkpoint.verify(self.older, log_id, log_key)
            newer = checkpoint.verify(self.newer, log_id, log_key)
            follows = verify_consistency(older.size, self.root, newer.size, newer.root, self.proof)
        except (CheckpointError, ProofError):
            return False
        return follows and older.size > 0 and self.root != older.root


def find(reader: TileReader, older: Checkpoint, newer: Checkpoint) -> Fork | None:
    """Return the proof that two checkpoints contradict each other, or None if the newer tree begins with the older.

    Args:
        reader: verified tiles of the newer tree.
        older: of at most as many leaves as `newer`; its signature has been verified, as has the other's.
        newer: the head of `reader`.

    Raises:
        ProofError: the tiles are not those of the newer tree, or the older one is larger.
    """
    if older.size > newer.size:
        raise ProofError(f"a tree of {newer.size} leaves cannot begin with one of {older.size}")
    root = tree.root(reader, older.size)
    if root == older.root:
        return None
    return Fork(older.text, newer.text, root, tree.consistency_proof(reader, older.size, newer.size))
