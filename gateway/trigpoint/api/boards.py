"""Boards: what the registry says of them, and what is stored."""

from __future__ import annotations

import sqlite3
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from trigpoint.api import cursors, models
from trigpoint.api.access import READINGS
from trigpoint.api.context import Gateway, answer
from trigpoint.api.parameters import BoardPath, Paging
from trigpoint.api.problems import ProblemError, not_found
from trigpoint.store import lookup, queries

router = APIRouter(tags=["boards"], dependencies=[READINGS])

_LOST_MAX = 10_000


@router.get("/v1/boards", response_model=models.BoardsPage)
async def boards(request: Request, gateway: Gateway, page: Annotated[Paging, Query()]) -> Response:
    """List all boards that the registry has ever known."""

    def work(connection: sqlite3.Connection) -> bytes:
        after = cursors.decode("boards", page.cursor, 1)[0] if page.cursor else 0
        found = queries.standings(connection, after, page.limit + 1)
        more = cursors.encode("boards", found[page.limit - 1].number) if len(found) > page.limit else None
        listed = [_board(board) for board in found[: page.limit]]
        return models.BoardsPage(boards=listed, next=more).model_dump_json().encode()

    return answer(request, await gateway.reader.read(work))


@router.get("/v1/boards/{board}", response_model=models.Board)
async def board(request: Request, gateway: Gateway, board: BoardPath) -> Response:
    """Return one board."""

    def work(connection: sqlite3.Connection) -> bytes:
        found = queries.standings(connection, number_of(connection, board) - 1, 1)
        return _board(found[0]).model_dump_json().encode()

    return answer(request, await gateway.reader.read(work))


@router.get("/v1/boards/{board}/lost", response_model=models.LostList)
async def lost(request: Request, gateway: Gateway, board: BoardPath) -> Response:
    """Return what the board declared lost: seqs for which there will never be a statement."""

    def work(connection: sqlite3.Connection) -> bytes:
        number_of(connection, board)
        spans = queries.lost(connection, bytes.fromhex(board), _LOST_MAX + 1)
        listed = [models.Lost(first_seq=first, last_seq=last) for first, last in spans[:_LOST_MAX]]
        return models.LostList(lost=listed, more=len(spans) > _LOST_MAX).model_dump_json().encode()

    return answer(request, await gateway.reader.read(work))


def number_of(connection: sqlite3.Connection, board: str) -> int:
    """Return the number of the board with this id.

    Raises:
        ProblemError: 404, the registry has never known it.
    """
    number = lookup.number(connection, bytes.fromhex(board))
    if number is None:
        raise no_such_board()
    return number


def no_such_board() -> ProblemError:
    """Return the problem of a board that is not there."""
    return not_found("no such board; /v1/boards lists those that the registry knows")


def _board(found: queries.Standing) -> models.Board:
    newest = found.newest
    return models.Board(
        board=found.kid.hex(),
        owner="0x" + found.owner.hex(),
        active=found.active_until_s is None,
        active_from_s=found.active_from_s,
        active_until_s=found.active_until_s,
        flagged=found.flagged,
        next_seq=found.next_seq,
        statements=found.next_seq - found.lost,
        lost=found.lost,
        evidence=found.evidence,
        newest=models.Newest(leaf_index=newest.leaf_index, seq=newest.seq, arrival_ms=newest.arrival_ms)
        if newest
        else None,
    )
