"""The four checks of a receipt that need a node of the chain (docs/protocol.md section 11)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from web3 import Web3

from trigpoint.chain.abi import DEVICE_REGISTRY, TRANSPARENCY_LOG
from trigpoint.chain.errors import ChainUnavailableError, RevertedError
from trigpoint.chain.node import Block, Node, address_bytes
from trigpoint.chain.submitter import is_anchored
from trigpoint.verify import Check
from trigpoint.wire.receipt import Anchor, ReceiptFile
from trigpoint.wire.trust import Trust
from trigpoint.words import counted

_Result = tuple[Literal["ok", "failed", "skipped"], str]


def confirm(web3: Web3, receipt: ReceiptFile, trust: Trust) -> list[Check]:
    """Make the checks `chain`, `log on chain`, `anchor on chain` and `registry`, in this order. Never raises.

    They are as good as the node's word: a check that the node does not answer is skipped, one that it contradicts has
    failed. Nothing is asked of a node on another chain.

    Args:
        web3: a node; see `client.open_node`.
        receipt: a file whose offline checks are made (`verify.verify_offline`).
        trust: the trust file.
    """
    node = Node(web3)
    chain = _made("chain", lambda: _chain(node, trust))
    if chain.status != "ok":
        why = (
            "Not checked: the node is on another chain."
            if chain.status == "failed"
            else "Not checked: the node did not answer."
        )
        return [chain, *(Check(name, "skipped", why) for name in ("log on chain", "anchor on chain", "registry"))]
    log = _made("log on chain", lambda: _log(node, trust))
    anchor = receipt.anchor
    if anchor is None:
        why = "Not checked: the receipt names no anchor yet."
        return [chain, log, Check("anchor on chain", "skipped", why), Check("registry", "skipped", why)]
    anchored = _made("anchor on chain", lambda: _anchor(node, anchor, trust))
    if anchored.status != "ok":
        why = "Not checked: the anchor was not found on the chain, so its time is not known."
        return [chain, log, anchored, Check("registry", "skipped", why)]
    registry = _made("registry", lambda: _registry(node, anchor, receipt.statement.kid, trust))
    return [chain, log, anchored, registry]


def _made(name: str, check: Callable[[], _Result]) -> Check:
    try:
        status, detail = check()
    except ChainUnavailableError as error:
        return Check(name, "skipped", f"Not checked: {error}")
    except RevertedError as error:
        return Check(name, "failed", str(error))
    return Check(name, status, detail)


def _chain(node: Node, trust: Trust) -> _Result:
    found = node.chain_id()
    if found != trust.chain_id:
        return "failed", f"The node is on chain {found}, but the trust file names {trust.chain_id}."
    return "ok", f"The node is on chain {found}."


def _log(node: Node, trust: Trust) -> _Result:
    if not node.has_code(trust.transparency_log):
        return "failed", "There is no contract at the trust file's TransparencyLog."
    opener, log_key = node.call(TRANSPARENCY_LOG, trust.transparency_log, "logs", trust.log_id)
    if int(opener, 16) == 0:
        return "failed", "The TransparencyLog knows no such log."
    if log_key != trust.log_key:
        return "failed", f"The TransparencyLog has another key for this log: {log_key.hex()}."
    return "ok", f"The log was opened by {opener} with the trust file's key."


def _anchor(node: Node, anchor: Anchor, trust: Trust) -> _Result:
    receipt = node.receipt(anchor.transaction)
    if receipt is None:
        return "failed", "The anchor's transaction is in no block."
    block = _block(node, receipt.block)
    if receipt.block != anchor.block or block.hash != receipt.block_hash:
        return "failed", f"The anchor's transaction is in block {receipt.block}, not {anchor.block}."
    if not receipt.succeeded:
        return "failed", "The anchor's transaction was reverted."
    anchored = (
        is_anchored(log, trust.transparency_log, trust.log_id, anchor.size, anchor.root) for log in receipt.logs
    )
    if not any(anchored):
        return (
            "failed",
            f"The anchor's transaction did not anchor this log at {counted(anchor.size, 'leaf')} with this root.",
        )
    return "ok", f"This root of {counted(anchor.size, 'leaf')} was anchored in block {anchor.block}."


def _registry(node: Node, anchor: Anchor, kid: bytes, trust: Trust) -> _Result:
    if not node.has_code(trust.device_registry):
        return "failed", "There is no contract at the trust file's DeviceRegistry."
    (named,) = node.call(TRANSPARENCY_LOG, trust.transparency_log, "registry")
    if address_bytes(named) != trust.device_registry:
        return "failed", f"The TransparencyLog goes by another DeviceRegistry than the trust file's: {named}."
    time = _block(node, anchor.block).time
    device = int.from_bytes(kid, "big")
    (active,) = node.call(DEVICE_REGISTRY, trust.device_registry, "activeAt", device, time)
    if not active:
        return "failed", "The board was not active in the DeviceRegistry when the head was anchored."
    return "ok", "The board was active in the DeviceRegistry when the head was anchored."


def _block(node: Node, number: int) -> Block:
    block = node.block(number)
    if block is None:
        raise ChainUnavailableError(f"the node at {node.place} does not have block {number}; ask another node")
    return block
