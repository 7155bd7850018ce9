"""The part of a gateway that anchors, on a real chain, for tests that cut it, fool it and set its clock."""

import hashlib
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from anvil import Contracts, Crash, Wire
from eth_account.signers.local import LocalAccount
from trigpoint.chain.abi import TRANSPARENCY_LOG
from trigpoint.chain.anchoring import Anchorer
from trigpoint.chain.node import address_bytes
from trigpoint.chain.submitter import Limits
from trigpoint.log import checkpoint
from trigpoint.store import chain as store
from trigpoint.store import log
from trigpoint.store.chain import State, Transaction
from trigpoint.store.writer import Writer

LOG_KEY = hashlib.sha256(b"log key").digest()


class CountingWriter(Writer):
    """Calls a hook before each piece of work, as the wire does for each request."""

    hook: Callable[[], None] = staticmethod(lambda: None)

    def submit(self, work: Any) -> Any:
        self.hook()
        return super().submit(work)


@dataclass
class SetClock:
    ms: int = 1_700_000_000_000

    def now_ms(self) -> int:
        return self.ms


@dataclass
class Gateway:
    """The part of a gateway that anchors: a database, a wire to the node, and a clock that a test sets."""

    contracts: Contracts
    path: Path
    account: LocalAccount
    confirmations: int = 0
    every_s: int = 0
    max_fee_wei: int | None = None
    max_spend_wei: int | None = None
    reprice_after_s: int = 3600
    clock: SetClock = field(default_factory=SetClock)
    published: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.wire = Wire(self.contracts.chain.url)
        self.writer = CountingWriter(self.path)
        self.start()

    def start(self) -> None:
        """Start anew, as after a crash: nothing is left but the database."""
        self.wire.before = lambda method, parameters: None
        self.wire.after = lambda method, parameters, response: response
        self.writer.hook = lambda: None
        self.anchorer = Anchorer(
            self.wire.web3,
            self.writer,
            signer=self.account,
            chain_id=self.contracts.chain_id,
            contract=self.contracts.log,
            log_id=self.log_id,
            log_key=LOG_KEY,
            limits=Limits(
                confirmations=self.confirmations,
                max_fee_wei=self.max_fee_wei,
                max_spend_wei=self.max_spend_wei,
                reprice_after_s=self.reprice_after_s,
            ),
            every_s=self.every_s,
            clock=self.clock,
            publish=self.published.append,
            sleep=lambda seconds: None,
        )

    @property
    def log_id(self) -> bytes:
        return checkpoint.log_id(self.sender, LOG_KEY)

    @property
    def sender(self) -> bytes:
        return address_bytes(self.account.address)

    def grow(self, leaves: int, salt: bytes = b"") -> None:
        def work(connection: sqlite3.Connection) -> None:
            size = log.head(connection).size
            log.append(
                connection, [hashlib.sha256(salt + n.to_bytes(8, "big")).digest() for n in range(size, size + leaves)]
            )

        self.writer.submit(work)

    def run(self, steps: int = 6) -> None:
        """Let time pass: steps with a block after each."""
        for _ in range(steps):
            self.clock.ms += 1000
            self.anchorer.step()
            self.contracts.mine()
        self.anchorer.step()

    def run_until_final(self, size: int) -> None:
        """Let time pass until the anchor of `size` leaves is final."""
        for _ in range(10):
            self.anchorer.step()
            if (size, State.FINAL) in self.anchors():
                return
            self.contracts.mine()
        raise AssertionError("it never became final")

    def cut_after(self, moments: int) -> None:
        """Crash after so many of the moments at which a cut can tell: writes, and before and after a sending."""
        left = moments

        def cut(*_: object) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                raise Crash

        def cut_sending(method: str, *_: object) -> None:
            if method == "eth_sendRawTransaction":
                cut()

        def cut_after_sending(method: str, parameters: Any, response: Any) -> Any:
            cut_sending(method)
            return response

        self.wire.before, self.wire.after, self.writer.hook = cut_sending, cut_after_sending, cut

    def passes(self, seconds: float) -> None:
        """Let the clock go on."""
        self.clock.ms += int(seconds * 1000)

    def live(self) -> list[Transaction]:
        """The variants of the one transaction on its way, oldest first."""
        groups = self.writer.submit(lambda connection: store.live(connection, self.contracts.chain_id))
        assert len(groups) <= 1
        return groups[0] if groups else []

    def anchors(self) -> list[tuple[int, State]]:
        return [(row.size, row.state) for row in self.writer.submit(store.anchors)]

    def chain_head(self) -> int:
        _, size, _, _ = self.contracts.node.call(TRANSPARENCY_LOG, self.contracts.log, "heads", self.log_id)
        return int(size)

    def events(self, name: str) -> int:
        topics = [[TRANSPARENCY_LOG.topic(name)], [self.log_id]]
        return len(self.contracts.node.logs(self.contracts.log, topics, 0, self.contracts.node.head()))

    def transactions(self) -> int:
        return self.contracts.node.nonce(self.sender, pending=False)


@pytest.fixture
def gateway(contracts: Contracts, tmp_path: Path) -> Iterator[Gateway]:
    made = Gateway(contracts, tmp_path / "gateway.db", contracts.chain.account())
    yield made
    made.writer.close()
