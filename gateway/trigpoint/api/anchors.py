"""Where the log stands, and its anchors on the chain."""

from __future__ import annotations

import sqlite3
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from trigpoint.api import cursors, models
from trigpoint.api.access import LOG
from trigpoint.api.context import PUBLIC, Gateway, answer
from trigpoint.api.parameters import Paging
from trigpoint.store import log as stored_log
from trigpoint.store import queries
from trigpoint.store import statements as journal

router = APIRouter(tags=["log"], dependencies=[LOG])

_NEWEST = 2**63 - 1


@router.get("/v1/log", response_model=models.Log)
async def log(request: Request, gateway: Gateway) -> Response:
    """Return the log's id, its newest head and its newest final anchor."""

    def work(connection: sqlite3.Connection) -> bytes:
        head = stored_log.head(connection)
        log_id = queries.log_id(connection)
        anchor = queries.final_anchor(connection)
        return (
            models.Log(
                log_id=log_id.hex() if log_id else None,
                size=head.size,
                root=head.root.hex(),
                statements=journal.size(connection),
                anchor=_anchor(anchor) if anchor else None,
            )
            .model_dump_json()
            .encode()
        )

    return answer(request, await gateway.reader.read(work), cache=PUBLIC)


@router.get("/v1/anchors", response_model=models.AnchorsPage)
async def anchors(request: Request, gateway: Gateway, page: Annotated[Paging, Query()]) -> Response:
    """List the log's anchors, newest first, those under way and those given up too."""

    def work(connection: sqlite3.Connection) -> bytes:
        (below,) = cursors.decode("anchors", page.cursor, 1) if page.cursor else (_NEWEST,)
        found = queries.anchors(connection, below, page.limit + 1)
        more = cursors.encode("anchors", found[page.limit - 1].id) if len(found) > page.limit else None
        listed = [_anchor(one) for one in found[: page.limit]]
        return models.AnchorsPage(anchors=listed, next=more).model_dump_json().encode()

    return answer(request, await gateway.reader.read(work), cache=PUBLIC)


def _anchor(found: queries.AnchorFound) -> models.Anchor:
    return models.Anchor(
        size=found.size,
        root=found.root.hex(),
        state=found.state,
        transaction="0x" + found.transaction.hex(),
        chain_id=found.chain_id,
        contract="0x" + found.contract.hex(),
        block=found.block,
    )
