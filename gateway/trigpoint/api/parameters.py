"""Parameters that several paths take."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Path
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from trigpoint.api import cursors
from trigpoint.store.series import MAX_S

_SECONDS = re.compile(r"[0-9]{1,11}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DATE_TIME = re.compile(
    r"(?P<minute>[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}):(?P<second>[0-9]{2})(?:\.[0-9]{1,9})?"
    r"(?P<zone>Z|[+-][0-9]{2}:[0-9]{2})"
)


def _moment(value: object) -> object:
    """Return seconds since 1970 of a number or of RFC 3339 text, which is cut to the range that the wire can say."""
    text = str(value)
    if _SECONDS.fullmatch(text):
        return int(text)
    found = _DATE_TIME.fullmatch(text.upper())
    if found:
        leap = found["second"] == "60"  # a second that RFC 3339 has and datetime has not
        try:
            moment = datetime.fromisoformat(f"{found['minute']}:{'59' if leap else found['second']}{found['zone']}")
            return min(max(int((moment - _EPOCH).total_seconds()) + leap, 0), MAX_S)
        except (ValueError, OverflowError):
            if text.startswith("0000"):
                return 0
    raise ValueError("must be seconds since 1970, or RFC 3339 such as 2026-01-01T00:00:00Z")


Moment = Annotated[
    int,
    BeforeValidator(_moment),
    Field(ge=0, le=MAX_S),
    WithJsonSchema(
        {
            "anyOf": [{"type": "integer", "minimum": 0, "maximum": MAX_S}, {"type": "string", "format": "date-time"}],
            "examples": [1767225600, "2026-01-01T00:00:00Z"],
        }
    ),
]

BoardPath = Annotated[
    str,
    Path(
        description="Board id: 64 lower-case hexadecimal digits.",
        pattern="^[0-9a-f]{64}$",
        examples=["750ca40795ab23e51a75dc76fa12c052f6f6c57ba8a732337b91f096592b6ef6"],
    ),
]
EntryPath = Annotated[
    str,
    Path(
        description="SHA-256 of the statement: 64 lower-case hexadecimal digits.",
        pattern="^[0-9a-f]{64}$",
        examples=["e3701a6d8d351cd70422b90e44fae2828fdbffc0da534defe05bf2fc0c33fb03"],
    ),
]
LeafPath = Annotated[int, Path(description="Place in the log, from 0.", ge=0, lt=2**48, examples=[1])]
SeqPath = Annotated[int, Path(description="Number of the statement.", ge=0, lt=2**32, examples=[1])]


class Query(BaseModel):
    """Query parameters; one that is not known is refused, for a slip of the pen must not change an answer."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True, populate_by_name=False)


class Paging(Query):
    """Which page, and how long."""

    limit: Annotated[int, Field(ge=1, le=1_000, examples=[100])] = 100
    """How many at most."""
    cursor: Annotated[str | None, Field(pattern=cursors.PATTERN)] = None
    """`next` of the page before; leave it out for the first."""


class Range(Query):
    """A range of time."""

    from_s: Annotated[Moment, Field(alias="from")] = 0
    """The first second: seconds since 1970, or RFC 3339."""
    to_s: Annotated[Moment, Field(alias="to")] = MAX_S
    """The second after the last one, likewise."""
