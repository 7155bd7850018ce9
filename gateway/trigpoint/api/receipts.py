"""Receipt files, built when they are asked for: the proof of a statement, upgraded as its anchor becomes final."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from fastapi import APIRouter, Request
from fastapi.responses import Response

from trigpoint import receipts
from trigpoint.api.access import READINGS
from trigpoint.api.boards import number_of
from trigpoint.api.context import Gateway, answer
from trigpoint.api.parameters import BoardPath, EntryPath, LeafPath, SeqPath
from trigpoint.api.problems import ProblemError, not_found
from trigpoint.api.statements import COSE
from trigpoint.errors import OperatorError
from trigpoint.store import lookup
from trigpoint.store.lookup import Stored

router = APIRouter(
    tags=["receipts"],
    dependencies=[READINGS],
    default_response_class=Response,
    responses={
        200: {
            "description": "The receipt file (docs/protocol.md section 10), for `trigpoint verify`",
            "content": {COSE: {"schema": {}}},
        }
    },
)


@router.get("/v1/statements/{leaf_index}/receipt")
async def receipt_at(request: Request, gateway: Gateway, leaf_index: LeafPath) -> Response:
    """Return the receipt file of the statement at a place in the log.

    It names the newest final anchor that covers the statement; until there is one, it is signed by the log alone. Ask
    again later with its ETag to get the better one.
    """
    return await _receipt(request, gateway, lambda connection: lookup.at(connection, leaf_index))


@router.get("/v1/boards/{board}/statements/{seq}/receipt")
async def receipt_of_board(request: Request, gateway: Gateway, board: BoardPath, seq: SeqPath) -> Response:
    """Return the receipt file of the board's statement with this seq; see /v1/statements/{leaf_index}/receipt."""
    return await _receipt(
        request, gateway, lambda connection: lookup.of_seq(connection, number_of(connection, board), seq)
    )


@router.get("/v1/entries/{entry}/receipt")
async def receipt_of_entry(request: Request, gateway: Gateway, entry: EntryPath) -> Response:
    """Return the receipt file of the statement with this entry; see /v1/statements/{leaf_index}/receipt."""
    return await _receipt(request, gateway, lambda connection: lookup.of_entry(connection, bytes.fromhex(entry)))


async def _receipt(request: Request, gateway: Gateway, find: Callable[[sqlite3.Connection], Stored | None]) -> Response:
    def work(connection: sqlite3.Connection) -> tuple[int, bytes]:
        found = find(connection)
        if found is None:
            raise not_found("no such statement is stored; /v1/statements lists those that are")
        connection.execute("ROLLBACK")  # what follows reads in a transaction of its own
        try:
            return found.leaf_index, receipts.get(connection, gateway.log_key, index=found.leaf_index)
        except OperatorError as error:
            raise ProblemError(503, "not-ready", str(error)) from error

    leaf_index, content = await gateway.reader.read(work)
    name = f'attachment; filename="statement-{leaf_index}.cose"'
    return answer(request, content, COSE, headers={"Content-Disposition": name})
