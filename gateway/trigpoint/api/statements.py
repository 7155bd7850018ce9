"""Statements: by place in the log, by board and seq, by entry, by time of arrival."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import Field

from trigpoint.api import cursors, decimals, models
from trigpoint.api.access import READINGS
from trigpoint.api.boards import number_of
from trigpoint.api.context import FOR_EVER, Gateway, answer
from trigpoint.api.parameters import BoardPath, EntryPath, LeafPath, Moment, Paging, SeqPath
from trigpoint.api.problems import not_found
from trigpoint.store import lookup, queries, series
from trigpoint.store.lookup import Stored
from trigpoint.wire import statement as wire

router = APIRouter(tags=["statements"], dependencies=[READINGS])

COSE = "application/cose"
"""Media type of statements and receipts (RFC 9052 section 9)."""

_LAST_SEQ = 2**32 - 1


class _OfAll(Paging):
    arrived_from: Moment | None = None
    """Begin with the first one that arrived then or later: seconds since 1970, or RFC 3339. Found by halving, so it
    takes the gateway's clock at its word."""


class _OfBoard(Paging):
    first_seq: Annotated[int, Field(ge=0, lt=2**32, examples=[0])] = 0
    """Begin with this seq."""


@router.get("/v1/statements", response_model=models.StatementsPage)
async def statements(request: Request, gateway: Gateway, page: Annotated[_OfAll, Query()]) -> Response:
    """List the statements of all boards, in the order of the log."""
    query = f"statements {page.arrived_from}"

    def work(connection: sqlite3.Connection) -> bytes:
        if page.cursor:
            (first,) = cursors.decode(query, page.cursor, 1)
        else:
            first = lookup.first_arrived(connection, 1000 * page.arrived_from) if page.arrived_from is not None else 0
        found = lookup.from_place(connection, first, page.limit + 1)
        more = cursors.encode(query, found[-1].leaf_index) if len(found) > page.limit else None
        return _page(connection, found[: page.limit], more)

    return answer(request, await gateway.reader.read(work))


@router.get("/v1/statements/{leaf_index}", response_model=models.StatementDetail)
async def statement_at(request: Request, gateway: Gateway, leaf_index: LeafPath) -> Response:
    """Return the statement at a place in the log, with its readings."""
    return await _detail(request, gateway, lambda connection: lookup.at(connection, leaf_index))


@router.get(
    "/v1/statements/{leaf_index}/raw",
    response_class=Response,
    responses={200: {"description": "The bytes that the board signed", "content": {COSE: {"schema": {}}}}},
)
async def raw_at(request: Request, gateway: Gateway, leaf_index: LeafPath) -> Response:
    """Return the statement's bytes as the board signed them: COSE_Sign1 (docs/protocol.md section 3)."""
    found = await gateway.reader.read(lambda connection: _found(lookup.at(connection, leaf_index)))
    return answer(request, found.raw, COSE, cache=FOR_EVER)


@router.get("/v1/boards/{board}/statements", response_model=models.StatementsPage)
async def statements_of_board(
    request: Request, gateway: Gateway, board: BoardPath, page: Annotated[_OfBoard, Query()]
) -> Response:
    """List a board's statements by seq."""
    query = f"statements {board} {page.first_seq}"

    def work(connection: sqlite3.Connection) -> bytes:
        number = number_of(connection, board)
        first = cursors.decode(query, page.cursor, 1)[0] if page.cursor else page.first_seq
        found = list(islice(lookup.of_board(connection, number, first, _LAST_SEQ), page.limit + 1))
        more = cursors.encode(query, found[-1].seq) if len(found) > page.limit else None
        return _page(connection, found[: page.limit], more)

    return answer(request, await gateway.reader.read(work))


@router.get("/v1/boards/{board}/statements/{seq}", response_model=models.StatementDetail)
async def statement_of_board(request: Request, gateway: Gateway, board: BoardPath, seq: SeqPath) -> Response:
    """Return the board's statement with this seq, with its readings."""
    return await _detail(
        request, gateway, lambda connection: lookup.of_seq(connection, number_of(connection, board), seq)
    )


@router.get("/v1/entries/{entry}", response_model=models.StatementDetail)
async def statement_of_entry(request: Request, gateway: Gateway, entry: EntryPath) -> Response:
    """Return the statement with this entry, with its readings. Entries are looked for among the log's hashes."""
    return await _detail(request, gateway, lambda connection: lookup.of_entry(connection, bytes.fromhex(entry)))


async def _detail(request: Request, gateway: Gateway, find: Callable[[sqlite3.Connection], Stored | None]) -> Response:
    def work(connection: sqlite3.Connection) -> bytes:
        return detail(_found(find(connection))).model_dump_json().encode()

    return answer(request, await gateway.reader.read(work), cache=FOR_EVER)


def detail(found: Stored) -> models.StatementDetail:
    """Return a statement with what it says."""
    parsed = wire.parse(found.raw)
    kid = parsed.kid
    return models.StatementDetail(
        **_statement(found, kid).model_dump(),
        prev=parsed.prev.hex(),
        oldest=parsed.oldest,
        readings=[
            models.StatedReading(
                name=row.name,
                unit=row.unit,
                mantissa=row.mantissa,
                exponent=row.exponent,
                value=decimals.text(row.mantissa, row.exponent),
                time_s=row.time_s,
                time_source=row.time_source,
            )
            for row in series.expand(found)
        ],
    )


def _found(found: Stored | None) -> Stored:
    if found is None:
        raise not_found("no such statement is stored; /v1/statements lists those that are")
    return found


def _page(connection: sqlite3.Connection, found: Sequence[Stored], more: str | None) -> bytes:
    kids = queries.kids(connection, (stored.board for stored in found))
    listed = [_statement(stored, kids[stored.board]) for stored in found]
    return models.StatementsPage(statements=listed, next=more).model_dump_json().encode()


def _statement(found: Stored, kid: bytes) -> models.Statement:
    return models.Statement(
        leaf_index=found.leaf_index,
        board=kid.hex(),
        seq=found.seq,
        entry=found.entry.hex(),
        arrival_ms=found.arrival_ms,
        size=len(found.raw),
    )
