"""Puts the API together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from trigpoint.api import (
    anchors,
    boards,
    clones,
    describe,
    exports,
    join,
    live,
    log,
    page,
    problems,
    receipts,
    rejected,
    series,
    site,
    statements,
)
from trigpoint.api.access import JOIN, LOG, Gate
from trigpoint.api.context import Context
from trigpoint.api.limits import RateLimit
from trigpoint.api.reader import Reader
from trigpoint.api.served import Served
from trigpoint.api.tokens import Scope, TokenFile
from trigpoint.errors import OperatorError
from trigpoint.keyfiles import load_log_key
from trigpoint.store.database import newest_schema, open_database


def create(served: Served) -> FastAPI:
    """Return the API over the database and the public files that `served` names.

    Raises:
        OperatorError: the log key or the database cannot be read.
    """
    settings = served.settings
    public = frozenset(Scope(name) for name in settings.public)
    log_key = load_log_key(served.log_key_file)
    _check_schema(served.database)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        reader = Reader(served.database)
        app.state.context = Context(settings, reader, served.public, log_key)
        app.state.arrivals = live.Arrivals(reader)
        app.state.exports = asyncio.Semaphore(exports.AT_ONCE)
        yield
        reader.close()

    app = FastAPI(
        title="Trigpoint gateway",
        version=version("trigpoint"),
        description=describe.DESCRIPTION,
        openapi_url="/openapi.json",
        docs_url=None,  # FastAPI's pages load their scripts from elsewhere
        redoc_url=None,
        openapi_tags=describe.TAGS,
        lifespan=lifespan,
        redirect_slashes=False,
    )
    problems.install(app)
    for router in (
        boards.router,
        statements.router,
        receipts.router,
        series.router,
        exports.router,
        live.router,
        rejected.router,
        clones.router,
        anchors.router,
        page.router,
    ):
        app.include_router(router)
    app.include_router(log.router(served.public), dependencies=[LOG])
    app.include_router(join.router(served.join_file), dependencies=[JOIN])
    if settings.board_page is not None:
        app.include_router(site.router(settings.board_page))
    # What is added later stands further out: nobody gets past the gate uncounted, and a page may read its refusals.
    app.add_middleware(
        Gate,
        tokens=TokenFile(served.tokens),
        public=public,
        limit=RateLimit(settings.requests_per_minute, time.monotonic),
    )
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET"],
            allow_headers=["Authorization", "If-None-Match", "Last-Event-ID"],
            expose_headers=["ETag", "Retry-After"],
        )
    _describe(app, public)
    return app


def _check_schema(database: Path) -> None:
    with closing(open_database(database, read_only=True)) as connection:
        (found,) = connection.execute("PRAGMA user_version").fetchone()
    if found != newest_schema():
        raise OperatorError(
            f"{database} has schema {found}, and this Trigpoint reads {newest_schema()}: run its gateway once, or"
            " install the version that wrote it"
        )


def _describe(app: FastAPI, public: frozenset[Scope]) -> None:
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = describe.finish(generate(), public)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
