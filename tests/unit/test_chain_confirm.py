"""The four checks on the chain: all hold for an honest receipt, and each fails for its own reason alone."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import requests
import samples
from anvil import Contracts, SoftwareBoard, Wire
from trigpoint.chain.abi import DEVICE_REGISTRY
from trigpoint.chain.anchoring import Anchorer
from trigpoint.chain.client import open_node
from trigpoint.chain.confirm import confirm
from trigpoint.chain.node import address_bytes
from trigpoint.chain.registration import register
from trigpoint.chain.submitter import Limits
from trigpoint.clock import SystemClock
from trigpoint.log import checkpoint
from trigpoint.store import chain as store
from trigpoint.store import log
from trigpoint.store.writer import Writer
from trigpoint.wire import receipt, statement
from trigpoint.wire.receipt import ReceiptFile
from trigpoint.wire.trust import Trust
from web3 import Web3

NAMES = ["chain", "log on chain", "anchor on chain", "registry"]


@dataclass
class Anchored:
    """One statement of a registered board, anchored on the chain, and what a verifier is given."""

    contracts: Contracts
    board: SoftwareBoard
    receipt: ReceiptFile
    trust: Trust

    def check(self, web3: Web3 | None = None, **changes: Any) -> dict[str, str]:
        """Confirm, with some fields of the trust file changed; return the status of each check."""
        checks = confirm(web3 or self.contracts.web3, self.receipt, replace(self.trust, **changes))
        assert [check.name for check in checks] == NAMES
        assert all(check.detail and "\n" not in check.detail for check in checks)
        return {check.name: check.status for check in checks}

    def with_anchor(self, **changes: Any) -> "Anchored":
        assert self.receipt.anchor is not None
        anchor = replace(self.receipt.anchor, **changes)
        return replace(self, receipt=replace(self.receipt, anchor=anchor))


@pytest.fixture
def anchored(contracts: Contracts, tmp_path: Path) -> Iterator[Anchored]:
    board, account = SoftwareBoard(200), contracts.chain.account()
    register(contracts.web3, contracts.account, contracts.registry, board.permit(contracts))
    raw = statement.build(
        kid=board.kid,
        seq=0,
        prev=bytes(32),
        oldest=0,
        base_time=1_700_000_000,
        readings=samples.READINGS,
        sign=lambda message: samples.keys.sign(board.private, message),
    )
    log_id = checkpoint.log_id(address_bytes(account.address), samples.LOG_KEY)
    with Writer(tmp_path / "gateway.db") as writer:
        writer.submit(lambda connection: log.append(connection, [hashlib.sha256(raw).digest()]))
        anchorer = Anchorer(
            contracts.web3,
            writer,
            signer=account,
            chain_id=contracts.chain_id,
            contract=contracts.log,
            log_id=log_id,
            log_key=samples.LOG_KEY,
            limits=Limits(confirmations=0),
            every_s=0,
            clock=SystemClock(),
            publish=lambda size: None,
        )
        for _ in range(3):
            anchorer.step()
            contracts.mine()
        anchorer.step()
        anchor = writer.submit(store.latest_final_anchor)
    assert anchor is not None
    data = receipt.build(
        statement_raw=raw,
        board_key=board.public,
        log_id=log_id,
        size=1,
        index=0,
        path=[],
        root=anchor.root,
        anchor=anchor,
        sign=samples.LOG_PRIVATE.sign,
    )
    trust = Trust(contracts.chain_id, contracts.registry, contracts.log, log_id, samples.LOG_KEY)
    yield Anchored(contracts, board, receipt.parse(data), trust)


def all_but(status: str, *names: str) -> dict[str, str]:
    return {name: status if name in names else "ok" for name in NAMES}


def test_an_honest_receipt_passes(anchored: Anchored) -> None:
    assert set(anchored.check().values()) == {"ok"}


def test_a_node_of_another_chain(anchored: Anchored) -> None:
    assert anchored.check(chain_id=1) == {
        "chain": "failed",
        "log on chain": "skipped",
        "anchor on chain": "skipped",
        "registry": "skipped",
    }


@pytest.mark.parametrize("changes", [{"log_key": bytes(32)}, {"log_id": bytes(32)}, {"transparency_log": bytes(20)}])
def test_a_log_that_the_contract_does_not_know_like_that(anchored: Anchored, changes: dict[str, bytes]) -> None:
    found = anchored.check(**changes)
    assert (found["chain"], found["log on chain"]) == ("ok", "failed")
    if "log_key" in changes:
        assert found == all_but("failed", "log on chain")
    else:
        assert found["anchor on chain"] == "failed"


@pytest.mark.parametrize(
    "changes",
    [{"size": 2}, {"root": bytes(32)}, {"transaction": bytes(32)}, {"block": 1}, {"block": 10**9}],
    ids=["size", "root", "transaction", "older block", "no block"],
)
def test_an_anchor_that_is_not_on_the_chain(anchored: Anchored, changes: dict[str, Any]) -> None:
    found = anchored.with_anchor(**changes).check()
    assert found == {"chain": "ok", "log on chain": "ok", "anchor on chain": "failed", "registry": "skipped"}


def test_another_transaction_of_the_same_block_or_a_reverted_one(anchored: Anchored) -> None:
    contracts = anchored.contracts
    other = contracts.send(DEVICE_REGISTRY, contracts.registry, "revoke", int.from_bytes(anchored.board.kid, "big"))
    block = contracts.web3.eth.get_block(other.block)
    elsewhere = anchored.with_anchor(block=other.block, transaction=bytes(block["transactions"][0]))
    assert elsewhere.check()["anchor on chain"] == "failed"


def test_a_board_that_was_not_active_then(anchored: Anchored) -> None:
    stranger = anchored.receipt.statement._replace(kid=SoftwareBoard(201).kid)
    assert replace(anchored, receipt=replace(anchored.receipt, statement=stranger)).check() == all_but(
        "failed", "registry"
    )
    contracts = anchored.contracts
    contracts.chain.rpc("evm_increaseTime", 100)
    contracts.send(DEVICE_REGISTRY, contracts.registry, "revoke", int.from_bytes(anchored.board.kid, "big"))
    assert set(anchored.check().values()) == {"ok"}, "revoked later: it was active when it was anchored"


def test_a_registry_that_is_not_the_log_s_has_no_say(anchored: Anchored) -> None:
    """Else a trust file with the true log in it could name a registry that calls every board active."""
    yes_to_all = bytes([0xAA]) * 20
    code = "0x600160005260206000f3"  # mstore(0, 1), return(0, 32)
    anchored.contracts.chain.rpc("anvil_setCode", "0x" + yes_to_all.hex(), code)
    assert anchored.check(device_registry=yes_to_all) == all_but("failed", "registry")


def test_no_anchor_yet(anchored: Anchored) -> None:
    bare = replace(anchored, receipt=replace(anchored.receipt, anchor=None))
    assert bare.check() == all_but("skipped", "anchor on chain", "registry")


def test_a_node_that_is_away_from_the_first_or_a_later_question_on(anchored: Anchored) -> None:
    assert set(anchored.check(open_node("http://127.0.0.1:1")).values()) == {"skipped"}
    wire = Wire(anchored.contracts.chain.url)
    asked: list[str] = []
    wire.before = lambda method, parameters: asked.append(method)
    anchored.check(wire.web3)
    for failing in range(1, len(asked)):
        left = failing

        def fail(method: str, parameters: Any) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise requests.ConnectionError

        wire.before = fail
        found = list(anchored.check(wire.web3).values())
        assert found[0] == "ok"
        assert found[-1] == "skipped"
        assert "failed" not in found


def test_a_node_that_lies_about_one_answer(anchored: Anchored) -> None:
    wire = Wire(anchored.contracts.chain.url)
    for lie in (None, "0x", "0x00", [], {}, "nonsense", {"status": "0x1"}, 10**80):
        for place in range(12):
            left = place

            def answer(method: str, parameters: Any, response: Any, lie: object = lie) -> Any:
                nonlocal left
                if method == "eth_getCode":  # decides only which words go with a failure
                    return response
                left -= 1
                return {**response, "result": lie} if left == -1 else response

            wire.after = answer
            found = anchored.check(wire.web3)
            assert left >= 0 or set(found.values()) != {"ok"}, (lie, place, found)
