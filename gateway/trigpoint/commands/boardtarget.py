"""Which board a command means, and how it is reached: over a cable, or by what gateway and broker know of it."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trigpoint.commands.boardoptions import broker_folder, is_port

if TYPE_CHECKING:
    from trigpoint_tools.serial.ports import Port

    from trigpoint.config import Broker, Config

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
_ALL_BOARDS = 100_000


@dataclass(frozen=True)
class Known:
    """What a gateway knows of a board.

    Attributes:
        kid: board id, 32 bytes.
        owner: address, 20 bytes.
        active: whether the registry says so.
        cloned: whether there is clone evidence.
        statements: how many are stored.
        lost: how many it declared lost.
        newest_ms: when its newest came, milliseconds since 1970; None if nothing is stored.
    """

    kid: bytes
    owner: bytes
    active: bool
    cloned: bool
    statements: int
    lost: int
    newest_ms: int | None

    def plain(self) -> dict[str, str | int | bool | None]:
        """Return it as --json prints it."""
        return {
            "board": self.kid.hex(),
            "owner": "0x" + self.owner.hex(),
            "active": self.active,
            "cloned": self.cloned,
            "statements": self.statements,
            "lost": self.lost,
            "newest_ms": self.newest_ms,
        }


@dataclass(frozen=True)
class Cable:
    """A board at a serial port."""

    port: Port


@dataclass(frozen=True)
class Remote:
    """A board that a gateway knows.

    Attributes:
        config: the gateway's.
        login: its broker, and as whom we speak there.
        board: what is stored of the board.
    """

    config: Config
    login: Broker
    board: Known


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
    return Remote(config, owners_login(gateway, config), pick(known(config), board))


def owners_login(gateway: Path, config: Config) -> Broker:
    """Return the gateway's broker with the login of the boards' owner, where `gateway init` has made one.

    The gateway's own login may not send commands, and not hear what boards ask for (trigpoint/broker/acl). It is at
    the gateway's listener: at the boards' a login has one connection, which the next one of its name would end.
    """
    broker, folder = config.broker.for_gateway(), broker_folder(gateway, config)
    if folder is None or not (folder / "passwords" / "owner").exists():
        return broker
    return broker.model_copy(update={"username": "owner", "password_file": folder / "passwords" / "owner"})


def known(config: Config) -> list[Known]:
    """Return the boards that a gateway knows, by id. Raises OperatorError if its database cannot be read."""
    from trigpoint.errors import OperatorError
    from trigpoint.store import queries
    from trigpoint.store.database import open_database

    if not config.database.exists():
        return []
    try:
        with closing(open_database(config.database, read_only=True)) as connection:
            connection.execute("BEGIN")
            found = queries.standings(connection, 0, _ALL_BOARDS)
    except sqlite3.Error as error:
        raise OperatorError(f"cannot read {config.database}: {error}; is it this version's?") from error
    boards = [
        Known(
            board.kid,
            board.owner,
            board.active_until_s is None,
            board.flagged,
            board.next_seq - board.lost,
            board.lost,
            board.newest.arrival_ms if board.newest else None,
        )
        for board in found
    ]
    return sorted(boards, key=lambda board: board.kid)


def pick(boards: Sequence[Known], wanted: str | None) -> Known:
    """Return the one board whose id begins with `wanted`, or the only one that is active.

    Raises:
        OperatorError: none does, or several.
    """
    from trigpoint.errors import OperatorError

    if wanted is not None and not _PREFIX.fullmatch(wanted.lower()):
        raise OperatorError(f"{wanted!r} is neither a serial port nor the beginning of a board id (4 to 64 hex digits)")
    if wanted is None:
        fits = [board for board in boards if board.active]
    else:
        fits = [board for board in boards if board.kid.hex().startswith(wanted.lower())]
    if len(fits) == 1:
        return fits[0]
    if not boards:
        raise OperatorError("this gateway knows no board yet: `trigpoint board enroll` adds one")
    names = ", ".join(board.kid.hex()[:8] for board in (fits or boards)[:8])
    if fits:
        raise OperatorError(f"more than one fits ({len(fits)}), say more of the id: {names}")
    raise OperatorError(f"this gateway knows no such board; it knows: {names}")
