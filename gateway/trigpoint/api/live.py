"""The live stream: statements as they are stored, as server-sent events."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import Field

from trigpoint.api.access import READINGS
from trigpoint.api.context import Gateway
from trigpoint.api.parameters import Query as Parameters
from trigpoint.api.problems import ProblemError
from trigpoint.api.reader import Reader
from trigpoint.api.statements import detail
from trigpoint.store import lookup
from trigpoint.store import statements as journal

router = APIRouter(tags=["live"], dependencies=[READINGS])

POLL_S = 0.5
"""How often the database is asked whether something came."""

KEEP_ALIVE_S = 15.0
"""After so long without an event comes a sign of life, so that nobody on the way closes the connection."""

_PAGE = 64
_STREAM = "text/event-stream"
_EXAMPLE = (
    'id: 41\nevent: statement\ndata: {"leaf_index":41,"board":"750ca407...","seq":7,"entry":"e3701a6d...",'
    '"arrival_ms":1767229201500,"size":282,"prev":"90d03a92...","oldest":7,"readings":[{"mantissa":2150,"exponent":-2,'
    '"value":"21.50","name":"temperature","unit":"Cel","time_s":1767229200,"time_source":"board"}]}\n\n'
)


class _Live(Parameters):
    board: Annotated[str | None, Field(pattern="^[0-9a-f]{64}$")] = None
    """Statements of this board only."""
    after: Annotated[int | None, Field(ge=-1, lt=2**48, examples=[40])] = None
    """Begin with the leaf index above this one; -1 for all there ever was. Without it, with what comes from now on.
    A header Last-Event-ID goes before it."""


class Arrivals:
    """Knows how many statements are stored. One question to the database serves all who wait.

    Args:
        reader: the database.
        poll_s: seconds between two questions, while somebody waits.

    Attributes:
        clients: how many listen.
        stopping: set when the listeners are to be sent away, to come back to the next process.
    """

    def __init__(self, reader: Reader, poll_s: float = POLL_S) -> None:
        self._reader = reader
        self._poll_s = poll_s
        self._asking: asyncio.Task[int] | None = None
        self.clients = 0
        self.stopping = False

    async def beyond(self, size: int, timeout_s: float) -> int:
        """Wait until more than `size` are stored, `timeout_s` at most. Returns how many are."""
        until = asyncio.get_running_loop().time() + timeout_s
        now = size
        while now <= size and asyncio.get_running_loop().time() < until and not self.stopping:
            if self._asking is None or self._asking.done():
                self._asking = asyncio.create_task(self._ask())
            now = await asyncio.shield(self._asking)
        return now

    async def _ask(self) -> int:
        await asyncio.sleep(self._poll_s)
        try:
            return await self._reader.read(journal.size)
        except ProblemError:
            return 0  # the database is busy or away: those who wait go on waiting


@router.get(
    "/v1/live",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "Server-sent events; the id of each is its leaf index",
            "content": {_STREAM: {"schema": {"type": "string"}, "example": _EXAMPLE}},
        }
    },
)
async def live(
    request: Request,
    gateway: Gateway,
    query: Annotated[_Live, Query()],
    last_event_id: Annotated[
        int | None, Header(ge=-1, lt=2**48, description="The id of the last event that you saw.")
    ] = None,
) -> StreamingResponse:
    """Follow the statements as they are stored.

    Each event is a statement as JSON, as /v1/statements/{leaf_index} gives it; its id is the leaf index. Come back with
    the last id in Last-Event-ID, as browsers do by themselves, and nothing is missed and nothing comes twice. A client
    that reads slowly is not cut off and costs no memory: what it has not read yet is on the disk.
    """
    arrivals: Arrivals = request.app.state.arrivals
    if arrivals.clients >= gateway.settings.live_clients:
        raise ProblemError(
            503, "too-many-listeners", "the live stream has all the listeners it may have; come back later",
            headers={"Retry-After": "30"},
        )  # fmt: skip
    first = last_event_id if last_event_id is not None else query.after
    start = await gateway.reader.read(journal.size) if first is None else first + 1
    return StreamingResponse(
        _events(gateway.reader, arrivals, start, query.board, gateway.settings.live_clients),
        media_type=_STREAM,
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def _events(reader: Reader, arrivals: Arrivals, start: int, board: str | None, most: int) -> AsyncIterator[bytes]:
    """Yield events from the leaf index `start` on, for ever; nothing if `most` listen already."""
    if arrivals.clients >= most:  # of those who ask at one moment, all find a place free, and too many come here
        yield b"retry: 30000\n\n"
        return
    arrivals.clients += 1
    try:
        yield b"retry: 2000\n\n"
        position = start
        while not arrivals.stopping:
            try:
                position, events, more = await reader.read(partial(_page, position=position, board=board))
            except ProblemError:
                await asyncio.sleep(POLL_S)
                continue
            for event in events:
                yield event
            if not more and await arrivals.beyond(position, KEEP_ALIVE_S) <= position:
                # An id without data is no event, but moves what a client comes back with (HTML section 9.2.6).
                yield b"id: %d\n\n" % (position - 1) if position else b": waiting\n\n"
    finally:
        arrivals.clients -= 1


def _page(connection: sqlite3.Connection, position: int, board: str | None) -> tuple[int, list[bytes], bool]:
    """Return where the next page begins, this one's events, and whether there is already more."""
    number = lookup.number(connection, bytes.fromhex(board)) if board else None
    found = lookup.from_place(connection, position, _PAGE)
    events = [
        b"id: %d\nevent: statement\ndata: %b\n\n" % (stored.leaf_index, detail(stored).model_dump_json().encode())
        for stored in found
        if board is None or stored.board == number
    ]
    return (found[-1].leaf_index + 1 if found else position), events, len(found) == _PAGE
