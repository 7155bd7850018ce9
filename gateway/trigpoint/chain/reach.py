"""The nodes of one chain, for a piece of work that is done once: each is asked in its turn until one answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from web3 import Web3

from trigpoint.chain.client import check_chain, open_node, turn_to_next
from trigpoint.chain.errors import ChainUnavailableError

_Found = TypeVar("_Found")


class Nodes:
    """The nodes that a gateway's configuration names, the preferred first.

    Args:
        chain_id: EIP-155 chain id, which each of them must be on.
        urls: one or more.

    Raises:
        OperatorError: one is no URL of HTTP.
    """

    def __init__(self, chain_id: int, *urls: str) -> None:
        self._chain_id = chain_id
        self._count = len(urls)
        self._web3 = open_node(*urls)
        self._checked = False

    def ask(self, work: Callable[[Web3], _Found]) -> _Found:
        """Do the work with the node that answered last; if it does not answer now, all of it anew with the next.

        Args:
            work: takes the node. It may be done more than once, half of it each time but the last.

        Raises:
            ChainUnavailableError: none of them answered; it tells of the first that was asked.
            WrongChainError: one is on another chain.
        """
        first: ChainUnavailableError | None = None
        for _ in range(self._count):
            try:
                if not self._checked:
                    check_chain(self._web3, self._chain_id)
                    self._checked = True
                return work(self._web3)
            except ChainUnavailableError as error:
                first = first or error
                turn_to_next(self._web3)
                self._checked = False
        assert first is not None
        raise first
