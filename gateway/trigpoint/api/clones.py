"""Evidence against boards whose key is in two places, or that broke."""

from __future__ import annotations

import sqlite3
from base64 import b64encode
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import Field

from trigpoint.api import cursors, models
from trigpoint.api.access import INSPECT
from trigpoint.api.context import Gateway, answer
from trigpoint.api.parameters import Paging
from trigpoint.store import queries

router = APIRouter(tags=["inspection"], dependencies=[INSPECT])


class _Evidence(Paging):
    limit: Annotated[int, Field(ge=1, le=100, examples=[100])] = 100
    """How many at most."""
    board: Annotated[str | None, Field(pattern="^[0-9a-f]{64}$")] = None
    """Against this board only."""


@router.get("/v1/evidence", response_model=models.EvidencePage)
async def evidence(request: Request, gateway: Gateway, page: Annotated[_Evidence, Query()]) -> Response:
    """List well signed statements that contradict what is stored. Each stands by itself: anybody can check it."""
    query = f"evidence {page.board}"

    def work(connection: sqlite3.Connection) -> bytes:
        (after,) = cursors.decode(query, page.cursor, 1) if page.cursor else (0,)
        found = queries.evidence(connection, bytes.fromhex(page.board) if page.board else None, after, page.limit + 1)
        more = cursors.encode(query, found[page.limit - 1].row) if len(found) > page.limit else None
        listed = [
            models.Evidence(
                board=one.kid.hex(),
                seq=one.seq,
                entry=one.entry.hex(),
                reason="clone" if one.reason == "clone" else "fork",
                raw=b64encode(one.raw).decode(),
                arrival_ms=one.arrival_ms,
            )
            for one in found[: page.limit]
        ]
        return models.EvidencePage(evidence=listed, next=more).model_dump_json().encode()

    return answer(request, await gateway.reader.read(work))
