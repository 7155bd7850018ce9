"""Which board a command means, and how it is reached: over a cable, or by what gateway and broker know of it."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trigpoint.commands.boardoptions import is_port

if TYPE_CHECKING:
    from trigpoint_tools.serial.ports import Port

    from trigpoint.config import Config
    from trigpoint.store.queries import BoardSummary

BoardArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[BOARD]",
        help="A serial port, or, with --gateway, a board id or its beginning; default: the only one there is.",
        show_default=False,
    ),
]
GatewayOption = Annotated[
    Path | None,
    typer.Option("--gateway", metavar="DIR", help="Ask this gateway and its broker.", show_default=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]

_PREFIX = re.compile("[0-9a-f]{4,64}")


@dataclass(frozen=True)
class Cable:
    """A board at a serial port."""

    port: Port


@dataclass(frozen=True)
class Remote:
    """A board that a gateway knows."""

    config: Config
    board: BoardSummary


def resolve(board: str | None, gateway: Path | None) -> Cable | Remote:
    """Return the board that is meant.

    Raises:
        OperatorError: there is none, or it is not clear which.
    """
    from trigpoint_tools.serial import ports

    from trigpoint.commands.gateway import load_config
    from trigpoint.errors import OperatorError

    if board is not None and is_port(board):
        return Cable(ports.choose(board, ports.find()))
    if gateway is None:
        if board is not None:
            raise OperatorError(
                f"{board} is no serial port; to reach a board by its id name its gateway: --gateway DIR"
            )
        return Cable(ports.choose(None, ports.find()))
    config = load_config(gateway)
    return Remote(config, pick(known(config), board))


def known(config: Config) -> list[BoardSummary]:
    """Return the boards that a gateway knows. Raises OperatorError if its database cannot be read."""
    from trigpoint.errors import OperatorError
    from trigpoint.store import queries
    from trigpoint.store.database import open_database

    if not config.database.exists():
        return []
    try:
        with closing(open_database(config.database, read_only=True)) as connection:
            return queries.boards(connection)
    except sqlite3.Error as error:
        raise OperatorError(f"cannot read {config.database}: {error}; is it this version's?") from error


def pick(boards: list[BoardSummary], wanted: str | None) -> BoardSummary:
    """Return the one board whose id begins with `wanted`, or the only one.

    Raises:
        OperatorError: none does, or several.
    """
    from trigpoint.errors import OperatorError

    if wanted is not None and not _PREFIX.fullmatch(wanted.lower()):
        raise OperatorError(f"{wanted!r} is neither a serial port nor the beginning of a board id (4 to 64 hex digits)")
    fits = [board for board in boards if board.kid.hex().startswith((wanted or "").lower())]
    if len(fits) == 1:
        return fits[0]
    names = ", ".join(board.kid.hex()[:8] for board in (fits or boards)[:8]) or "none"
    if fits:
        raise OperatorError(f"{len(fits)} boards fit, say more of the id: {names}")
    raise OperatorError(f"this gateway knows no such board; it knows: {names}")
