"""`trigpoint board sensors`: what a board's sensors say."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from trigpoint.commands.boardtarget import AsJson, BoardArgument, Cable, GatewayOption, Remote, resolve

if TYPE_CHECKING:
    from trigpoint.config import Config


def sensors(board: BoardArgument = None, *, gateway: GatewayOption = None, as_json: AsJson = False) -> None:
    """Measure each sensor of a board once; by its gateway: show the newest reading of each.

    Over a cable its application is stopped for it and started again. What is measured here is not signed.

    Example: trigpoint board sensors /dev/ttyUSB0
    """
    match resolve(board, gateway):
        case Cable(port):
            from trigpoint_tools.serial import ports, questions
            from trigpoint_tools.serial.session import Session

            ports.check(port)
            with Session(port.device) as session:
                measured = questions.sensors(session)
                session.restart()
            if as_json:
                typer.echo(json.dumps(measured, indent=2))
                return
            _show([_Measured.of(part) for part in measured])
            raise typer.Exit(1 if any(part["error"] for part in measured) else 0)
        case Remote(config, _, known):
            rows = _newest(config, known.kid)
            if as_json:
                typer.echo(json.dumps(rows, indent=2))
                return
            if not rows:
                typer.echo("No reading of this board is stored yet.")
                return
            when = datetime.fromtimestamp(max(row["time"] for row in rows), UTC)
            readings = [(row["name"], row["value"], row["unit"]) for row in rows]
            _show([_Measured(f"stored, taken {when:%Y-%m-%d %H:%M:%S} UTC", "", readings)])


class _Measured(NamedTuple):
    """What to show of a part: its name, what went wrong, and for each quantity a name, a value and a unit."""

    part: str
    error: str
    readings: list[tuple[str, str, str]]

    @classmethod
    def of(cls, part: Mapping[str, Any]) -> _Measured:
        """Take what `questions.sensors` returns."""
        readings = [(name, decimal(mantissa, exponent), unit) for name, unit, mantissa, exponent in part["readings"]]
        return cls(part["part"], part["error"], readings)


def _show(measured: Sequence[_Measured]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from trigpoint.commands.boardview import clean

    console = Console(highlight=False)
    for part in measured:
        trouble = (f"   {clean(part.error)}", "red") if part.error else ""
        console.print(Text.assemble((clean(part.part), "bold"), trouble), soft_wrap=True)
        table = Table.grid(padding=(0, 2))
        table.add_column(style="dim", no_wrap=True)
        table.add_column(justify="right", no_wrap=True)
        table.add_column(no_wrap=True)
        for name, value, unit in part.readings:
            table.add_row(f"  {clean(name)}", value, Text(clean(unit)))
        console.print(table)


def decimal(mantissa: int, exponent: int) -> str:
    """Return mantissa times 10 to the power of exponent (0 or less) with every digit that was measured."""
    if exponent >= 0:
        return str(mantissa)
    digits = str(abs(mantissa)).rjust(1 - exponent, "0")
    return f"{'-' if mantissa < 0 else ''}{digits[:exponent]}.{digits[exponent:]}"


def _newest(config: Config, kid: bytes) -> list[dict[str, Any]]:
    """Return the newest reading of each quantity in a board's newest statement."""
    from trigpoint.errors import OperatorError
    from trigpoint.store import lookup, queries
    from trigpoint.store.database import open_database
    from trigpoint.wire.statement import parse, reading_time

    try:
        with closing(open_database(config.database, read_only=True)) as connection:
            connection.execute("BEGIN")
            number = lookup.number(connection, kid)
            found = queries.standings(connection, number - 1, 1) if number is not None else []
            newest = found[0].newest if found else None
            stored = lookup.at(connection, newest.leaf_index) if newest else None
    except sqlite3.Error as error:
        raise OperatorError(f"cannot read {config.database}: {error}; is it this version's?") from error
    if stored is None:
        return []
    statement = parse(stored.raw)
    # They are in the order in which they were taken: the last of each name is the newest.
    readings = {reading.name: reading for reading in statement.readings}
    return [
        {
            "name": reading.name,
            "unit": reading.unit,
            "value": decimal(reading.mantissa, reading.exponent),
            "time": reading_time(statement.base_time, reading.t, stored.arrival_ms)[0],
        }
        for reading in readings.values()
    ]
