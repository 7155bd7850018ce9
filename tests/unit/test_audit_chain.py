"""The audit's checks on the chain, on a real one."""

from dataclasses import replace

import pytest
from anvil import Wire
from publishedlog import MemorySource, entries, published
from samples import LOG_KEY, MemoryTiles
from trigpoint.audit.auditor import GRACE_S, Auditor
from trigpoint.audit.report import Report
from trigpoint.chain.abi import TRANSPARENCY_LOG
from trigpoint.chain.client import open_node
from trigpoint.chain.node import address_bytes
from trigpoint.log import checkpoint, tree
from trigpoint.log.merkle import leaf_hashes, verify_consistency
from trigpoint.wire.trust import Trust

LOG = entries(700)
CHECKS = ("chain", "log on chain", "anchored head")


@pytest.fixture
def trust(contracts) -> Trust:
    """The trust file of a log that is open on the chain."""
    contracts.send(TRANSPARENCY_LOG, contracts.log, "open", LOG_KEY)
    log_id = checkpoint.log_id(address_bytes(contracts.account.address), LOG_KEY)
    return Trust(contracts.chain_id, contracts.registry, contracts.log, log_id, LOG_KEY)


def anchor(contracts, trust: Trust, logged: list[bytes]) -> None:
    """Anchor a log's head; the first takes any root."""
    root = tree.append(MemoryTiles(), 0, leaf_hashes(logged)).root
    contracts.send(TRANSPARENCY_LOG, contracts.log, "anchor", trust.log_id, len(logged), root, [])


def audit(web3, trust: Trust, size: int = 700, logged: list[bytes] = LOG, files_trust: Trust | None = None) -> Report:
    source = MemorySource(published(logged, size, files_trust or trust))
    return Auditor(source, trust, web3=web3).run()


def statuses(report: Report) -> dict[str, str]:
    return {check.name: check.status for check in report.checks if check.name in CHECKS}


def detail(report: Report, name: str) -> str:
    return next(check.detail for check in report.checks if check.name == name)


ALL_OK = dict.fromkeys(CHECKS, "ok")


def test_a_log_that_keeps_to_the_chain(contracts, trust) -> None:
    report = audit(contracts.web3, trust)
    assert report.passed and statuses(report) == ALL_OK
    assert "Nothing is anchored yet" in detail(report, "anchored head")
    anchor(contracts, trust, LOG[:500])
    report = audit(contracts.web3, trust)
    assert report.passed and statuses(report) == ALL_OK and "500 leaves" in detail(report, "anchored head")
    assert report.anchored is not None and report.anchored.size == 500
    assert report.anchored.writer == address_bytes(contracts.account.address)
    assert statuses(audit(contracts.web3, trust, 500)) == ALL_OK


@pytest.mark.parametrize("size", [300, 500, 700])
def test_a_log_that_contradicts_the_chain(contracts, trust, size) -> None:
    """Evidence binds the other root to the signed head, for anybody who asks the chain for the anchored one."""
    anchor(contracts, trust, entries(300, b"another ", 299))
    report = audit(contracts.web3, trust, size)
    assert not report.passed and statuses(report) == {**ALL_OK, "anchored head": "failed"}
    assert report.evidence is not None
    content = report.evidence.content
    newer = checkpoint.verify(content["newer"]["checkpoint"], trust.log_id, trust.log_key)
    root = bytes.fromhex(content["root_of_newer_at_that_size"])
    proof = [bytes.fromhex(node) for node in content["consistency_proof"]]
    assert verify_consistency(300, root, newer.size, newer.root, proof)
    assert content["anchored"]["size"] == 300 and content["anchored"]["root"] != root.hex()


def test_a_false_size_on_the_chain_is_seen(contracts, trust) -> None:
    """A head of 3 leaves that claims another size is no prefix of the log, though its root is one's root."""
    root = tree.append(MemoryTiles(), 0, leaf_hashes(LOG[:3])).root
    contracts.send(TRANSPARENCY_LOG, contracts.log, "anchor", trust.log_id, 4, root, [])
    assert statuses(audit(contracts.web3, trust))["anchored head"] == "failed"


def test_a_log_that_shows_less_than_it_anchored(contracts, trust) -> None:
    anchor(contracts, trust, LOG[:500])
    report = audit(contracts.web3, trust, 400)
    assert report.passed and statuses(report)["anchored head"] == "skipped"
    contracts.chain.rpc("evm_increaseTime", GRACE_S + 1)
    contracts.mine()
    report = audit(contracts.web3, trust, 400)
    assert not report.passed and "withholds" in detail(report, "anchored head")


def test_another_log_key_registry_contract_or_chain(contracts, trust) -> None:
    other_id = checkpoint.log_id(bytes(20), LOG_KEY)
    for change, failed, message in (
        ({"chain_id": 1}, "chain", "31337"),
        ({"log_id": other_id}, "log on chain", "knows no such log"),
        ({"transparency_log": b"\x11" * 20}, "log on chain", "no contract"),
        ({"transparency_log": contracts.registry}, "log on chain", ""),
        ({"device_registry": b"\x11" * 20}, "log on chain", "another DeviceRegistry"),
    ):
        changed = replace(trust, **change)
        report = audit(contracts.web3, changed)
        assert not report.passed and statuses(report)[failed] == "failed" and message in detail(report, failed)
        assert statuses(report)["anchored head"] == "skipped"
    contracts.send(TRANSPARENCY_LOG, contracts.log, "open", bytes(31) + b"\x07")
    id_of_other_key = checkpoint.log_id(address_bytes(contracts.account.address), bytes(31) + b"\x07")
    report = audit(contracts.web3, replace(trust, log_id=id_of_other_key))
    assert "another key" in detail(report, "log on chain")


def test_a_node_that_names_another_opener(contracts, trust) -> None:
    """The log id is bound to its opener, so nobody needs to believe the node that it is this contract's log."""
    wire = Wire(contracts.chain.url)
    asked = "0x" + TRANSPARENCY_LOG.call("logs", trust.log_id).hex()

    def other(method, parameters, response):
        if method == "eth_call" and parameters[0]["data"] == asked:
            response = {**response, "result": "0x" + "00" * 12 + "11" * 20 + response["result"][66:]}
        return response

    wire.after = other
    report = audit(wire.web3, trust)
    assert not report.passed and "does not follow" in detail(report, "log on chain")


def test_a_node_that_is_away_is_no_fault_of_the_log(trust) -> None:
    report = audit(open_node("http://127.0.0.1:1/token"), trust)
    assert report.passed and statuses(report) == dict.fromkeys(CHECKS, "skipped")
    assert "token" not in str(report.as_dict())
