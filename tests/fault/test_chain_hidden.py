"""A node that leaves out events of the registry: what the contract itself says comes out within an hour."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from anvil import Contracts, SoftwareBoard, Wire
from trigpoint.chain.abi import DEVICE_REGISTRY
from trigpoint.chain.crosscheck import MOST_AT_ONCE, ROUND_S, CrossCheck
from trigpoint.chain.errors import ChainUnavailableError
from trigpoint.chain.node import Node
from trigpoint.chain.registration import register
from trigpoint.chain.registry import SAVE_EVERY_S, RegistrySync
from trigpoint.store import registry as store
from trigpoint.store.registry import Registered
from trigpoint.store.writer import Writer
from web3 import Web3


class Mirror:
    """A mirror with one confirmation behind a node that may hide events, and a clock that a test sets."""

    def __init__(self, contracts: Contracts, path: Path) -> None:
        self.contracts = contracts
        self.now = 1000.0
        self.writer = Writer(path)
        self.wire = Wire(contracts.chain.url)
        self.hidden: set[str] = set()
        self.wire.after = self.hide
        self.start()

    def start(self) -> None:
        self.sync = RegistrySync(
            self.wire.web3,
            self.contracts.registry,
            self.contracts.deployment.block,
            1,
            self.writer,
            chain_id=self.contracts.chain_id,
            monotonic=lambda: self.now,
        )

    def hide(self, method: str, parameters: Any, response: Any) -> Any:
        if method != "eth_getLogs":
            return response
        shown = [entry for entry in response["result"] if entry["topics"][0] not in self.hidden]
        return {**response, "result": shown}

    def rounds(self, number: int = 1) -> None:
        """Let the time for whole rounds pass, with a block every minute."""
        for _ in range(int(number * ROUND_S / 60) + 2):
            self.now += 60
            self.contracts.mine()
            self.sync.step()
            self.sync.cross_check()

    def active(self) -> set[bytes]:
        rows = self.writer.submit(
            lambda connection: connection.execute("SELECT kid FROM boards WHERE active_until IS NULL").fetchall()
        )
        return {kid for (kid,) in rows}


@pytest.fixture
def mirror(contracts: Contracts, tmp_path: Path) -> Iterator[Mirror]:
    made = Mirror(contracts, tmp_path / "gateway.db")
    yield made
    made.writer.close()


def topic(event: str) -> str:
    return "0x" + DEVICE_REGISTRY.topic(event).hex()


def enrolled(mirror: Mirror, numbers: range) -> list[SoftwareBoard]:
    boards = [SoftwareBoard(number) for number in numbers]
    chain = mirror.contracts
    for board in boards:
        register(chain.web3, chain.account, chain.registry, board.permit(chain))
    return boards


def test_a_hidden_revocation_comes_out(mirror: Mirror) -> None:
    stays, goes = enrolled(mirror, range(500, 502))
    mirror.rounds()
    assert mirror.active() == {stays.kid, goes.kid}
    mirror.hidden = {topic("DeviceRevoked")}
    chain = mirror.contracts
    number = int.from_bytes(goes.kid, "big")
    chain.send(DEVICE_REGISTRY, chain.registry, "revoke", number)
    mirror.rounds()
    assert mirror.active() == {stays.kid}
    (_, until, _, _) = chain.node.call(DEVICE_REGISTRY, chain.registry, "devices", number)
    row = mirror.writer.submit(
        lambda connection: connection.execute("SELECT active_until FROM boards WHERE kid = ?", (goes.kid,)).fetchone()
    )
    assert row == (until,), "at the time that the contract says"


def test_a_hidden_registration_comes_out_by_the_owners_count(mirror: Mirror) -> None:
    (first,) = enrolled(mirror, range(510, 511))
    mirror.rounds()
    mirror.hidden = {topic("DeviceRegistered"), topic("Transfer")}
    (second,) = enrolled(mirror, range(511, 512))
    mirror.sync.step()
    mirror.contracts.mine(2)
    mirror.sync.step()
    assert mirror.active() == {first.kid}
    mirror.hidden = set()  # the next node
    mirror.rounds()
    assert mirror.active() == {first.kid, second.kid}


def test_what_comes_in_order_raises_no_doubt(mirror: Mirror, caplog: pytest.LogCaptureFixture) -> None:
    """Revocations between an answer and the mirror's reaching it are no contradiction."""
    boards = enrolled(mirror, range(520, 526))
    chain = mirror.contracts
    for board in boards:
        mirror.now += 60
        mirror.sync.step()
        mirror.sync.cross_check()
        chain.send(DEVICE_REGISTRY, chain.registry, "revoke", int.from_bytes(board.kid, "big"))
        mirror.now += 60
        mirror.sync.cross_check()
        chain.mine()
        mirror.sync.step()
        mirror.sync.cross_check()
    mirror.rounds()
    assert mirror.active() == set()
    assert not caplog.records


def test_a_forged_revocation_is_taken_back(mirror: Mirror) -> None:
    (board,) = enrolled(mirror, range(530, 531))
    mirror.rounds()
    at = mirror.writer.submit(store.cursor)
    assert at is not None
    mirror.writer.submit(lambda connection: store.apply(connection, [store.Ended(board.kid, 1)], at))
    mirror.rounds()
    assert mirror.active() == {board.kid}


def test_a_node_that_denies_a_board_takes_it_not_away(mirror: Mirror) -> None:
    (board,) = enrolled(mirror, range(540, 541))
    mirror.rounds()
    devices = "0x" + DEVICE_REGISTRY.call("devices", 0)[:4].hex()

    def deny(method: str, parameters: Any, response: Any) -> Any:
        if method == "eth_call" and parameters[0].get("data", "").startswith(devices):
            return {**response, "result": "0x" + "00" * 128}
        return response

    mirror.wire.after = deny
    with pytest.raises(ChainUnavailableError, match="ask another"):
        mirror.rounds(2)
    assert mirror.active() == {board.kid}


def test_blocks_without_events_wear_no_disk(mirror: Mirror) -> None:
    enrolled(mirror, range(550, 551))
    mirror.contracts.mine()
    mirror.sync.step()
    first = mirror.writer.submit(store.cursor)
    for _ in range(5):
        mirror.contracts.mine()
        mirror.now += SAVE_EVERY_S / 10
        assert mirror.sync.step().caught_up
    assert mirror.writer.submit(store.cursor) == first
    mirror.now += SAVE_EVERY_S
    mirror.contracts.mine()
    reached = mirror.sync.step().block
    saved = mirror.writer.submit(store.cursor)
    assert saved is not None and saved.block == reached
    mirror.start()
    assert mirror.sync.step().block == reached


def test_however_many_boards_strangers_register_a_minute_asks_about_few(tmp_path: Path) -> None:
    with Writer(tmp_path / "gateway.db") as writer:
        events = [
            Registered(number.to_bytes(32, "big"), bytes(32), bytes(32), number.to_bytes(20, "big"), 1)
            for number in range(4_000)
        ]
        writer.submit(lambda connection: store.apply(connection, events, store.Cursor(1, bytes(20), 1, bytes(32))))
        check = CrossCheck(Node(Web3()), bytes(20), writer)
        turns = [check._turn() for _ in range(-(-8_000 // MOST_AT_ONCE))]
    assert {len(turn) for turn in turns} <= {MOST_AT_ONCE, 8_000 % MOST_AT_ONCE}
    assert len({subject for turn in turns for subject in turn}) == 8_000, "and all have their turn"
