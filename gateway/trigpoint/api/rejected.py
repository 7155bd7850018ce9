"""Refused input, and how often each thing happened."""

from __future__ import annotations

import sqlite3
from base64 import b64encode
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from trigpoint.api import cursors, models
from trigpoint.api.access import INSPECT
from trigpoint.api.context import Gateway, answer
from trigpoint.api.parameters import Paging
from trigpoint.store import queries

router = APIRouter(tags=["inspection"], dependencies=[INSPECT])

_NEWEST = 2**63 - 1


@router.get("/v1/rejected", response_model=models.RejectedPage)
async def rejected(request: Request, gateway: Gateway, page: Annotated[Paging, Query()]) -> Response:
    """List the messages that the gateway refused, newest first, and why."""

    def work(connection: sqlite3.Connection) -> bytes:
        (below,) = cursors.decode("rejected", page.cursor, 1) if page.cursor else (_NEWEST,)
        found = queries.rejected_before(connection, below, page.limit + 1)
        more = cursors.encode("rejected", found[page.limit - 1][0]) if len(found) > page.limit else None
        listed = [
            models.Rejected(
                reason=one.reason,
                detail=one.detail,
                topic=one.topic,
                raw=b64encode(one.raw).decode(),
                size=one.size,
                arrival_ms=one.arrival_ms,
            )
            for _, one in found[: page.limit]
        ]
        return models.RejectedPage(rejected=listed, next=more).model_dump_json().encode()

    return answer(request, await gateway.reader.read(work))


@router.get("/v1/counters", response_model=models.Counters)
async def counters(request: Request, gateway: Gateway) -> Response:
    """Return how many messages came to each end."""

    counted = await gateway.reader.read(queries.counters)
    return answer(request, models.Counters(counters=counted).model_dump_json().encode())
