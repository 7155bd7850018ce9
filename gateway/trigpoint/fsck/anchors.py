"""The gateway's anchors, beside the log that they speak of and the chain that holds them."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from eth_utils.crypto import keccak
from web3 import Web3

from trigpoint.chain.abi import TRANSPARENCY_LOG
from trigpoint.chain.node import Node, address_bytes
from trigpoint.chain.submitter import is_anchored
from trigpoint.fsck.findings import RESTORE, BrokenError, Progress
from trigpoint.words import counted

OLD_BACKUP = (
    "this database must not go on as it is: bring back the newest one, or see docs/operating.md, 'An old backup'"
)
"""What to do about a database that the chain contradicts."""


@dataclass(frozen=True)
class Claim:
    """A row of `transactions`, as far as it speaks of the log.

    Attributes:
        id: its number in the database.
        chain_id: EIP-155 chain id.
        contract: address of the TransparencyLog, 20 bytes.
        size: leaves.
        root: 32 bytes.
        hash: of the transaction, 32 bytes.
        block: number of the block that holds it, if the row says that one does.
        final: whether it is final.
    """

    id: int
    chain_id: int
    contract: bytes
    size: int
    root: bytes
    hash: bytes
    block: int | None
    final: bool


def claims(connection: sqlite3.Connection) -> list[Claim]:
    """Read all anchors, oldest first. Raises BrokenError at the first row that is not whole."""
    found = []
    rows = connection.execute(
        "SELECT id, chain_id, contract, purpose, size, root, state, raw, hash, block FROM transactions ORDER BY id"
    )
    for number, chain_id, contract, purpose, size, root, state, raw, digest, block in rows:
        if raw is not None and keccak(raw) != digest:
            raise BrokenError(f"transactions, id {number}", "its hash is not that of its signed bytes", RESTORE)
        if raw is not None and contract not in raw:
            raise BrokenError(f"transactions, id {number}", "its signed bytes go to another contract", RESTORE)
        if purpose == "anchor":
            if raw is not None and root not in raw:
                raise BrokenError(f"transactions, id {number}", "its signed bytes anchor another root", RESTORE)
            found.append(Claim(number, chain_id, contract, size, root, digest, block, state == "final"))
    return found


def agree(found: Sequence[Claim], roots: Mapping[int, bytes]) -> None:
    """Check that each anchor is of a head of this log. Raises BrokenError at the first that is not.

    Args:
        found: the anchors.
        roots: root of the log by size, for each size that an anchor names and the log has reached.
    """
    for claim in found:
        where = f"transactions, id {claim.id}"
        if claim.size not in roots:
            raise BrokenError(where, f"it anchors {counted(claim.size, 'leaf')}, more than are stored", OLD_BACKUP)
        if roots[claim.size] != claim.root:
            raise BrokenError(
                where, f"its root is not that of the first {counted(claim.size, 'statement')}", OLD_BACKUP
            )


class OnChain:
    """Asks the contracts what they know of the log.

    Args:
        web3: a node.
        chain_id: EIP-155 chain id.
        contract: address of the TransparencyLog, 20 bytes.
    """

    def __init__(self, web3: Web3, chain_id: int, contract: bytes) -> None:
        self._node = Node(web3)
        self._chain_id = chain_id
        self._contract = contract
        self._log_id = b""
        self.size = 0
        self._root = b""

    def ask(self, log_id: bytes, log_key: bytes) -> None:
        """Ask for the log's newest head, and check its key.

        Raises:
            BrokenError: the log on the chain has another key.
            ChainUnavailableError: the node did not answer.
        """
        self._log_id = log_id
        opener, key = self._node.call(TRANSPARENCY_LOG, self._contract, "logs", log_id)
        if not any(address_bytes(opener)):
            return
        if key != log_key:
            raise BrokenError("log_state", "the log on the chain has another key", OLD_BACKUP)
        _, self.size, _, self._root = self._node.call(TRANSPARENCY_LOG, self._contract, "heads", log_id)

    def confirm(self, found: Sequence[Claim], roots: Mapping[int, bytes], progress: Progress) -> int:
        """Compare the chain's head with the log, and each final anchor with its block. Returns how many anchors.

        Raises:
            BrokenError: the chain contradicts the database.
            ChainUnavailableError: the node did not answer.
        """
        if self.size not in roots:
            what = f"the chain has {counted(self.size, 'leaf')} of this log, and the database fewer"
            raise BrokenError("statements", what, OLD_BACKUP)
        if self.size and roots[self.size] != self._root:
            what = f"the chain's root of {counted(self.size, 'leaf')} is not that of as many statements here"
            raise BrokenError("statements", what, OLD_BACKUP)
        mine = [claim for claim in found if claim.final and claim.contract == self._contract]
        for number, claim in enumerate(mine):
            progress("chain", number, len(mine))
            self._confirm(claim)
        return len(mine)

    def _confirm(self, claim: Claim) -> None:
        receipt = self._node.receipt(claim.hash)
        where = f"transactions, id {claim.id}"
        again = "run the gateway: it settles its transactions by itself; if this stays, ask another node"
        if receipt is None or not receipt.succeeded or receipt.block != claim.block:
            raise BrokenError(where, f"the chain does not hold it in block {claim.block}", again)
        anchored = (is_anchored(log, self._contract, self._log_id, claim.size, claim.root) for log in receipt.logs)
        if not any(anchored):
            raise BrokenError(where, "on the chain it did not anchor this head", again)
