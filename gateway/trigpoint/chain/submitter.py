"""Brings transactions on the chain across crashes, reorganised blocks and lost answers, each exactly once.

A transaction is a row in the database that moves through `State`. `advance` decides every move from the row and one
look at the chain, without touching either; `Submitter` looks, stores the move, and only then acts on it. The one act is
to send the stored bytes, which does no harm twice: equal bytes are one transaction. So a crash between any two
instructions leaves a row from which the next look goes on.

    prepared --> sent --> mined --> final
                  ^ |       |
                  | +-------|--> failed      reverted for good, or its nonce went to another transaction
                  +---------+                its block left the chain
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

from eth_account.signers.local import LocalAccount
from web3 import Web3

from trigpoint.chain.abi import TRANSPARENCY_LOG
from trigpoint.chain.errors import ChainUnavailableError, NodeRefusedError
from trigpoint.chain.node import Log, Node, address_bytes
from trigpoint.chain.transactions import (
    OutOfFundsError,
    Request,
    already_known,
    nonce_taken,
    out_of_funds,
    sign,
)
from trigpoint.clock import Clock
from trigpoint.store import chain as store
from trigpoint.store.chain import State, Transaction
from trigpoint.store.writer import Writer

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Inclusion:
    """A transaction in a block of the chain. `took_effect`: it emitted the event that it was made for."""

    block: int
    block_hash: bytes
    gas_used: int
    took_effect: bool


@dataclass(frozen=True)
class Sighting:
    """One look at the chain for one transaction.

    Attributes:
        head: number of the newest block.
        inclusion: where it is, or None if it is in no block.
        nonce_passed: whether its account has used its nonce.
        known: whether the node has it, in a block or waiting.
    """

    head: int
    inclusion: Inclusion | None
    nonce_passed: bool
    known: bool


@dataclass(frozen=True)
class Move:
    """What follows: the transaction as it is to be stored, and whether its bytes are to be sent after that."""

    transaction: Transaction
    send: bool


def advance(transaction: Transaction, seen: Sighting, confirmations: int) -> Move:
    """Decide how a transaction goes on.

    Args:
        transaction: as stored.
        seen: what the chain says now.
        confirmations: blocks on top of a block before it is believed.
    """
    if transaction.state in {State.FINAL, State.FAILED}:
        return Move(transaction, send=False)
    if (inclusion := seen.inclusion) is not None:
        deep = seen.head - inclusion.block >= confirmations
        if inclusion.took_effect:
            state, note = (State.FINAL if deep else State.MINED), ""
        elif deep:
            state, note = State.FAILED, f"reverted in block {inclusion.block}"
        else:
            # The block may yet leave the chain, and the transaction take effect in another one.
            return Move(_outside(transaction, State.SENT, f"reverted in block {inclusion.block}"), send=False)
        inside = replace(
            transaction,
            state=state,
            block=inclusion.block,
            block_hash=inclusion.block_hash,
            gas_used=inclusion.gas_used,
            passed_at=None,
            note=note,
        )
        return Move(inside, send=False)
    if seen.nonce_passed and transaction.raw is not None:
        since = seen.head if transaction.passed_at is None else min(transaction.passed_at, seen.head)
        # The block with the other transaction may yet leave the chain; or the node may be behind with receipts.
        state = State.FAILED if seen.head - since >= confirmations else State.SENT
        passed = _outside(transaction, state, "another transaction took its nonce")
        return Move(replace(passed, passed_at=since), send=False)
    if transaction.raw is None:
        return Move(_outside(transaction, State.FAILED, "its block left the chain"), send=False)
    return Move(_outside(transaction, State.SENT, ""), send=not seen.known)


def _outside(transaction: Transaction, state: State, note: str) -> Transaction:
    return replace(transaction, state=state, block=None, block_hash=None, gas_used=None, passed_at=None, note=note)


class Submitter:
    """Signs, stores and sends transactions to the TransparencyLog, never two at a time.

    Args:
        web3: the chain.
        writer: the database.
        account: signs and pays.
        chain_id: of the chain; a signature is good for this chain only.
        contract: address of the TransparencyLog, 20 bytes.
        log_id: the log that it writes to, 32 bytes.
        confirmations: blocks on top of a block before it is believed.
        clock: dates the transactions.
        max_fee_wei: most that it pays for one gas; None for whatever the node asks.
    """

    def __init__(
        self,
        web3: Web3,
        writer: Writer,
        *,
        account: LocalAccount,
        chain_id: int,
        contract: bytes,
        log_id: bytes,
        confirmations: int,
        clock: Clock,
        max_fee_wei: int | None = None,
    ) -> None:
        self._node = Node(web3)
        self._writer = writer
        self._account = account
        self._chain_id = chain_id
        self._contract = contract
        self._log_id = log_id
        self._confirmations = confirmations
        self._clock = clock
        self._max_fee_wei = max_fee_wei

    def settle(self) -> bool:
        """Look at every transaction in flight and move it on; return whether none is left in flight.

        Raises:
            ChainUnavailableError: the node did not answer or would not take one; what was stored stays right.
            OutOfFundsError: the account cannot pay for one that was signed when it could.
        """
        waiting = self._writer.submit(lambda connection: store.unsettled(connection, self._chain_id))
        # All of them, oldest first: one that needs the nonce of one before it can only be mined after that.
        settled = [self._move(transaction).state in {State.FINAL, State.FAILED} for transaction in waiting]
        return all(settled)

    def submit(self, request: Request, *, size: int | None = None, root: bytes | None = None) -> None:
        """Sign a transaction, store it, and send it: an anchor of `size` and `root`, or without them an opening.

        Raises:
            RevertedError: the contract would refuse it; nothing was stored.
            OutOfFundsError: the account cannot pay; nothing was stored.
            FeeTooHighError: gas costs more than `max_fee_wei`; nothing was stored.
            ChainUnavailableError: the node did not answer. What was stored, if anything, goes on at the next `settle`.
            InFlightError: another one is not settled; nothing was stored.
        """
        sender = address_bytes(self._account.address)
        # Behind a waiting transaction that gets lost, ours would wait for ever; in its place, ours would push it out.
        if self._node.nonce(sender, pending=True) > self._node.nonce(sender, pending=False):
            raise ChainUnavailableError(
                f"another transaction of the account {self._account.address} waits to be mined: going on after it"
            )
        signed = sign(self._node, self._account, self._chain_id, request, max_fee_wei=self._max_fee_wei)
        prepared = Transaction(
            id=0,
            chain_id=self._chain_id,
            contract=self._contract,
            purpose="open" if size is None else "anchor",
            size=size,
            root=root,
            state=State.PREPARED,
            sender=sender,
            nonce=signed.nonce,
            raw=signed.raw,
            hash=signed.hash,
            prepared_ms=self._clock.now_ms(),
        )
        stored = self._writer.submit(lambda connection: store.add(connection, prepared))
        self._move(stored)

    def _move(self, transaction: Transaction) -> Transaction:
        move = advance(transaction, self._look(transaction), self._confirmations)
        changed = move.transaction
        if changed != transaction:
            self._writer.submit(lambda connection: store.save(connection, changed))
            _report(changed)
        if move.send:
            self._send(changed)
        return changed

    def _look(self, transaction: Transaction) -> Sighting:
        """Ask the chain about a transaction.

        The nonce comes before the receipt: the other way round, one that is mined between the two questions would look
        as if another had taken its nonce.
        """
        head = self._node.head()
        nonce = transaction.nonce
        nonce_passed = nonce is not None and self._node.nonce(transaction.sender, pending=False) > nonce
        inclusion = self._inclusion(transaction)
        known = inclusion is not None or (transaction.raw is not None and self._node.knows(transaction.hash))
        return Sighting(head, inclusion, nonce_passed, known)

    def _inclusion(self, transaction: Transaction) -> Inclusion | None:
        receipt = self._node.receipt(transaction.hash)
        if receipt is None:
            return None
        block = self._node.block(receipt.block)
        if block is None or block.hash != receipt.block_hash:
            return None
        took_effect = receipt.succeeded and any(self._is_effect(transaction, log) for log in receipt.logs)
        return Inclusion(receipt.block, receipt.block_hash, receipt.gas_used, took_effect)

    def _is_effect(self, transaction: Transaction, log: Log) -> bool:
        if transaction.size is None or transaction.root is None:
            topics = (TRANSPARENCY_LOG.topic("LogOpened"), self._log_id)
            return log.address == transaction.contract and log.topics[:2] == topics
        return is_anchored(log, transaction.contract, self._log_id, transaction.size, transaction.root)

    def _send(self, transaction: Transaction) -> None:
        assert transaction.raw is not None
        try:
            self._node.send(transaction.raw)
        except NodeRefusedError as error:
            # Known already: done before. Nonce taken: by this very transaction, or by one that a later look will find.
            if already_known(error) or nonce_taken(error):
                return
            if out_of_funds(error):
                raise OutOfFundsError(
                    f"the account 0x{transaction.sender.hex()} cannot pay for its transaction "
                    f"0x{transaction.hash.hex()} on chain {self._chain_id}: send it funds; it is tried again by itself"
                ) from error
            raise


def is_anchored(log: Log, contract: bytes, log_id: bytes, size: int, root: bytes) -> bool:
    """Tell whether an event is this contract's word that the log's head is now of `size` and `root`."""
    return (
        log.address == contract
        and log.topics == (TRANSPARENCY_LOG.topic("Anchored"), log_id)
        and log.data == size.to_bytes(32, "big") + root
    )


def _report(changed: Transaction) -> None:
    what = "opening of the log" if changed.size is None else f"anchor of {changed.size} leaves"
    level = logging.WARNING if changed.note else logging.INFO
    _log.log(level, "%s: %s%s", what, changed.state, f" ({changed.note})" if changed.note else "")
