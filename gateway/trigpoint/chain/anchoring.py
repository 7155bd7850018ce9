"""Puts the log's head on the chain from time to time, and refuses to when the chain contradicts the log."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass

from web3 import Web3

from trigpoint.chain.abi import TRANSPARENCY_LOG
from trigpoint.chain.client import check_chain, turn_to_next
from trigpoint.chain.errors import ChainUnavailableError, NodeRefusedError
from trigpoint.chain.heads import ChainHead, ForkSuspectedError, LogForkError, Standing, compare
from trigpoint.chain.node import Log, Node, address_bytes, checksum
from trigpoint.chain.signing import Signer, SigningError
from trigpoint.chain.submitter import Limits, Submitter, is_anchored
from trigpoint.chain.transactions import OutOfFundsError, Request
from trigpoint.clock import Clock
from trigpoint.errors import OperatorError
from trigpoint.log import checkpoint, tree
from trigpoint.store import chain as store
from trigpoint.store import log, statements
from trigpoint.store.chain import Attempts, State, Transaction
from trigpoint.store.fold import fold_log
from trigpoint.store.writer import Writer
from trigpoint.words import counted

_log = logging.getLogger(__name__)

_MOST_DOUBLINGS = 6
_SEARCH_BLOCKS = 2_000
_SEARCH_STEPS = 20
_FORK_LOOKS = 3
_FORK_PAUSE_S = 1.0


def is_due(*, log_size: int, head_size: int, attempts: Attempts, now_ms: int, every_s: int) -> bool:
    """Decide whether to anchor now.

    Only a log that grew is anchored, and at most once in `every_s` seconds. While anchors fail, each of which costs
    gas, the pause doubles up to 64-fold. A clock that was set back does not stop anchoring: the next one comes at once.

    Args:
        log_size: leaves in the log.
        head_size: leaves under the newest head on the chain.
        attempts: earlier anchors.
        now_ms: milliseconds since 1970.
        every_s: seconds.
    """
    if log_size <= head_size:
        return False
    if attempts.newest_ms is None or now_ms < attempts.newest_ms:
        return True
    pause_ms = every_s * 1000 << min(attempts.failures, _MOST_DOUBLINGS)
    return now_ms - attempts.newest_ms >= pause_ms


@dataclass(frozen=True)
class _Local:
    """What the database says, at one moment."""

    log: log.Head
    final: Transaction | None
    attempts: Attempts
    root_there: bytes | None
    highest_nonce: int | None


@dataclass(frozen=True)
class _There:
    """What the chain says at one block: the log's head, None if it is not open, and the account's next nonce."""

    head: ChainHead | None
    next_nonce: int


class Anchorer:
    """Opens the log on the chain at first, and anchors its head from then on.

    Call `settle` once before the gateway takes its first statement, and `step` every few seconds after that. Both may
    raise ChainUnavailableError, which passes by itself, or another OperatorError, which needs the operator; either way
    the state is as it was or further on, and the next call goes on from there.

    Args:
        web3: the chain.
        writer: the database.
        signer: signs and pays; the log's writer on the chain.
        chain_id: EIP-155 chain id.
        contract: address of the TransparencyLog, 20 bytes.
        log_id: 32 bytes; see `trigpoint.log.checkpoint.log_id`.
        log_key: the log's public Ed25519 key, 32 bytes.
        limits: what the operator allows.
        every_s: seconds between two anchors, at least.
        clock: the gateway's clock.
        publish: called before an anchor with its size; returns once so many leaves are published.
        sleep: waits so many seconds, in `settle` alone.
    """

    def __init__(
        self,
        web3: Web3,
        writer: Writer,
        *,
        signer: Signer,
        chain_id: int,
        contract: bytes,
        log_id: bytes,
        log_key: bytes,
        limits: Limits,
        every_s: int,
        clock: Clock,
        publish: Callable[[int], None],
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._node = Node(web3)
        self._writer = writer
        self._sender = address_bytes(signer.address)
        self._chain_id = chain_id
        self._contract = contract
        self._log_id = log_id
        self._log_key = log_key
        self._every_s = every_s
        self._clock = clock
        self._publish = publish
        self._sleep = sleep
        self._not_found: ChainHead | None = None
        self._forks_seen = 0
        self._submitter = Submitter(
            self._node,
            writer,
            signer=signer,
            chain_id=chain_id,
            contract=contract,
            log_id=log_id,
            limits=limits,
            clock=clock,
        )

    def settle(self) -> None:
        """Make sure that the chain agrees with the log, and settle what was in flight when the gateway stopped.

        A transaction that cannot be sent now is no reason not to start: it is logged, and left to `step`.

        Raises:
            LogForkError: the chain contradicts the log.
            ChainUnavailableError: the node did not answer.
            OperatorError: the node is on another chain, or the log on the chain has another key.
        """
        while True:
            check_chain(self._node.web3, self._chain_id)
            try:
                there = self._there()
                if there.head is not None:
                    self._standing(there.head, self._local(there.head))
                break
            except ForkSuspectedError as error:
                _log.warning("%s", error)
                turn_to_next(self._node.web3)
                self._sleep(_FORK_PAUSE_S)
        try:
            self._submitter.settle()
        except (NodeRefusedError, OutOfFundsError, SigningError) as error:
            _log.error("%s", error)

    def step(self) -> None:
        """Do what is due: settle what is in flight, else open the log, else anchor it.

        Raises:
            LogForkError: the chain contradicts the log, asked several times; nothing is anchored.
            ChainUnavailableError: the node did not answer, made no sense, or would not take a transaction.
            OutOfFundsError: the account cannot pay.
            FeeTooHighError: one gas costs more than is allowed.
            SpendingLimitError: the day's money is spent.
            SigningError: the transaction was not signed.
            RevertedError: the contract would refuse, so nothing was sent.
            OperatorError: the node is on another chain, another account writes this log, or the account cannot open it.
        """
        check_chain(self._node.web3, self._chain_id)
        if not self._submitter.settle():
            return
        there = self._there()
        if there.head is None:
            if not self._put_back(there):
                self._open()
            return
        local = self._local(there.head)
        standing = self._standing(there.head, local)
        freed = local.highest_nonce is not None and there.next_nonce <= local.highest_nonce
        if standing is Standing.LOST or freed:
            if not self._put_back(there) and freed:
                raise ChainUnavailableError(
                    f"the node at {self._node.place} says that nonce {there.next_nonce} of the account "
                    f"{checksum(self._sender)} is free, and it was used: waiting until it catches up"
                )
        elif standing is Standing.KNOWN or not self._adopt(there.head):
            self._anchor(there.head, local)

    def _there(self) -> _There:
        """Look at the log and the account at the newest block."""
        number = self._node.head()
        known = self._writer.submit(lambda connection: store.newest_block(connection, self._chain_id, self._contract))
        if known is not None and number < known:
            raise ChainUnavailableError(
                f"the node at {self._node.place} is at block {number}, and was at block {known} before: waiting until "
                "it catches up (a chain that was started anew needs a new gateway directory)"
            )
        next_nonce = self._node.nonce(self._sender, pending=False, block=number)
        opener, log_key = self._node.call(TRANSPARENCY_LOG, self._contract, "logs", self._log_id, block=number)
        if int(opener, 16) == 0:
            return _There(None, next_nonce)
        if log_key != self._log_key:
            raise OperatorError("the log on the chain has another key: restore the file of log.key_file, or its path")
        writer, size, _, root = self._node.call(TRANSPARENCY_LOG, self._contract, "heads", self._log_id, block=number)
        return _There(ChainHead(address_bytes(writer), size, root), next_nonce)

    def _local(self, head: ChainHead) -> _Local:
        def read(connection: sqlite3.Connection) -> _Local:
            attempts = store.attempts(connection, self._chain_id, self._contract)
            # Folding the log writes, so it waits until there is something to anchor.
            due = is_due(
                log_size=statements.size(connection),
                head_size=head.size,
                attempts=attempts,
                now_ms=self._clock.now_ms(),
                every_s=self._every_s,
            )
            here = log.head(connection)
            if due or head.size > here.size:
                here = fold_log(connection)
            known = 0 < head.size <= here.size
            return _Local(
                here,
                store.newest_final(connection, self._chain_id, self._contract),
                attempts,
                tree.root(log.StoredTiles(connection), head.size) if known else None,
                store.highest_nonce(connection, self._chain_id, self._sender),
            )

        return self._writer.submit(read)

    def _standing(self, head: ChainHead, local: _Local) -> Standing:
        final = local.final
        known = None if final is None or final.size is None or final.root is None else (final.size, final.root)
        standing = compare(head, known, local.log.size, local.root_there)
        if standing is not Standing.FORKED:
            self._forks_seen = 0
            return standing
        what = "is longer than" if head.size > local.log.size else "contradicts"
        sizes = [counted(size, "leaf") for size in (head.size, local.log.size)]
        found = f"the log on the chain ({sizes[0]}) {what} this database's ({sizes[1]})"
        self._forks_seen += 1
        if self._forks_seen < _FORK_LOOKS:
            raise ForkSuspectedError(f"the node at {self._node.place} says that {found}: asking again")
        raise LogForkError(
            f"{found}: an old backup was restored, or another gateway uses these keys. Nothing is anchored; stop this "
            "gateway and bring back the newest database (docs/operating.md, 'An old backup')"
        )

    def _open(self) -> None:
        if checkpoint.log_id(self._sender, self._log_key) != self._log_id:
            raise OperatorError(
                f"the log {self._log_id.hex()} is not open on chain {self._chain_id}, and the account "
                f"{checksum(self._sender)} cannot open it: restore the chain.key_file that the log was begun with"
            )
        data = TRANSPARENCY_LOG.call("open", self._log_key)
        self._submitter.submit(Request(TRANSPARENCY_LOG, self._contract, data))

    def _anchor(self, head: ChainHead, local: _Local) -> None:
        if not is_due(
            log_size=local.log.size,
            head_size=head.size,
            attempts=local.attempts,
            now_ms=self._clock.now_ms(),
            every_s=self._every_s,
        ):
            return
        if head.writer != self._sender:
            raise OperatorError(
                f"the log's writer on the chain is {checksum(head.writer)}, not this gateway's account "
                f"{checksum(self._sender)}: let the opener call setWriter, or set chain.key_file"
            )
        size, root = local.log.size, local.log.root
        proof = self._writer.submit(
            lambda connection: tree.consistency_proof(log.StoredTiles(connection), head.size, size)
        )
        # Or whoever sees the anchor would look in vain for a log that begins with it.
        self._publish(size)
        data = TRANSPARENCY_LOG.call("anchor", self._log_id, size, root, proof)
        self._submitter.submit(Request(TRANSPARENCY_LOG, self._contract, data), size=size, root=root)

    def _put_back(self, there: _There) -> bool:
        """Let what was settled but the chain has lost go through the submitter again: the same bytes, in order."""

        def work(connection: sqlite3.Connection) -> int:
            size = None if there.head is None else there.head.size
            return store.put_back(
                connection,
                self._chain_id,
                self._contract,
                head_size=size,
                sender=self._sender,
                next_nonce=there.next_nonce,
            )

        count = self._writer.submit(work)
        if count:
            _log.error(
                "the chain was reorganised deeper than chain.confirmations: %d settled transactions are undecided "
                "again, and receipts over them wait; sending them again",
                count,
            )
        return count > 0

    def _adopt(self, head: ChainHead) -> bool:
        """Store the anchor of a head of ours that the database does not know; return whether it was found.

        That happens when an older backup was restored, or a second gateway uses the same keys. If the search in the
        newest blocks does not find it, nothing breaks: receipts wait for the next anchor.
        """
        if head == self._not_found:
            return False
        try:
            event = self._find(head)
        except NodeRefusedError as error:  # such as one that wants smaller ranges
            _log.warning("%s", error)
            event = None
        receipt = None if event is None else self._node.receipt(event.transaction)
        if event is None or receipt is None:
            self._not_found = head
            return False
        found = Transaction(
            id=0,
            chain_id=self._chain_id,
            contract=self._contract,
            purpose="anchor",
            size=head.size,
            root=head.root,
            state=State.MINED,
            sender=head.writer,
            nonce=None,
            raw=None,
            hash=event.transaction,
            prepared_ms=self._clock.now_ms(),
            block=receipt.block,
            block_hash=receipt.block_hash,
            gas_used=receipt.gas_used,
            cost=receipt.cost,
            note="found on the chain",
        )
        self._writer.submit(lambda connection: store.adopt(connection, found))
        _log.warning("the anchor of %d leaves was on the chain but not in this database; taken over", head.size)
        return True

    def _find(self, head: ChainHead) -> Log | None:
        last = self._node.head()
        topics = [[TRANSPARENCY_LOG.topic("Anchored")], [self._log_id]]
        for _ in range(_SEARCH_STEPS):
            first = max(0, last - _SEARCH_BLOCKS + 1)
            for event in reversed(self._node.logs(self._contract, topics, first, last)):
                if is_anchored(event, self._contract, self._log_id, head.size, head.root):
                    return event
            if first == 0:
                return None
            last = first - 1
        return None
