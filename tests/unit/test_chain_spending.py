"""What a day's anchors count as, whatever the node says that they have cost."""

from dataclasses import replace

import pytest
from eth_account import Account
from trigpoint.chain.signing import Unsigned, sign
from trigpoint.chain.spending import SpendingLimitError, check_limit, spent
from trigpoint.store.chain import State, Transaction

ACCOUNT = Account.from_key(b"\x07" * 32)
GWEI = 10**9


def mined(cost: int, *, fee: int = 40 * GWEI, tip: int | None = GWEI, nonce: int = 0) -> Transaction:
    signed = sign(ACCOUNT, Unsigned(31337, nonce, b"\x01" * 20, b"\x02" * 100, 100_000, fee, tip))
    return Transaction(
        id=nonce + 1,
        chain_id=31337,
        contract=b"\x01" * 20,
        purpose="anchor",
        size=nonce + 1,
        root=b"\x03" * 32,
        state=State.FINAL,
        sender=b"\x04" * 20,
        nonce=nonce,
        raw=signed.raw,
        hash=signed.hash,
        prepared_ms=0,
        cost=cost,
    )


def test_what_an_honest_node_says_counts_as_it_is() -> None:
    cost = 80_000 * 21 * GWEI
    assert spent([mined(cost), mined(cost, nonce=1)]) == 2 * cost


@pytest.mark.parametrize("tip", [None, 500 * GWEI])
def test_a_node_cannot_have_us_pay_much_and_count_little(tip: int | None) -> None:
    """It asks for the highest price, which is paid in full, and says afterwards that it cost nothing."""
    limit, day = 10**17, []
    for nonce in range(24):
        one = mined(0, fee=500 * GWEI, tip=tip, nonce=nonce)
        try:
            check_limit(day, 100_000 * 500 * GWEI, limit)
        except SpendingLimitError:
            break
        day.append(one)
    assert len(day) * 80_000 * 500 * GWEI <= 2 * limit


def given_up(nonce: int, *, sent_ms: int | None) -> Transaction:
    return replace(mined(0, nonce=nonce), state=State.ABANDONED, cost=None, sent_ms=sent_ms)


def test_what_another_is_said_to_have_replaced_counts_until_it_is_shown_otherwise() -> None:
    """A node takes each anchor, hides its receipt, and says that another transaction took its nonce."""
    worst, day = 100_000 * 40 * GWEI, []
    for nonce in range(24):
        try:
            check_limit(day, worst, 5 * worst)
        except SpendingLimitError:
            break
        day.append(given_up(nonce, sent_ms=1))
    assert len(day) == 5
    shown = replace(day[0], cost=worst // 8)
    assert spent([shown, *day[1:]]) == worst // 8 + 4 * worst


def test_what_no_node_was_given_costs_nothing() -> None:
    assert spent([given_up(0, sent_ms=None)]) == 0
