"""What a connection may take: time to ask in and to take the answer in, and its peer's share of all connections.

uvicorn bounds none of these. A peer that connects and says nothing, or a byte now and then, or that asks and does not
read, would keep its connection for ever, and some hundred of them everybody else out.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from trigpoint.api.access import network

REQUEST_S = 10.0
"""In so many seconds a request has to be there, from the connection or its own first byte on."""

HANDSHAKE_S = 10.0
"""In so many a TLS handshake has to be done; asyncio gives a minute."""

STALL_S = 60.0
"""In so many the peer has to read some of what waits for it: 64 KiB, or all of it if the connection is to end."""

_UNFINISHED = ("IDLE", "SEND_BODY")
"""States of a client whose request is not whole, by the names that h11 gives them; it is uvicorn's, not ours."""


class Loop(asyncio.SelectorEventLoop):
    """The event loop, with less patience for TLS handshakes."""

    async def create_server(self, *arguments: Any, **options: Any) -> asyncio.Server:
        """Listen; see asyncio's documentation."""
        if options.get("ssl") is not None:
            options["ssl_handshake_timeout"] = HANDSHAKE_S
        return await super().create_server(*arguments, **options)


def protocol(per_peer: int, exempt: Collection[str]) -> type[H11Protocol]:
    """Return the class of a server's connections.

    Args:
        per_peer: how many connections one address may have at once; of IPv6, 64 bits of network count as one.
        exempt: addresses that may have any number: reverse proxies, behind which everybody is.
    """

    peers: Counter[str] = Counter()
    trusted = frozenset(exempt)

    class Connection(H11Protocol):
        """A connection that ends if its peer dawdles, and at once if that has too many."""

        _peer = ""
        _asking: asyncio.TimerHandle | None = None
        _reading: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            host = self.client[0] if self.client else ""
            self._peer = network(host)
            peers[self._peer] += 1
            if not {host, self._peer} & trusted and peers[self._peer] > per_peer:
                transport.abort()
            else:
                self._asking = self._ends_in(REQUEST_S)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if repr(self.conn.their_state) not in _UNFINISHED:
                self._stop_timers(asking=True)
            elif self._asking is None:
                self._asking = self._ends_in(REQUEST_S)

        def pause_writing(self) -> None:
            super().pause_writing()
            self._reading = self._reading or self._ends_in(STALL_S)

        def resume_writing(self) -> None:
            self._stop_timers(reading=True)
            super().resume_writing()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            if self.transport.is_closing():  # what is left goes out first, if it is read
                self._reading = self._reading or self._ends_in(STALL_S)

        def timeout_keep_alive_handler(self) -> None:
            super().timeout_keep_alive_handler()
            self._reading = self._reading or self._ends_in(STALL_S)

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_timers(asking=True, reading=True)
            peers[self._peer] -= 1
            if not peers[self._peer]:
                del peers[self._peer]
            super().connection_lost(exc)

        def _stop_timers(self, *, asking: bool = False, reading: bool = False) -> None:
            if asking and self._asking is not None:
                self._asking.cancel()
                self._asking = None
            if reading and self._reading is not None:
                self._reading.cancel()
                self._reading = None

        def _ends_in(self, seconds: float) -> asyncio.TimerHandle:
            return self.loop.call_later(seconds, self.transport.abort)

    return Connection
