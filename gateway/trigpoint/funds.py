"""What the gateway's account has, asked now and then: nothing else needs to know it between two anchors."""

from __future__ import annotations

import threading

from trigpoint.chain.client import open_node
from trigpoint.chain.node import Node, address_bytes
from trigpoint.errors import OperatorError

_EVERY_S = 600.0


class Funds:
    """Asks a node for an account's balance every ten minutes, in a thread of its own.

    Args:
        rpc_urls: nodes of the chain; the first that answers is believed, for this is for information only.
        account: 0x and 40 hexadecimal digits.
    """

    def __init__(self, rpc_urls: tuple[str, ...], account: str) -> None:
        self._nodes = [Node(open_node(url)) for url in rpc_urls]
        self._account = address_bytes(account)
        self._balance: int | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="funds", daemon=True)

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def stop(self) -> None:
        """Ask no more. A question to a node that does not answer is left behind."""
        self._stopping.set()

    def balance(self) -> int | None:
        """Return the balance when last seen, in wei; None if no node has said it yet."""
        return self._balance

    def _run(self) -> None:
        while True:
            for node in self._nodes:
                try:
                    self._balance = node.balance(self._account)
                    break
                except OperatorError:
                    continue  # the chain's own thread says so
            if self._stopping.wait(_EVERY_S):
                return
