"""Several nodes of one chain, of which one is asked at a time."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from web3.providers.base import JSONBaseProvider
from web3.types import RPCEndpoint, RPCResponse

from trigpoint.chain.node import place

_log = logging.getLogger(__name__)

_SAY_AGAIN_S = 3600.0

BACK_AFTER_S: Final = 600.0
"""How long another node than the first is asked before the first gets its chance again."""


class Failover(JSONBaseProvider):
    """Asks the first node, and another one from `turn` on.

    It never turns by itself in the middle of a piece of work: two nodes may be some blocks apart, and what one says of
    a nonce and the other of a receipt belong to two moments. Whoever gives up a piece of work turns, and begins the
    next one by asking for the chain id, as `check_chain` does.

    Args:
        nodes: providers, the preferred first; at least one.
        monotonic: seconds; tests set it.
    """

    def __init__(self, nodes: Sequence[JSONBaseProvider], *, monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._nodes = tuple(nodes)
        self._monotonic = monotonic
        self._current = 0
        self._turned = 0.0
        self._said: float | None = None

    @property
    def endpoint_uri(self) -> str:
        """The URL of the node that is asked now."""
        return str(getattr(self._nodes[self._current], "endpoint_uri", ""))

    def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        """Ask the node whose turn it is."""
        return self._nodes[self._current].make_request(method, params)

    def turn(self) -> None:
        """Ask the next node from now on. With a single one nothing changes."""
        if len(self._nodes) == 1:
            return
        before = place(self.endpoint_uri)
        self._current = (self._current + 1) % len(self._nodes)
        self._turned = self._monotonic()
        level = logging.DEBUG
        if self._said is None or self._turned - self._said >= _SAY_AGAIN_S:  # or it would be said for ever
            self._said, level = self._turned, logging.WARNING
        _log.log(level, "the node at %s is of no use now: asking the one at %s", before, place(self.endpoint_uri))

    def prefer_first(self) -> None:
        """Go back to the first node if another has been asked for long. Call it between two pieces of work."""
        if self._current and self._monotonic() - self._turned >= BACK_AFTER_S:
            self._current = 0
