"""What a row of an export is, as CSV and as Parquet."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from trigpoint.api import decimals
from trigpoint.store.series import Row

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped]

VALUE_SCALE = 18
"""Digits after the point of a Parquet value: the wire's finest, so that every reading fits exactly."""

_VALUE_PRECISION = 28
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_POWERS = [10**power for power in range(VALUE_SCALE + 1)]


class Exported(NamedTuple):
    """A reading of a board: its id, 64 hex digits, and the row."""

    board: str
    row: Row


DESCRIPTIONS = {
    "board": "board id, 64 hexadecimal digits",
    "name": "what was measured",
    "unit": "SenML unit (RFC 8428 section 12.1)",
    "time": "when it was taken, UTC",
    "time_source": "board: its word; arrival: the gateway's estimate; doubtful: its word, more than 600 s ahead",
    "value": "mantissa * 10 ** exponent, exactly",
    "mantissa": "as signed",
    "exponent": "as signed",
    "seq": "number of the board's statement",
    "position": "place of the reading in the statement, from 0",
    "leaf_index": "place of the statement in the log: /v1/statements/{leaf_index}/receipt proves it",
    "arrival": "the gateway's clock when the statement came, UTC",
}
"""The columns in their order, and what they say."""


def csv_header() -> bytes:
    """Return the first line of a CSV file."""
    return (",".join(DESCRIPTIONS) + "\r\n").encode()


def harmless(text: str) -> str:
    """Return a text as a cell that no spreadsheet takes for a formula.

    A unit is any text that a board signs. Spreadsheets compute what begins with one of these characters, and a formula
    can send what else is in the sheet elsewhere. So they get an apostrophe before them, as OWASP says (CSV Injection,
    https://owasp.org/www-community/attacks/CSV_Injection).
    """
    return f"'{text}" if text.startswith(_FORMULA) else text


def csv_lines(rows: Sequence[Exported]) -> bytes:
    """Return rows as CSV (RFC 4180), UTF-8; texts are `harmless`, numbers as they are."""
    text = io.StringIO()
    writer = csv.writer(text)
    for board, row in rows:
        time = datetime.fromtimestamp(row.time_s, UTC)
        arrival = datetime.fromtimestamp(row.arrival_ms // 1000, UTC)
        writer.writerow(
            (
                board,
                harmless(row.name),
                harmless(row.unit),
                f"{time:%Y-%m-%dT%H:%M:%SZ}",
                row.time_source,
                decimals.text(row.mantissa, row.exponent),
                row.mantissa,
                row.exponent,
                row.seq,
                row.position,
                row.leaf_index,
                f"{arrival:%Y-%m-%dT%H:%M:%S}.{row.arrival_ms % 1000:03d}Z",
            )
        )
    return text.getvalue().encode()


def parquet_schema(about: dict[str, str]) -> pa.Schema:
    """Return the schema of a Parquet file, with each column's description and what the file is about."""
    import pyarrow as pa

    words = pa.dictionary(pa.int32(), pa.string())
    types = {
        "board": words,
        "name": words,
        "unit": words,
        "time": pa.timestamp("s", tz="UTC"),
        "time_source": words,
        "value": pa.decimal128(_VALUE_PRECISION, VALUE_SCALE),
        "mantissa": pa.int32(),
        "exponent": pa.int8(),
        "seq": pa.uint32(),
        "position": pa.uint8(),
        "leaf_index": pa.int64(),
        "arrival": pa.timestamp("ms", tz="UTC"),
    }
    fields = [
        pa.field(name, kind, nullable=False, metadata={"description": DESCRIPTIONS[name]})
        for name, kind in types.items()
    ]
    return pa.schema(fields, metadata=about)


def parquet_batch(schema: pa.Schema, rows: Sequence[Exported]) -> pa.RecordBatch:
    """Return rows as a batch of `schema`."""
    import pyarrow as pa

    kind = {field.name: field.type for field in schema}
    mantissas = [row.mantissa for _, row in rows]
    exponents = [row.exponent for _, row in rows]
    # Decimals by their own bytes: 16 each, little-endian (Arrow columnar format). A Decimal object for each costs more.
    values = b"".join(
        [
            (mantissa * _POWERS[VALUE_SCALE + exponent]).to_bytes(16, "little", signed=True)
            for mantissa, exponent in zip(mantissas, exponents, strict=True)
        ]
    )
    columns = {
        "board": pa.array([board for board, _ in rows]).dictionary_encode(),
        "name": pa.array([row.name for _, row in rows]).dictionary_encode(),
        "unit": pa.array([row.unit for _, row in rows]).dictionary_encode(),
        "time": pa.array([row.time_s for _, row in rows], pa.int64()).cast(kind["time"]),
        "time_source": pa.array([row.time_source for _, row in rows]).dictionary_encode(),
        "value": pa.Array.from_buffers(kind["value"], len(rows), [None, pa.py_buffer(values)]),
        "mantissa": pa.array(mantissas, kind["mantissa"]),
        "exponent": pa.array(exponents, kind["exponent"]),
        "seq": pa.array([row.seq for _, row in rows], kind["seq"]),
        "position": pa.array([row.position for _, row in rows], kind["position"]),
        "leaf_index": pa.array([row.leaf_index for _, row in rows], kind["leaf_index"]),
        "arrival": pa.array([row.arrival_ms for _, row in rows], pa.int64()).cast(kind["arrival"]),
    }
    return pa.record_batch([columns[field.name] for field in schema], schema=schema)
