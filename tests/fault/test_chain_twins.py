"""Two gateways with one key and one log, which should not be, where anything happens: wasteful, never wrong."""

import random
import sqlite3
from contextlib import suppress
from pathlib import Path

import pytest
from anvil import Contracts
from chaingateway import Gateway
from trigpoint.errors import OperatorError
from trigpoint.store import chain as store
from trigpoint.store.chain import InFlightError, State

PATIENCE_S = 30


def act(world: random.Random, chain: Contracts, twins: list[Gateway]) -> None:
    """Let one thing happen."""
    twin = world.choice(twins)
    match world.choice(("step", "step", "step", "step", "grow", "mine", "mine", "drop", "reorganise", "kill", "fee")):
        case "step":
            twin.passes(world.choice((1, PATIENCE_S)))
            # Each gets in the other's way: a nonce is gone, a head has grown, a transaction waits.
            with suppress(OperatorError, InFlightError):
                twin.anchorer.step()
        case "grow":
            for each in twins:
                each.grow(2)
        case "mine":
            chain.mine()
        case "drop":
            chain.chain.rpc("anvil_dropAllTransactions")
        case "reorganise":
            with suppress(RuntimeError):
                chain.chain.rpc("anvil_reorg", 1, [])
        case "kill":
            twin.start()
        case "fee":
            chain.chain.rpc("anvil_setNextBlockBaseFeePerGas", hex(world.choice((1, 3, 10)) * 10**9))


def live_through(contracts: Contracts, folder: Path, seed: int, steps: int) -> None:
    world = random.Random(seed)
    account = contracts.chain.account()
    first = Gateway(contracts, folder / f"{seed}-a.db", account, confirmations=2, reprice_after_s=PATIENCE_S)
    first.grow(1)
    first.run(6)
    with sqlite3.connect(first.path) as source, sqlite3.connect(folder / f"{seed}-b.db") as target:
        source.backup(target)
    second = Gateway(contracts, folder / f"{seed}-b.db", account, confirmations=2, reprice_after_s=PATIENCE_S)
    twins = [first, second]
    contracts.automine(False)
    for _ in range(steps):
        act(world, contracts, twins)
    contracts.automine(True)
    contracts.chain.rpc("anvil_setNextBlockBaseFeePerGas", hex(10**9))
    for each in twins:
        each.grow(1)
    for _ in range(40):
        for each in twins:
            each.passes(PATIENCE_S * 16)
            with suppress(OperatorError, InFlightError):
                each.anchorer.step()
            contracts.mine()
    size = max(size for size, _ in first.anchors())
    assert first.chain_head() == size, seed
    for each in twins:
        assert not each.live(), seed
        final = [anchor for anchor, state in each.anchors() if state is State.FINAL]
        assert final and max(final) == size, (seed, each.anchors())
        rows = each.writer.submit(lambda connection: store.since(connection, 31337, first.sender, 0))
        purposes = {row.nonce: row.size for row in rows}
        assert all(purposes[row.nonce] == row.size for row in rows), seed
        for row in rows:
            if row.state is State.FINAL:
                receipt = contracts.node.receipt(row.hash)
                assert receipt is not None and receipt.succeeded and receipt.block == row.block, seed
        each.writer.close()


def test_two_gateways_with_one_key(contracts: Contracts, tmp_path: Path) -> None:
    live_through(contracts, tmp_path, seed=1, steps=40)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(100, 112))
def test_two_gateways_with_one_key_long(contracts: Contracts, tmp_path: Path, seed: int) -> None:
    live_through(contracts, tmp_path, seed, steps=300)
