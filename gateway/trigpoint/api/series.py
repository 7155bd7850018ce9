"""Readings over time: as they were stated, or summed up in buckets."""

from __future__ import annotations

import json
import sqlite3
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import Field

from trigpoint.api import cursors, decimals, models
from trigpoint.api.access import READINGS
from trigpoint.api.boards import number_of
from trigpoint.api.context import Gateway, answer
from trigpoint.api.parameters import BoardPath, Paging, Range
from trigpoint.api.problems import wrong
from trigpoint.store import series
from trigpoint.store.series import HOUR_S, Wanted

router = APIRouter(tags=["series"], dependencies=[READINGS])

_YEAR_S = 366 * 24 * HOUR_S
_SPAN_S = 40 * _YEAR_S
"""Time that one page of buckets covers at most, so that wide buckets do not make it read hours without end."""

_SCAN = 10_000
"""Statements that one page of readings looks at, so that one with little in it comes soon all the same."""

NAME = r"^[A-Za-z0-9][A-Za-z0-9\-:./_]{0,63}$"
UNIT = r"^[ -~]{1,16}$"


class ReadingsQuery(Paging, Range):
    """Which readings."""

    limit: Annotated[int, Field(ge=1, le=10_000, examples=[1000])] = 1_000
    """How many on a page."""
    name: Annotated[str | None, Field(pattern=NAME, examples=["temperature"])] = None
    """Of this name only."""
    unit: Annotated[str | None, Field(pattern=UNIT, examples=["Cel"])] = None
    """In this unit only."""


class BucketsQuery(Paging, Range):
    """Which buckets."""

    limit: Annotated[int, Field(ge=1, le=1_000, examples=[100])] = 1_000
    """How many spans of time a page looks at."""
    name: Annotated[str, Field(pattern=NAME, examples=["temperature"])]
    """Of this name."""
    unit: Annotated[str | None, Field(pattern=UNIT, examples=["Cel"])] = None
    """In this unit only; without it, each unit has buckets of its own."""
    every: Annotated[int, Field(ge=1, le=_YEAR_S, examples=[3600])] = HOUR_S
    """Width of a bucket in seconds. Multiples of 3600 are quick for years: they are kept ready by the hour."""


@router.get("/v1/boards/{board}/series", response_model=models.SeriesList)
async def list_series(request: Request, gateway: Gateway, board: BoardPath) -> Response:
    """List what the board measures."""

    def work(connection: sqlite3.Connection) -> bytes:
        found = [
            models.Series(
                name=one.name,
                unit=one.unit,
                readings=one.readings,
                first_hour_s=one.first_hour * HOUR_S,
                last_hour_s=one.last_hour * HOUR_S,
            )
            for one in series.summaries(connection, number_of(connection, board))
        ]
        return models.SeriesList(board=board, series=found).model_dump_json().encode()

    return answer(request, await gateway.reader.read(work))


@router.get("/v1/boards/{board}/readings", response_model=models.ReadingsPage)
async def list_readings(
    request: Request, gateway: Gateway, board: BoardPath, query: Annotated[ReadingsQuery, Query()]
) -> Response:
    """Return a board's readings whose time is in the range, in the order in which it stated them."""
    wanted = Wanted(query.name, query.unit, query.from_s, query.to_s)
    text = f"readings {board} {wanted}"

    def work(connection: sqlite3.Connection) -> bytes:
        seq, position = cursors.decode(text, query.cursor, 2) if query.cursor else (-1, -1)
        number = number_of(connection, board)
        page = series.readings(connection, number, wanted, after=(seq, position), limit=query.limit, scan=_SCAN)
        return _json(
            board=board,
            readings=[_reading(row) for row in page.rows],
            next=cursors.encode(text, *page.after) if page.after else None,
        )

    return answer(request, await gateway.reader.read(work))


@router.get("/v1/boards/{board}/buckets", response_model=models.BucketsPage)
async def list_buckets(
    request: Request, gateway: Gateway, board: BoardPath, query: Annotated[BucketsQuery, Query()]
) -> Response:
    """Return a board's readings of one name summed up in buckets of time.

    Buckets begin at multiples of `every` since 1970-01-01T00:00Z, and are always whole: the range is widened to the
    edges of its first and its last bucket.
    """
    every_s = query.every
    text = f"buckets {board} {query.name} {query.unit} {query.from_s} {query.to_s} {every_s}"

    def work(connection: sqlite3.Connection) -> bytes:
        start_s = query.from_s // every_s * every_s
        if query.cursor:
            (start_s,) = cursors.decode(text, query.cursor, 1)
        number = number_of(connection, board)
        end_s = -(-query.to_s // every_s) * every_s
        found: list[series.Bucket] = []
        more = None
        first_s = series.next_hour(connection, number, start_s)
        if first_s is not None:
            start_s = max(start_s, first_s // every_s * every_s)
            stop_s = min(end_s, start_s + min(query.limit, _SPAN_S // every_s) * every_s)
            if start_s < stop_s:
                found = _buckets(connection, number, Wanted(query.name, query.unit, start_s, stop_s), every_s)
            if stop_s < end_s and series.next_hour(connection, number, stop_s) is not None:
                more = cursors.encode(text, stop_s)
        return _json(
            board=board, name=query.name, every_s=every_s, buckets=[_bucket(bucket) for bucket in found], next=more
        )

    return answer(request, await gateway.reader.read(work))


def _buckets(connection: sqlite3.Connection, number: int, wanted: Wanted, every_s: int) -> list[series.Bucket]:
    try:
        return series.buckets(connection, number, wanted, every_s)
    except series.TooMuchError:
        raise wrong(
            "query.every",
            f"these buckets take more than {series.SCAN_MAX} statements; ask for fewer at once, or for whole hours",
        ) from None


def _json(**answered: object) -> bytes:
    """Return an answer as JSON. Of up to ten thousand readings, a model each would take longer than all the rest."""
    return json.dumps(answered, ensure_ascii=False, separators=(",", ":")).encode()


def _reading(row: series.Row) -> dict[str, object]:
    """Return a `models.Reading`."""
    return {
        "name": row.name,
        "unit": row.unit,
        "time_s": row.time_s,
        "time_source": row.time_source,
        "value": decimals.text(row.mantissa, row.exponent),
        "mantissa": row.mantissa,
        "exponent": row.exponent,
        "seq": row.seq,
        "position": row.position,
        "leaf_index": row.leaf_index,
    }


def _bucket(bucket: series.Bucket) -> dict[str, object]:
    """Return a `models.Bucket`."""
    sums = bucket.sums
    return {
        "start_s": bucket.start_s,
        "unit": bucket.unit,
        "readings": sums.readings,
        "estimated": sums.estimated,
        "doubtful": sums.doubtful,
        "minimum": _value(sums.minimum, sums.exponent),
        "maximum": _value(sums.maximum, sums.exponent),
        "sum": _value(sums.sum, sums.exponent),
        "mean": _value(*decimals.mean(sums.sum, sums.readings, sums.exponent)),
    }


def _value(mantissa: int, exponent: int) -> dict[str, object]:
    """Return a `models.Value`."""
    return {"value": decimals.text(mantissa, exponent), "mantissa": mantissa, "exponent": exponent}
