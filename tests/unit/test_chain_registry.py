"""The registry's mirror on a real chain: every event, reorganised blocks, and what ingest keeps through all of it."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from anvil import Contracts, SoftwareBoard, Wire
from eth_account.signers.local import LocalAccount
from trigpoint.chain import registry as chain_registry
from trigpoint.chain.abi import DEVICE_REGISTRY
from trigpoint.chain.errors import ChainUnavailableError
from trigpoint.chain.node import address_bytes
from trigpoint.chain.registration import as_struct, register, register_batch
from trigpoint.chain.registry import Progress, RegistrySync
from trigpoint.errors import OperatorError
from trigpoint.store.writer import Writer


class Mirror:
    """A mirror of the contracts' registry, and what it says."""

    def __init__(self, contracts: Contracts, path: Path, confirmations: int = 0) -> None:
        self.contracts = contracts
        self.writer = Writer(path)
        self.wire = Wire(contracts.chain.url)
        self.sync = self.make(confirmations)

    def make(self, confirmations: int, registry: bytes | None = None) -> RegistrySync:
        return RegistrySync(
            self.wire.web3,
            registry or self.contracts.registry,
            self.contracts.deployment.block,
            confirmations,
            self.writer,
            chain_id=self.contracts.chain_id,
        )

    def catch_up(self) -> Progress:
        for _ in range(50):
            progress = self.sync.step()
            if progress.caught_up:
                return progress
        raise AssertionError("it never caught up")

    def boards(self) -> dict[bytes, tuple[bytes, bool, int]]:
        """Return kid -> owner, active, next seq."""

        def read(connection: sqlite3.Connection) -> list[tuple[bytes, bytes, int, int]]:
            return connection.execute("SELECT kid, owner, active_until IS NULL, next_seq FROM boards").fetchall()

        return {kid: (owner, bool(active), seq) for kid, owner, active, seq in self.writer.submit(read)}

    def life(self, kid: bytes) -> tuple[int, int | None]:
        def read(connection: sqlite3.Connection) -> tuple[int, int | None]:
            row = connection.execute("SELECT active_from, active_until FROM boards WHERE kid = ?", (kid,)).fetchone()
            return (row[0], row[1])

        return self.writer.submit(read)


@pytest.fixture
def mirror(contracts: Contracts, tmp_path: Path) -> Iterator[Mirror]:
    made = Mirror(contracts, tmp_path / "gateway.db")
    yield made
    made.writer.close()


def owner(account: LocalAccount) -> bytes:
    return address_bytes(account.address)


def number(board: SoftwareBoard) -> int:
    return int.from_bytes(board.kid, "big")


def test_every_event_is_mirrored(mirror: Mirror) -> None:
    chain = mirror.contracts
    mine, theirs = chain.account, chain.chain.account()
    first, second, third, heir = (SoftwareBoard(100 + n) for n in range(4))
    register(chain.web3, mine, chain.registry, first.permit(chain))
    register_batch(chain.web3, mine, chain.registry, [second.permit(chain), third.permit(chain)])
    assert mirror.catch_up().events == 6, "three registrations, each of which mints a token"
    registered = owner(mine)
    assert mirror.boards() == {board.kid: (registered, True, 0) for board in (first, second, third)}

    chain.send(DEVICE_REGISTRY, chain.registry, "revoke", number(first))
    succeeded = chain.send(DEVICE_REGISTRY, chain.registry, "succeed", number(second), as_struct(heir.permit(chain)))
    chain.send(DEVICE_REGISTRY, chain.registry, "transferFrom", mine.address, theirs.address, number(third))
    mirror.catch_up()
    assert mirror.boards() == {
        first.kid: (registered, False, 0),
        second.kid: (registered, False, 0),
        third.kid: (owner(theirs), True, 0),
        heir.kid: (registered, True, 0),
    }
    block = chain.node.block(succeeded.block)
    assert block is not None
    assert mirror.life(second.kid)[1] == mirror.life(heir.kid)[0] == block.time
    for board in (first, second, third, heir):
        start, end = mirror.life(board.kid)
        for time in (start - 1, start, (end or start) - 1, end or start):
            (active,) = chain.node.call(DEVICE_REGISTRY, chain.registry, "activeAt", number(board), time)
            assert active == (start <= time and (end is None or time < end))


def test_confirmations_hold_events_back(contracts: Contracts, tmp_path: Path) -> None:
    mirror = Mirror(contracts, tmp_path / "patient.db", confirmations=3)
    board = SoftwareBoard(110)
    contracts.mine(3)
    register(contracts.web3, contracts.account, contracts.registry, board.permit(contracts))
    for on_top in range(4):
        mirror.catch_up()
        assert (board.kid in mirror.boards()) == (on_top == 3)
        contracts.mine()
    mirror.writer.close()


def test_a_reorganisation_takes_boards_back_and_keeps_what_they_have_sent(mirror: Mirror) -> None:
    chain = mirror.contracts
    stays, goes, comes = (SoftwareBoard(120 + n) for n in range(3))
    register(chain.web3, chain.account, chain.registry, stays.permit(chain))
    snapshot = chain.chain.rpc("evm_snapshot")
    register(chain.web3, chain.account, chain.registry, goes.permit(chain))
    chain.send(DEVICE_REGISTRY, chain.registry, "revoke", number(stays))
    mirror.catch_up()
    assert [active for _, active, _ in (mirror.boards()[stays.kid], mirror.boards()[goes.kid])] == [False, True]
    mirror.writer.submit(
        lambda connection: connection.execute(
            "UPDATE boards SET next_seq = 7, last_entry = ?, flagged = 1", (b"\x07" * 32,)
        )
    )

    assert chain.chain.rpc("evm_revert", snapshot)
    assert not mirror.sync.step().caught_up, "a shorter chain is no reason to act yet"
    register(chain.web3, chain.account, chain.registry, comes.permit(chain))
    chain.mine(3)
    mirror.catch_up()
    assert {kid: (active, seq) for kid, (_, active, seq) in mirror.boards().items()} == {
        stays.kid: (True, 7),
        goes.kid: (False, 7),
        comes.kid: (True, 0),
    }
    assert mirror.life(goes.kid)[0] == mirror.life(goes.kid)[1], "it was active at no time"

    register(chain.web3, chain.account, chain.registry, goes.permit(chain))
    mirror.catch_up()
    assert mirror.boards()[goes.kid][1:] == (True, 7), "registered after all, its seq goes on"
    kept = mirror.writer.submit(
        lambda connection: connection.execute(
            "SELECT last_entry, flagged FROM boards WHERE kid = ?", (goes.kid,)
        ).fetchone()
    )
    assert kept == (b"\x07" * 32, 1)


def test_another_registry_in_the_configuration_replaces_the_mirror(mirror: Mirror) -> None:
    chain = mirror.contracts
    board = SoftwareBoard(130)
    register(chain.web3, chain.account, chain.registry, board.permit(chain))
    mirror.catch_up()
    mirror.sync = mirror.make(0, registry=b"\x55" * 20)
    mirror.catch_up()
    assert not mirror.boards()[board.kid][1]


def test_ranges_are_bounded_and_shrink_for_a_node_that_refuses_more(
    mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = mirror.contracts
    monkeypatch.setattr(chain_registry, "LARGEST_RANGE", 64)
    mirror.sync = mirror.make(0)
    boards = [SoftwareBoard(140 + n) for n in range(3)]
    for board in boards:
        register(chain.web3, chain.account, chain.registry, board.permit(chain))
        chain.mine(90)
    asked: list[int] = []

    def refuse(method: str, parameters: Any, response: Any) -> Any:
        if method != "eth_getLogs":
            return response
        span = int(parameters[0]["toBlock"], 16) - int(parameters[0]["fromBlock"], 16) + 1
        asked.append(span)
        if span > 10:
            return {"jsonrpc": "2.0", "id": 1, "error": {"code": -32005, "message": "query returns too many results"}}
        return response

    mirror.wire.after = refuse
    mirror.catch_up()
    assert set(mirror.boards()) == {board.kid for board in boards}
    assert asked[0] == 64
    assert max(asked[10:]) <= 10


def test_a_node_that_fails_half_way_changes_nothing(mirror: Mirror) -> None:
    chain = mirror.contracts
    board = SoftwareBoard(150)
    register(chain.web3, chain.account, chain.registry, board.permit(chain))
    requests_of_a_step: list[str] = []
    mirror.wire.before = lambda method, parameters: requests_of_a_step.append(method)
    probe = Mirror(chain, mirror.writer._path.with_name("probe.db"))
    probe.wire.before = mirror.wire.before
    probe.catch_up()
    probe.writer.close()
    for failing in range(len(requests_of_a_step)):
        left = failing

        def fail(method: str, parameters: Any) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise requests.ReadTimeout

        mirror.wire.before = fail
        with pytest.raises(ChainUnavailableError, match="did not answer"):
            mirror.sync.step()
        assert mirror.boards() == {}
    mirror.wire.before = lambda method, parameters: None
    mirror.catch_up()
    assert mirror.boards()[board.kid][1]


def test_a_chain_that_changes_while_it_is_read_is_read_again(mirror: Mirror) -> None:
    chain = mirror.contracts
    board = SoftwareBoard(160)
    snapshot = chain.chain.rpc("evm_snapshot")
    register(chain.web3, chain.account, chain.registry, board.permit(chain))
    chain.mine(2)
    mirror.catch_up()
    chain.mine(2)
    reorganised = False

    def reorganise(method: str, parameters: Any, response: Any) -> Any:
        nonlocal reorganised
        if method == "eth_getLogs" and not reorganised:
            reorganised = True
            assert chain.chain.rpc("evm_revert", snapshot)
            chain.mine(20)
        return response

    mirror.wire.after = reorganise
    with pytest.raises(ChainUnavailableError, match="changed while"):
        mirror.sync.step()
    mirror.catch_up()
    assert not mirror.boards()[board.kid][1]


def test_a_node_that_switches_to_another_chain_takes_no_board_away(mirror: Mirror) -> None:
    chain = mirror.contracts
    board = SoftwareBoard(165)
    register(chain.web3, chain.account, chain.registry, board.permit(chain))
    mirror.catch_up()

    def elsewhere(method: str, parameters: Any, response: Any) -> Any:
        match method:
            case "eth_chainId":
                return {**response, "result": "0x1"}
            case "eth_getBlockByNumber":
                return {**response, "result": {**response["result"], "hash": "0x" + "77" * 32}}
        return response

    mirror.wire.after = elsewhere
    with pytest.raises(OperatorError, match="is on chain 1, not 31337"):
        mirror.sync.step()
    assert mirror.boards()[board.kid][1]


def test_a_node_that_invents_a_board_is_not_believed(mirror: Mirror) -> None:
    chain = mirror.contracts
    register(chain.web3, chain.account, chain.registry, SoftwareBoard(170).permit(chain))

    def forge(method: str, parameters: Any, response: Any) -> Any:
        if method == "eth_getLogs":
            for entry in response["result"]:
                if len(entry["topics"]) == 3:
                    entry["topics"][1] = "0x" + "66" * 32
        return response

    mirror.wire.after = forge
    with pytest.raises(ChainUnavailableError, match="wrong key"):
        mirror.sync.step()
    assert mirror.boards() == {}
