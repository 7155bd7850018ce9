"""The chains that `trigpoint gateway init` offers, as plain data.

Nobody has put Trigpoint's contracts on a public chain for all to use, so none of these names their addresses: after the
choice comes `trigpoint chain deploy`, or the addresses from somebody whose contracts you want to share.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Preset:
    """One chain, and the settings that suit it.

    Attributes:
        name: the word for `--chain`.
        title: for people.
        chain_id: EIP-155 chain id.
        coin: the symbol of what gas is paid in.
        test: whether its coin is worth nothing.
        rpc_url: a public node that asks for no key. All of these limit how much one may ask; see `rpc_source`.
        rpc_source: who documents that node.
        confirmations: blocks on top of a block before it is believed; `finality` says why so many.
        finality: how this chain makes a block last, in a sentence.
        block_s: seconds between two blocks.
        poll_s: seconds between two looks at the chain.
        max_fee_gwei: most to be paid for one gas, in billionths of the coin: well above what is usual there.
        max_spend_per_day: most to be spent in a day, in the coin, as decimal text.
        p256: whether the precompile of EIP-7951 (first RIP-7212) at 0x100 checks a board's signature. Without it the
            contracts do so in Solidity: nothing changes but the gas of an enrolment and of `verifyStatement`.
        explorer: the start of a transaction's page: the hash follows. Empty if there is none.
    """

    name: str
    title: str
    chain_id: int
    coin: str
    test: bool
    rpc_url: str
    rpc_source: str
    confirmations: int
    finality: str
    block_s: float
    poll_s: int
    max_fee_gwei: int
    max_spend_per_day: str
    p256: bool
    explorer: str

    def transaction_url(self, transaction: bytes) -> str:
        """Return the address of a transaction's page (its hash is 32 bytes); empty if the chain has no explorer."""
        return f"{self.explorer}0x{transaction.hex()}" if self.explorer else ""


LOCAL: Final = Preset(
    name="local",
    title="A local chain (Anvil)",
    chain_id=31337,
    coin="ETH",
    test=True,
    rpc_url="http://127.0.0.1:8545",
    rpc_source="https://getfoundry.sh/anvil/reference/anvil/",
    confirmations=0,
    finality="One node decides, so a block is final at once.",
    block_s=1,
    poll_s=1,
    max_fee_gwei=500,
    max_spend_per_day="1",
    p256=True,
    explorer="",
)

PRESETS: Final = (
    Preset(
        name="ethereum",
        title="Ethereum",
        chain_id=1,
        coin="ETH",
        test=False,
        rpc_url="https://ethereum-rpc.publicnode.com",
        rpc_source="https://ethereum.org/developers/tools/publicnode-allnodes/",
        confirmations=64,
        finality="Two epochs of 32 blocks finalise a block, after some thirteen minutes.",
        block_s=12,
        poll_s=12,
        max_fee_gwei=100,
        max_spend_per_day="0.05",
        p256=True,
        explorer="https://etherscan.io/tx/",
    ),
    Preset(
        name="sepolia",
        title="Sepolia, the test network of Ethereum",
        chain_id=11155111,
        coin="ETH",
        test=True,
        rpc_url="https://ethereum-sepolia-rpc.publicnode.com",
        rpc_source="https://ethereum.org/developers/tools/publicnode-allnodes/",
        confirmations=12,
        finality="As on Ethereum; a trial need not wait for it.",
        block_s=12,
        poll_s=12,
        max_fee_gwei=500,
        max_spend_per_day="0.5",
        p256=True,
        explorer="https://sepolia.etherscan.io/tx/",
    ),
    Preset(
        name="base",
        title="Base",
        chain_id=8453,
        coin="ETH",
        test=False,
        rpc_url="https://mainnet.base.org",
        rpc_source="https://docs.base.org/base-chain/network-information/",
        confirmations=150,
        finality="A block is on Ethereum after some two minutes, and then lasts as long as that; five are waited for.",
        block_s=2,
        poll_s=6,
        max_fee_gwei=10,
        max_spend_per_day="0.005",
        p256=True,
        explorer="https://basescan.org/tx/",
    ),
    Preset(
        name="base-sepolia",
        title="Base Sepolia, the test network of Base",
        chain_id=84532,
        coin="ETH",
        test=True,
        rpc_url="https://sepolia.base.org",
        rpc_source="https://docs.base.org/base-chain/network-information/",
        confirmations=15,
        finality="As on Base; a trial need not wait for it.",
        block_s=2,
        poll_s=6,
        max_fee_gwei=100,
        max_spend_per_day="0.05",
        p256=True,
        explorer="https://sepolia.basescan.org/tx/",
    ),
    Preset(
        name="iotex",
        title="IoTeX",
        chain_id=4689,
        coin="IOTX",
        test=False,
        rpc_url="https://babel-api.mainnet.iotex.io",
        rpc_source="https://docs.iotex.io/blockchain/build/web3-development/rpc-endpoints",
        confirmations=3,
        finality="Delegates agree on a block before it is made, so none leaves; the three are for nodes that lag.",
        block_s=2.5,
        poll_s=5,
        max_fee_gwei=4_000,
        max_spend_per_day="20",
        p256=False,
        explorer="https://iotexscan.io/tx/",
    ),
    Preset(
        name="iotex-testnet",
        title="The test network of IoTeX",
        chain_id=4690,
        coin="IOTX",
        test=True,
        rpc_url="https://babel-api.testnet.iotex.io",
        rpc_source="https://docs.iotex.io/blockchain/build/web3-development/rpc-endpoints",
        confirmations=3,
        finality="As on IoTeX.",
        block_s=2.5,
        poll_s=5,
        max_fee_gwei=4_000,
        max_spend_per_day="20",
        p256=False,
        explorer="https://testnet.iotexscan.io/tx/",
    ),
    LOCAL,
)
"""All of them, the order in which they are offered."""

BY_NAME: Final = {preset.name: preset for preset in PRESETS}
BY_CHAIN_ID: Final = {preset.chain_id: preset for preset in PRESETS}
