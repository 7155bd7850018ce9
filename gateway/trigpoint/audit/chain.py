"""What the chain says of the log: who it is, and its newest anchored head."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from web3 import Web3

from trigpoint.chain.abi import TRANSPARENCY_LOG
from trigpoint.chain.errors import ChainUnavailableError, RevertedError
from trigpoint.chain.node import Node, address_bytes, checksum
from trigpoint.log import checkpoint
from trigpoint.verify import Check
from trigpoint.wire.trust import Trust

CHAIN: Final = "chain"
LOG_ON_CHAIN: Final = "log on chain"
ANCHORED_HEAD: Final = "anchored head"


@dataclass(frozen=True)
class AnchoredHead:
    """The log's newest head in the TransparencyLog.

    Attributes:
        writer: address that may anchor, 20 bytes.
        size: leaves; 0 before the first anchor.
        root: 32 bytes.
        age_s: seconds from the block that anchored it to the newest block, by the chain's own clock.
    """

    writer: bytes
    size: int
    root: bytes
    age_s: int


def ask(web3: Web3, trust: Trust) -> tuple[list[Check], AnchoredHead | None]:
    """Make the checks `chain` and `log on chain`, and fetch the newest head if both hold. Never raises.

    It is all the node's word: a node that does not answer leaves a check skipped.

    Args:
        web3: a node; see `client.open_node`.
        trust: the trust file.
    """
    node = Node(web3)
    chain = _made(CHAIN, lambda: _chain(node, trust))
    if chain.status != "ok":
        why = "Not checked: see the check before it."
        return [chain, Check(LOG_ON_CHAIN, "skipped", why), Check(ANCHORED_HEAD, "skipped", why)], None
    known = _made(LOG_ON_CHAIN, lambda: _log(node, trust))
    if known.status != "ok":
        return [chain, known, Check(ANCHORED_HEAD, "skipped", "Not checked: see the check before it.")], None
    try:
        return [chain, known], _head(node, trust)
    except (ChainUnavailableError, RevertedError) as error:
        return [chain, known, Check(ANCHORED_HEAD, "skipped", f"Not checked: {error}")], None


def _made(name: str, check: Callable[[], Check]) -> Check:
    try:
        return check()
    except ChainUnavailableError as error:
        return Check(name, "skipped", f"Not checked: {error}")
    except RevertedError as error:
        return Check(name, "failed", str(error))


def _chain(node: Node, trust: Trust) -> Check:
    found = node.chain_id()
    if found != trust.chain_id:
        return Check(CHAIN, "failed", f"The node is on chain {found}, but the trust file names {trust.chain_id}.")
    return Check(CHAIN, "ok", f"The node is on chain {found}.")


def _log(node: Node, trust: Trust) -> Check:
    if not node.has_code(trust.transparency_log):
        return Check(LOG_ON_CHAIN, "failed", "There is no contract at the trust file's TransparencyLog.")
    opener, log_key = node.call(TRANSPARENCY_LOG, trust.transparency_log, "logs", trust.log_id)
    if int(opener, 16) == 0:
        return Check(LOG_ON_CHAIN, "failed", "The TransparencyLog knows no such log.")
    if log_key != trust.log_key:
        return Check(LOG_ON_CHAIN, "failed", f"The TransparencyLog has another key for this log: {log_key.hex()}.")
    if checkpoint.log_id(address_bytes(opener), log_key) != trust.log_id:
        return Check(
            LOG_ON_CHAIN, "failed", "The log id does not follow from opener and key: it is no TransparencyLog."
        )
    (registry,) = node.call(TRANSPARENCY_LOG, trust.transparency_log, "registry")
    if address_bytes(registry) != trust.device_registry:
        return Check(LOG_ON_CHAIN, "failed", f"The TransparencyLog goes by another DeviceRegistry: {registry}.")
    return Check(LOG_ON_CHAIN, "ok", f"Opened by {opener} with the trust file's key.")


def _head(node: Node, trust: Trust) -> AnchoredHead:
    newest = node.block()
    if newest is None:
        raise ChainUnavailableError(f"the node at {node.place} has no newest block; ask another node")
    writer, size, time, root = node.call(
        TRANSPARENCY_LOG, trust.transparency_log, "heads", trust.log_id, block=newest.number
    )
    return AnchoredHead(address_bytes(writer), size, root, max(0, newest.time - time))


def describe(head: AnchoredHead) -> str:
    """Return who may write, for a sentence."""
    return f"{checksum(head.writer)} may anchor" if any(head.writer) else "nobody may anchor"
