"""What the chain says about the demo's log, asked by web3 alone."""

from __future__ import annotations

from dataclasses import dataclass

from trigpoint.chain.abi import TRANSPARENCY_LOG
from web3 import Web3


@dataclass(frozen=True)
class AnchoredHead:
    """One head of the log that the chain has accepted.

    Attributes:
        size: leaves under it.
        root: its root, 32 bytes.
        gas_used: what it took.
        mined_at: the block's time, seconds since 1970 by the chain's clock.
    """

    size: int
    root: bytes
    gas_used: int
    mined_at: int


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
        mined_at = int(web3.eth.get_block(event["blockNumber"])["timestamp"])
        heads.append(AnchoredHead(int.from_bytes(data[:32], "big"), data[32:64], receipt["gasUsed"], mined_at))
    return heads
