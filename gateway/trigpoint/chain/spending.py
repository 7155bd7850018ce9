"""How much the gateway's transactions cost, and whether one more is within the day's limit."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Final

from trigpoint.chain.signing import Unsigned, unsigned_of
from trigpoint.errors import OperatorError
from trigpoint.store.chain import LIVE, Transaction

DAY_MS: Final = 86_400_000
_WEI_DIGITS: Final = 18


class SpendingLimitError(OperatorError):
    """One more transaction could cost more than `chain.max_spend_per_day` allows. It passes when the day does."""


def day_start(now_ms: int) -> int:
    """Return the first millisecond of the UTC day."""
    return now_ms - now_ms % DAY_MS


def spent(transactions: Iterable[Transaction]) -> int:
    """Return what these have cost or may yet cost, in wei.

    A nonce is paid for once. It counts as what it has cost if a block took one of its variants, else as the dearest
    variant could cost at the worst; also when all are given up, because that another transaction used the nonce is a
    node's word, and one that hides receipts could spend any amount. Only what no node was ever given costs nothing.
    What a chain charges beside gas, such as Base for room on Ethereum, is in what it has cost and not in the worst
    case. What it has cost is a node's word too, so it counts as no less than it must have been.

    Args:
        transactions: all variants of each nonce.
    """
    worst: dict[int, int] = {}
    paid: dict[int, int] = {}
    out: set[int] = set()
    for transaction in transactions:
        nonce = transaction.nonce
        if nonce is None or transaction.raw is None:
            continue
        unsigned = unsigned_of(transaction.raw)
        if transaction.cost is not None:
            paid[nonce] = max(transaction.cost, _least_cost(unsigned))
        if transaction.state in LIVE or transaction.sent_ms is not None:
            out.add(nonce)
        worst[nonce] = max(worst.get(nonce, 0), unsigned.worst_cost)
    return sum(paid.get(nonce, cost if nonce in out else 0) for nonce, cost in worst.items())


def _least_cost(unsigned: Unsigned) -> int:
    """Return what a transaction must have cost once a block took it, in wei.

    A tip is paid in full, and without one the whole price (EIP-1559); of the gas limit, which has a quarter to spare
    (`transactions.prepare`), a call of ours uses more than half. Both may be a lying node's choice, but then they are
    what it makes us pay: it cannot have us pay much and count little.
    """
    return unsigned.gas // 2 * (unsigned.fee if unsigned.tip is None else unsigned.tip)


def check_limit(others: Iterable[Transaction], worst_cost: int, limit_wei: int | None) -> None:
    """Make sure that one more transaction keeps within the limit, however bad its luck.

    Args:
        others: the day's transactions, without variants of this one.
        worst_cost: the most that it can cost, in wei.
        limit_wei: of the day; None for no limit.

    Raises:
        SpendingLimitError: it does not.
    """
    if limit_wei is None:
        return
    so_far = spent(others)
    if so_far + worst_cost > limit_wei:
        raise SpendingLimitError(
            f"anchors have cost {coins(so_far)} today (UTC) and the next may cost {coins(worst_cost)}, and "
            f"chain.max_spend_per_day allows {coins(limit_wei)}: anchors wait for the next day, statements do not"
        )


def coins(wei: int) -> str:
    """Return an amount in the chain's coin as decimal text: 1500000000000000 gives `0.0015`."""
    return format(Decimal(wei).scaleb(-_WEI_DIGITS).normalize(), "f")


def wei(text: str) -> int:
    """Return how many wei a decimal amount of the coin is."""
    return int(Decimal(text).scaleb(_WEI_DIGITS))
