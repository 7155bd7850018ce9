"""Many readings at once, streamed: a file of any length passes through memory of a fixed size.

An export is many short reads, none of which keeps SQLite from shortening its write-ahead log. What it gives is
nevertheless one moment's: statements are only ever added, and those added after its start are left out.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response, StreamingResponse
from pydantic import Field

from trigpoint.api import columns
from trigpoint.api.access import READINGS
from trigpoint.api.boards import number_of
from trigpoint.api.columns import Exported
from trigpoint.api.context import Gateway
from trigpoint.api.parameters import Range
from trigpoint.api.problems import ProblemError
from trigpoint.api.reader import Reader
from trigpoint.api.series import NAME, UNIT
from trigpoint.store import lookup, queries, series
from trigpoint.store import statements as journal
from trigpoint.store.series import Wanted

_T = TypeVar("_T")

router = APIRouter(tags=["export"], dependencies=[READINGS])

AT_ONCE = 2
"""Exports at once; one more is told to come back later."""

_CSV = "text/csv; charset=utf-8; header=present"
_PARQUET = "application/vnd.apache.parquet"
_ROWS = 4_000
_STATEMENTS = 500
_ROW_GROUP = 65_536
_PATIENCE_S = 60.0


class ExportQuery(Range):
    """Which readings."""

    board: Annotated[str | None, Field(pattern="^[0-9a-f]{64}$")] = None
    """Of this board only. Without it all statements are looked through, which takes its time."""
    name: Annotated[str | None, Field(pattern=NAME, examples=["temperature"])] = None
    """Of this name only."""
    unit: Annotated[str | None, Field(pattern=UNIT, examples=["Cel"])] = None
    """In this unit only."""


def _file(media_type: str, schema: dict[str, str]) -> dict[int | str, dict[str, Any]]:
    return {200: {"description": "A file, streamed", "content": {media_type: {"schema": schema}}}}


@router.get("/v1/export.csv", response_class=Response, responses=_file(_CSV, {"type": "string"}))
async def export_csv(request: Request, gateway: Gateway, query: Annotated[ExportQuery, Query()]) -> StreamingResponse:
    """Download readings as CSV (RFC 4180), by leaf index and position.

    Columns: board, name, unit, time, time_source, value, mantissa, exponent, seq, position, leaf_index, arrival. A name
    or unit that a spreadsheet would take for a formula (`=`, `+`, `-`, `@` first) has an apostrophe before it.
    """
    source = await _Source.open(gateway.reader, query)

    async def lines() -> AsyncIterator[bytes]:
        async with _slot(request):
            yield columns.csv_header()
            while not source.done:
                yield await source.next(columns.csv_lines)

    return _download(request, lines(), _CSV, "readings.csv")


@router.get("/v1/export.parquet", response_class=Response, responses=_file(_PARQUET, {}))
async def export_parquet(
    request: Request, gateway: Gateway, query: Annotated[ExportQuery, Query()]
) -> StreamingResponse:
    """Download readings as Parquet, by leaf index and position, with the columns of the CSV.

    `value` is decimal(28, 18): exact. Each column's description is in the file's schema.
    """
    source = await _Source.open(gateway.reader, query)
    log_id = await gateway.reader.read(queries.log_id)
    schema = columns.parquet_schema(
        {"trigpoint.log_id": log_id.hex() if log_id else "", "trigpoint.statements_below": str(source.below)}
    )

    async def pieces() -> AsyncIterator[bytes]:
        import pyarrow as pa  # type: ignore[import-untyped]
        import pyarrow.parquet as pq  # type: ignore[import-untyped]

        async with _slot(request):
            pipe = _Pipe()
            batches: list[pa.RecordBatch] = []
            with pq.ParquetWriter(pa.PythonFile(pipe, mode="w"), schema, compression="zstd") as writer:
                while not source.done:
                    batches.append(await source.next(lambda rows: columns.parquet_batch(schema, rows)))
                    if source.done or sum(batch.num_rows for batch in batches) >= _ROW_GROUP:
                        group = pa.Table.from_batches(batches, schema).unify_dictionaries()
                        batches.clear()
                        await asyncio.to_thread(writer.write_table, group, _ROW_GROUP)
                        yield pipe.take()
            yield pipe.take()

    return _download(request, pieces(), _PARQUET, "readings.parquet")


class _Source:
    """The rows of an export, a bounded number at a time.

    Attributes:
        below: leaf index of the first statement that came too late for it.
        done: whether all have been given.
    """

    def __init__(self, reader: Reader, wanted: Wanted, board: tuple[str, int] | None, below: int) -> None:
        self._reader = reader
        self._wanted = wanted
        self._board = board
        self._after: tuple[int, int] = (-1, -1)
        self._position = 0
        self.below = below
        self.done = False

    @classmethod
    async def open(cls, reader: Reader, query: ExportQuery) -> _Source:
        """Begin an export of what is stored now. Raises ProblemError, 404, if there is no such board."""

        def work(connection: sqlite3.Connection) -> tuple[tuple[str, int] | None, int]:
            board = (query.board, number_of(connection, query.board)) if query.board else None
            return board, journal.size(connection)

        board, below = await reader.read(work)
        return cls(reader, Wanted(query.name, query.unit, query.from_s, query.to_s), board, below)

    async def next(self, use: Callable[[list[Exported]], _T]) -> _T:
        """Return what `use` makes of the next rows; it runs beside the event loop."""
        step = self._of_board if self._board else self._of_all
        waited_s = 0.0
        while True:
            try:
                return await self._reader.read(lambda connection: use(step(connection)))
            except ProblemError:
                if waited_s >= _PATIENCE_S:  # the transfer breaks off, which the caller can tell from its end
                    raise
                await asyncio.sleep(1.0)
                waited_s += 1.0

    def _of_board(self, connection: sqlite3.Connection) -> list[Exported]:
        assert self._board is not None
        board, number = self._board
        page = series.readings(
            connection, number, self._wanted, after=self._after, limit=_ROWS, below=self.below, scan=_STATEMENTS
        )
        self.done = page.after is None
        self._after = page.after or self._after
        return [Exported(board, row) for row in page.rows]

    def _of_all(self, connection: sqlite3.Connection) -> list[Exported]:
        found = lookup.from_place(connection, self._position, min(_STATEMENTS, self.below - self._position))
        kids = queries.kids(connection, (stored.board for stored in found))
        rows = [
            Exported(kids[stored.board].hex(), row)
            for stored in found
            for row in series.expand(stored)
            if series.matches(row, self._wanted)
        ]
        self._position += len(found)
        self.done = self._position >= self.below or not found
        return rows


class _Pipe:
    """A file to write to whose content is taken out as it comes."""

    closed = False

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> int:
        """Keep a copy of `data` until it is taken."""
        self._pieces.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Do nothing: what was written can be taken already."""

    def close(self) -> None:
        """Do nothing: what was written stays until it is taken."""

    def take(self) -> bytes:
        """Return what was written since the last call."""
        taken = b"".join(self._pieces)
        self._pieces.clear()
        return taken


@asynccontextmanager
async def _slot(request: Request) -> AsyncIterator[None]:
    slots: asyncio.Semaphore = request.app.state.exports
    async with slots:
        yield


def _download(request: Request, content: AsyncIterator[bytes], media_type: str, name: str) -> StreamingResponse:
    slots: asyncio.Semaphore = request.app.state.exports
    if slots.locked():
        raise ProblemError(
            503, "too-many-exports", "other exports are under way; come back later", headers={"Retry-After": "30"}
        )
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    return StreamingResponse(content, media_type=media_type, headers=headers)
