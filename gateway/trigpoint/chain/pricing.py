"""What to pay for gas: the usual price, a higher one for a transaction that is stuck, never more than allowed."""

from __future__ import annotations

from dataclasses import dataclass, replace

from trigpoint.chain.errors import ChainUnavailableError
from trigpoint.chain.node import Node
from trigpoint.chain.signing import Unsigned
from trigpoint.errors import OperatorError


class FeeTooHighError(OperatorError):
    """The node asks more for one gas than the operator allows."""


@dataclass(frozen=True)
class Price:
    """What one gas may cost, in wei: `fee` and `tip` as in `Unsigned`."""

    fee: int
    tip: int | None


def usual_price(node: Node, max_fee_wei: int | None) -> Price:
    """Return what gets a transaction mined now: enough for a base fee that doubles (EIP-1559), or the gas price.

    Raises:
        FeeTooHighError: gas costs more than `max_fee_wei` now.
        ChainUnavailableError: the node did not answer.
    """
    block = node.block()
    if block is None:
        raise ChainUnavailableError(f"the node at {node.place} has no newest block; is it still starting?")
    if block.base_fee is None:
        price = Price(node.gas_price(), None)
        needed = price.fee
    else:
        tip = node.priority_fee()
        needed = block.base_fee + tip
        price = Price(needed + block.base_fee, tip)
    if max_fee_wei is not None and needed > max_fee_wei:
        raise FeeTooHighError(
            f"the node at {node.place} asks {needed} wei for one gas, and chain.max_fee_gwei allows {max_fee_wei}: "
            "raise it if that is this chain's price, else ask another node"
        )
    return price if max_fee_wei is None else replace(price, fee=min(price.fee, max_fee_wei))


def raised(unsigned: Unsigned, usual: Price | None, max_fee_wei: int | None) -> Unsigned | None:
    """Return the transaction at a price for which nodes take it in the place of `unsigned`; None if it must wait.

    Nodes want both fee and tip a tenth higher, to which an eighth is safe; or more, if more is usual by now.

    Args:
        unsigned: in no block.
        usual: the price now; None if that is more than `max_fee_wei`.
        max_fee_wei: the most to be paid for one gas; None for no limit.
    """
    fee = _eighth_more(unsigned.fee)
    tip = None if unsigned.tip is None else _eighth_more(unsigned.tip)
    if usual is not None:
        fee = max(fee, usual.fee)
        if tip is not None and usual.tip is not None:
            tip = max(tip, usual.tip)
    if max_fee_wei is not None and fee > max_fee_wei:
        return None
    # A tip above the fee is no transaction (EIP-1559); it comes of a node that lied about the tip before.
    return replace(unsigned, fee=fee, tip=None if tip is None else min(tip, fee))


def _eighth_more(wei: int) -> int:
    return wei + max(1, -(-wei // 8))
