"""What the chain says about the demo's log, asked by web3 alone."""

from __future__ import annotations

from dataclasses import dataclass

from trigpoint.chain.abi import TRANSPARENCY_LOG
from web3 import Web3


@dataclass(frozen=True)
class AnchoredHead:
    """One head of the log that the chain has accepted, and the gas that it cost."""

    size: int
    root: bytes
    gas_used: int


def anchored_heads(web3: Web3, contract: str, log_id: bytes) -> list[AnchoredHead]:
    """Return all heads of a log that are on the chain, oldest first."""
    events = web3.eth.get_logs(
        {
            "address": Web3.to_checksum_address(contract),
            "topics": ["0x" + TRANSPARENCY_LOG.topic("Anchored").hex(), "0x" + log_id.hex()],
            "fromBlock": 0,
        }
    )
    heads = []
    for event in events:
        data = bytes(event["data"])
        receipt = web3.eth.get_transaction_receipt(event["transactionHash"])
        heads.append(AnchoredHead(int.from_bytes(data[:32], "big"), data[32:64], receipt["gasUsed"]))
    return heads
