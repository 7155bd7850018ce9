"""Signs, stores and sends the gateway's transactions, and sees them through; `lifecycle` decides how they go on."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from trigpoint.chain.abi import TRANSPARENCY_LOG
from trigpoint.chain.errors import ChainUnavailableError, NodeRefusedError
from trigpoint.chain.lifecycle import Inclusion, Look, Sighting, decide
from trigpoint.chain.node import Log, Node, address_bytes
from trigpoint.chain.pricing import FeeTooHighError, raised, usual_price
from trigpoint.chain.signing import Signer, Unsigned, sign, unsigned_of
from trigpoint.chain.spending import SpendingLimitError, check_limit, day_start
from trigpoint.chain.transactions import (
    OutOfFundsError,
    Request,
    already_known,
    check_funds,
    nonce_taken,
    out_of_funds,
    prepare,
    underpriced,
)
from trigpoint.clock import Clock
from trigpoint.store import chain as store
from trigpoint.store.chain import LIVE, State, Transaction
from trigpoint.store.writer import Writer
from trigpoint.words import counted

_log = logging.getLogger(__name__)

MOST_LINKS: Final = 64
"""Blocks on top of a transaction whose link to the one before is looked at, before it is called final."""


@dataclass(frozen=True)
class Limits:
    """What the operator allows, and how long a transaction may wait.

    Attributes:
        confirmations: blocks on top of a block before it is believed.
        max_fee_wei: most to be paid for one gas; None for whatever the node asks.
        max_spend_wei: most that a day's transactions may cost together; None for no limit.
        reprice_after_s: seconds in no block after which a transaction is offered at a higher price.
    """

    confirmations: int
    max_fee_wei: int | None = None
    max_spend_wei: int | None = None
    reprice_after_s: int = 120


class Submitter:
    """Brings transactions to the TransparencyLog on the chain, one at a time, across crashes and reorganisations.

    Args:
        node: of the chain.
        writer: the database.
        signer: signs and pays.
        chain_id: of the chain; a signature is good for this chain only.
        contract: address of the TransparencyLog, 20 bytes.
        log_id: the log that it writes to, 32 bytes.
        limits: what the operator allows.
        clock: dates the transactions.
    """

    def __init__(
        self,
        node: Node,
        writer: Writer,
        *,
        signer: Signer,
        chain_id: int,
        contract: bytes,
        log_id: bytes,
        limits: Limits,
        clock: Clock,
    ) -> None:
        self._node = node
        self._writer = writer
        self._signer = signer
        self._sender = address_bytes(signer.address)
        self._chain_id = chain_id
        self._contract = contract
        self._log_id = log_id
        self._limits = limits
        self._clock = clock

    def settle(self) -> bool:
        """Look at every live transaction and move it on; return whether none is left.

        Raises:
            ChainUnavailableError: the node did not answer or would not take one; what was stored stays right.
            OutOfFundsError: the account cannot pay for one that was signed when it could.
        """
        waiting = self._writer.submit(lambda connection: store.live(connection, self._chain_id))
        # All of them, oldest first: one that needs the nonce of one before it can only be mined after that.
        still_live = [self._move(variants) for variants in waiting]
        return not any(still_live)

    def submit(self, request: Request, *, size: int | None = None, root: bytes | None = None) -> None:
        """Sign a transaction, store it, and send it: an anchor of `size` and `root`, or without them an opening.

        Raises:
            RevertedError: the contract would refuse it; nothing was stored.
            OutOfFundsError: the account cannot pay; nothing was stored.
            FeeTooHighError: gas costs more than is allowed for one gas; nothing was stored.
            SpendingLimitError: it could cost more than is left of the day's limit; nothing was stored.
            SigningError: it was not signed; nothing was stored.
            ChainUnavailableError: the node did not answer. What was stored, if anything, goes on at the next `settle`.
            InFlightError: another one is not settled; nothing was stored.
        """
        # Behind a waiting transaction that gets lost, ours would wait for ever; in its place, ours would push it out.
        if self._node.nonce(self._sender, pending=True) > self._node.nonce(self._sender, pending=False):
            raise ChainUnavailableError(
                f"another transaction of the account {self._signer.address} waits to be mined: going on after it"
            )
        unsigned = prepare(
            self._node, self._signer.address, self._chain_id, request, max_fee_wei=self._limits.max_fee_wei
        )
        self._check_nonce(unsigned.nonce)
        self._check_spending(unsigned)
        prepared = self._sign(unsigned, "open" if size is None else "anchor", size, root)
        stored = self._writer.submit(lambda connection: store.add(connection, prepared))
        self._move([stored])

    def _sign(self, unsigned: Unsigned, purpose: str, size: int | None, root: bytes | None) -> Transaction:
        signed = sign(self._signer, unsigned)
        return Transaction(
            id=0,
            chain_id=self._chain_id,
            contract=self._contract,
            purpose=purpose,
            size=size,
            root=root,
            state=State.PREPARED,
            sender=self._sender,
            nonce=unsigned.nonce,
            raw=signed.raw,
            hash=signed.hash,
            prepared_ms=self._clock.now_ms(),
        )

    def _check_nonce(self, nonce: int) -> None:
        """A node that is behind gives nonces anew that are used up: what is signed with one could never be mined."""
        highest = self._writer.submit(lambda connection: store.highest_nonce(connection, self._chain_id, self._sender))
        if highest is not None and nonce <= highest:
            raise ChainUnavailableError(
                f"the node at {self._node.place} says that nonce {nonce} of the account {self._signer.address} is "
                "free, and it was given away before: waiting until it catches up"
            )

    def _check_spending(self, unsigned: Unsigned) -> None:
        start = day_start(self._clock.now_ms())
        today = self._writer.submit(lambda connection: store.since(connection, self._chain_id, self._sender, start))
        others = [transaction for transaction in today if transaction.nonce != unsigned.nonce]
        check_limit(others, unsigned.worst_cost, self._limits.max_spend_wei)

    def _move(self, variants: Sequence[Transaction]) -> bool:
        """Move one transaction on; return whether it is still live."""
        decision = decide(
            variants,
            self._look(variants),
            confirmations=self._limits.confirmations,
            now_ms=self._clock.now_ms(),
            patience_ms=self._limits.reprice_after_s * 1000,
        )
        if decision.changed:
            self._store(decision.changed)
        if decision.stuck is not None and self._raise_price(variants, decision.stuck):
            return True
        if decision.send is not None:
            self._send(decision.send)
        after = {transaction.id: transaction.state for transaction in (*variants, *decision.changed)}
        return any(state in LIVE for state in after.values())

    def _store(self, changed: Sequence[Transaction]) -> None:
        def save(connection: sqlite3.Connection) -> None:
            for transaction in changed:
                store.save(connection, transaction)

        self._writer.submit(save)
        for transaction in changed:
            _report(transaction)

    def _raise_price(self, variants: Sequence[Transaction], stuck: Transaction) -> bool:
        """Offer a transaction that no block takes at a higher price; return whether that was done.

        If it is not, for gas is dearer than allowed or the day's money is spent, the one that was sent goes on waiting.
        """
        if stuck.raw is None or stuck.sender != self._sender:
            return False
        higher, why = self._higher(unsigned_of(stuck.raw))
        if higher is None:
            if stuck.note != why:
                self._store([replace(stuck, note=why)])
            return False
        variant = self._sign(higher, stuck.purpose, stuck.size, stuck.root)
        old = replace(stuck, state=State.REPLACED, note=f"offered again at {higher.fee} wei for one gas")
        stored = self._writer.submit(lambda connection: store.replace_by(connection, old, variant))
        _report(old)
        self._move([*(variant for variant in variants if variant.id != old.id), old, stored])
        return True

    def _higher(self, unsigned: Unsigned) -> tuple[Unsigned | None, str]:
        """Return the transaction at a higher price; or None, and for a person why there is none."""
        if self._node.nonce(self._sender, pending=False) < unsigned.nonce:
            return None, "it waits for an earlier transaction of the account"
        try:
            usual = usual_price(self._node, self._limits.max_fee_wei)
        except FeeTooHighError:
            usual = None
        higher = raised(unsigned, usual, self._limits.max_fee_wei)
        if higher is None:
            return None, "no block takes it at the highest price that chain.max_fee_gwei allows"
        try:
            self._check_spending(higher)
            check_funds(self._node, self._signer.address, higher)
        except SpendingLimitError:
            return None, "no block takes it, and chain.max_spend_per_day allows no higher price today"
        except OutOfFundsError:
            return None, "no block takes it, and the account cannot pay a higher price"
        return higher, ""

    def _look(self, variants: Sequence[Transaction]) -> Look:
        """Ask the chain about a transaction.

        The nonce comes before the receipts: the other way round, one that is mined between the two questions would look
        as if another had taken its nonce.
        """
        head = self._node.head()
        first = variants[0]
        nonce_used = first.nonce is not None and self._node.nonce(first.sender, pending=False) > first.nonce
        seen: dict[int, Sighting] = {}
        for variant in variants:
            inclusion = self._inclusion(variant)
            if inclusion is not None and head - inclusion.block >= self._limits.confirmations:
                self._check_buried(inclusion, head)
            # What is replaced is never sent again, so whether the node has it makes no difference.
            asked = inclusion is None and variant.raw is not None and variant.state in LIVE
            seen[variant.id] = Sighting(inclusion, inclusion is not None or (asked and self._node.knows(variant.hash)))
        return Look(head, nonce_used, seen)

    def _inclusion(self, transaction: Transaction) -> Inclusion | None:
        receipt = self._node.receipt(transaction.hash)
        if receipt is None:
            return None
        block = self._node.block(receipt.block)
        if block is None or block.hash != receipt.block_hash:
            return None
        took_effect = receipt.succeeded and any(self._is_effect(transaction, log) for log in receipt.logs)
        cost = receipt.cost
        if cost is None:
            price = 0 if transaction.raw is None else unsigned_of(transaction.raw).fee
            cost = receipt.gas_used * price
        return Inclusion(receipt.block, receipt.block_hash, receipt.gas_used, cost, took_effect)

    def _check_buried(self, inclusion: Inclusion, head: int) -> None:
        """Make sure that the blocks on top are there, each naming the one before it, up to the newest or MOST_LINKS.

        Else a number that a node gives as its newest block's would be enough to call a transaction final.
        """
        before = inclusion.block_hash
        numbers = range(inclusion.block + 1, inclusion.block + 1 + min(self._limits.confirmations, MOST_LINKS))
        for number in numbers:
            block = self._node.block(number)
            if block is None or block.parent != before:
                raise ChainUnavailableError(
                    f"the node at {self._node.place} is at block {head}, and its block {number} does not follow on the "
                    f"one before: waiting until it makes sense"
                )
            before = block.hash

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
            # Underpriced: it is sent again, and after a while at a higher price.
            if already_known(error) or nonce_taken(error) or underpriced(error):
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
    what = "opening of the log" if changed.size is None else f"anchor of {counted(changed.size, 'leaf')}"
    level = logging.WARNING if changed.note else logging.INFO
    _log.log(level, "%s: %s%s", what, changed.state, f" ({changed.note})" if changed.note else "")
