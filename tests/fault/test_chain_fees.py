"""Anchors that no block takes: offered again at a higher price up to the limits, and each still exactly once."""

from pathlib import Path

import pytest
from anvil import Contracts, Crash
from chaingateway import Gateway
from trigpoint.chain.signing import decode
from trigpoint.chain.spending import SpendingLimitError, day_start
from trigpoint.chain.transactions import OutOfFundsError
from trigpoint.store import chain as store
from trigpoint.store.chain import State, Transaction

GWEI = 10**9
PATIENCE_S = 60


@pytest.fixture
def patient(gateway: Gateway) -> Gateway:
    """A gateway whose log is open and whose next transaction stays in the pool."""
    gateway.reprice_after_s = PATIENCE_S
    gateway.start()
    gateway.run(2)
    gateway.contracts.automine(False)
    gateway.grow(3)
    return gateway


def base_fee(gateway: Gateway, wei: int) -> None:
    """Set the base fee of the next block, and mine it: blocks after it have no room for what pays less."""
    gateway.contracts.chain.rpc("anvil_setNextBlockBaseFeePerGas", hex(wei))
    gateway.contracts.mine()


def fees(gateway: Gateway) -> list[int]:
    return [decode(variant.raw or b"")[0].fee for variant in gateway.live()]


def states(gateway: Gateway) -> list[State]:
    return [variant.state for variant in gateway.live()]


def test_a_fee_spike_is_followed_and_one_variant_is_mined(patient: Gateway) -> None:
    patient.anchorer.step()
    (first,) = patient.live()
    base_fee(patient, 100 * GWEI)
    patient.passes(PATIENCE_S - 1)
    patient.anchorer.step()
    assert states(patient) == [State.SENT], "not before its time"
    patient.passes(1)
    patient.anchorer.step()
    old, new = patient.live()
    assert (old.id, old.state, new.state, new.nonce) == (first.id, State.REPLACED, State.SENT, first.nonce)
    before, after = decode(old.raw or b"")[0], decode(new.raw or b"")[0]
    assert after.fee * 8 >= before.fee * 9 and (after.tip or 0) * 8 >= (before.tip or 0) * 9
    assert (after.to, after.data, after.gas) == (before.to, before.data, before.gas)
    patient.contracts.mine()
    patient.anchorer.step()
    assert patient.anchors() == [(3, State.REPLACED), (3, State.FINAL)]
    assert (patient.transactions(), patient.chain_head()) == (2, 3)


def test_the_price_goes_up_to_the_limit_and_waits_there(patient: Gateway) -> None:
    patient.max_fee_wei = 4 * GWEI
    patient.start()
    patient.anchorer.step()
    base_fee(patient, 50 * GWEI)
    for _ in range(40):
        patient.passes(PATIENCE_S * 16)
        patient.anchorer.step()
    tried = fees(patient)
    assert len(tried) > 2 and tried == sorted(tried)
    assert 4 * GWEI / 1.126 <= tried[-1] <= 4 * GWEI
    assert patient.live()[-1].note == "no block takes it at the highest price that chain.max_fee_gwei allows"
    assert len(patient.live()) < 15, "it does not go on for ever"
    base_fee(patient, GWEI)
    patient.contracts.automine(True)
    patient.run(2)
    assert patient.anchors()[-1] == (3, State.FINAL)
    assert {state for _, state in patient.anchors()[:-1]} == {State.REPLACED}
    assert patient.transactions() == 2


def test_the_first_variant_may_be_the_one_that_is_mined(patient: Gateway) -> None:
    patient.anchorer.step()
    (first,) = patient.live()
    patient.passes(PATIENCE_S)
    patient.anchorer.step()
    (_, second) = patient.live()
    # Another miner has not heard of the second one.
    rpc = patient.contracts.chain.rpc
    rpc("anvil_dropTransaction", "0x" + second.hash.hex())
    rpc("eth_sendRawTransaction", "0x" + (first.raw or b"").hex())
    patient.confirmations = 2
    patient.start()
    patient.contracts.mine()
    patient.anchorer.step()
    assert patient.anchors() == [(3, State.MINED), (3, State.REPLACED)]
    rpc("anvil_reorg", 1, [])
    rpc("anvil_dropTransaction", "0x" + first.hash.hex())
    patient.anchorer.step()
    assert patient.anchors() == [(3, State.REORGANISED), (3, State.REPLACED)]
    patient.contracts.automine(True)
    patient.run(4)
    assert patient.anchors() == [(3, State.FINAL), (3, State.REPLACED)]
    assert patient.transactions() == 2


def test_cut_at_every_point_of_a_higher_price_it_is_anchored_once(contracts: Contracts, tmp_path: Path) -> None:
    point, done = 0, False
    while not done:
        snapshot = contracts.chain.rpc("evm_snapshot")
        gateway = Gateway(
            contracts, tmp_path / f"{point}.db", contracts.chain.account(), reprice_after_s=PATIENCE_S, confirmations=1
        )
        gateway.run(3)
        gateway.grow(5)
        contracts.automine(False)
        gateway.anchorer.step()
        gateway.passes(PATIENCE_S)
        gateway.cut_after(point)
        try:
            gateway.anchorer.step()
            done = True
        except Crash:
            pass
        gateway.start()
        contracts.automine(True)
        gateway.anchorer.settle()
        gateway.run_until_final(5)
        assert gateway.anchors().count((5, State.FINAL)) == 1, point
        assert gateway.events("Anchored") == 1, point
        assert gateway.transactions() == 2, point
        gateway.writer.close()
        assert contracts.chain.rpc("evm_revert", snapshot)
        point += 1
    assert point > 5, "the cuts reached all of it"


def test_a_day_has_its_limit_and_the_next_day_another(gateway: Gateway) -> None:
    gateway.clock.ms = day_start(gateway.clock.ms)
    gateway.run(2)
    gateway.max_spend_wei = 3 * worst_cost(gateway)
    gateway.start()
    anchored = 0
    for _ in range(20):
        gateway.grow(1)
        gateway.passes(1)
        try:
            gateway.anchorer.step()
            gateway.anchorer.step()
        except SpendingLimitError as error:
            assert "chain.max_spend_per_day allows" in str(error)
            break
        anchored += 1
    assert anchored >= 3, "actual costs are below the worst case"
    spent = gateway.contracts.node.balance(gateway.sender)
    for _ in range(5):
        gateway.passes(3600)
        with pytest.raises(SpendingLimitError):
            gateway.anchorer.step()
    assert gateway.contracts.node.balance(gateway.sender) == spent
    gateway.passes(86_400)
    gateway.run(2)
    assert gateway.anchors()[-1][1] is State.FINAL
    assert gateway.chain_head() == anchored + 1


def test_a_higher_price_keeps_within_the_day_too(patient: Gateway) -> None:
    patient.max_spend_wei = 10**18
    patient.start()
    patient.anchorer.step()
    (waiting,) = patient.live()
    patient.max_spend_wei = worst_cost(patient) + decode(waiting.raw or b"")[0].worst_cost
    patient.start()
    for _ in range(20):
        patient.passes(PATIENCE_S * 16)
        patient.anchorer.step()
    assert decode(patient.live()[-1].raw or b"")[0].worst_cost <= patient.max_spend_wei
    assert patient.live()[-1].note == "no block takes it, and chain.max_spend_per_day allows no higher price today"
    patient.contracts.mine()
    patient.anchorer.step()
    assert patient.anchors()[-1] == (3, State.FINAL)


def test_out_of_funds_and_funded_again(patient: Gateway) -> None:
    patient.anchorer.step()
    (waiting,) = patient.live()
    rpc = patient.contracts.chain.rpc
    rpc("anvil_dropTransaction", "0x" + waiting.hash.hex())
    rpc("anvil_setBalance", patient.account.address, "0x0")
    for _ in range(3):
        with pytest.raises(OutOfFundsError, match="send it funds; it is tried again by itself"):
            patient.anchorer.step()
    patient.passes(PATIENCE_S)
    with pytest.raises(OutOfFundsError):
        patient.anchorer.step()
    assert patient.live()[-1].note == "no block takes it, and the account cannot pay a higher price"
    rpc("anvil_setBalance", patient.account.address, hex(10**18))
    patient.contracts.automine(True)
    patient.run(2)
    assert patient.anchors()[-1] == (3, State.FINAL)
    assert patient.transactions() == 2


def test_a_dropped_transaction_is_sent_again(patient: Gateway) -> None:
    patient.anchorer.step()
    (waiting,) = patient.live()
    patient.contracts.chain.rpc("anvil_dropTransaction", "0x" + waiting.hash.hex())
    assert not patient.contracts.node.knows(waiting.hash)
    patient.anchorer.step()
    assert patient.contracts.node.knows(waiting.hash), "the same bytes"
    patient.contracts.mine()
    patient.anchorer.step()
    assert patient.anchors() == [(3, State.FINAL)]


def test_a_nonce_that_another_program_took(patient: Gateway) -> None:
    """The key's owner sends coins by hand, and its transaction pushes the anchor out."""
    patient.confirmations = 2
    patient.start()
    patient.anchorer.step()
    (waiting,) = patient.live()
    rpc = patient.contracts.chain.rpc
    rpc("anvil_dropTransaction", "0x" + waiting.hash.hex())
    rpc("anvil_impersonateAccount", patient.account.address)
    rpc("eth_sendTransaction", {"from": patient.account.address, "to": patient.account.address, "value": "0x1"})
    patient.contracts.mine()
    patient.anchorer.step()
    assert patient.anchors() == [(3, State.SENT)], "that block may yet leave the chain"
    patient.contracts.mine(2)
    patient.anchorer.step()
    assert patient.anchors() == [(3, State.ABANDONED), (3, State.SENT)]
    patient.contracts.automine(True)
    patient.run(5)
    assert patient.anchors() == [(3, State.ABANDONED), (3, State.FINAL)]
    rows = patient.writer.submit(lambda connection: store.since(connection, 31337, patient.sender, 0))
    assert len({row.nonce for row in rows}) == len(rows), "no nonce twice"


def worst_cost(gateway: Gateway) -> int:
    """What the opening could have cost; an anchor is of the same order."""
    rows = gateway.writer.submit(lambda connection: store.since(connection, 31337, gateway.sender, 0))
    return max(cost_of(row) for row in rows)


def cost_of(row: Transaction) -> int:
    return decode(row.raw or b"")[0].worst_cost
