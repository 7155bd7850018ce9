"""How a gateway is at this moment, from its database and, while it runs, from the figures that it serves."""

from __future__ import annotations

import shutil
import sqlite3
import urllib.request
from contextlib import closing
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

from trigpoint.config import Config
from trigpoint.errors import OperatorError
from trigpoint.running import is_running
from trigpoint.store import queries
from trigpoint.store.database import open_database

_PATIENCE_S = 2.0
_LARGEST = 16 << 20
_ALL_BOARDS = 100_000
_KEPT = 20


@dataclass(frozen=True)
class BoardStatus:
    """A board: its id (32 bytes), and what is stored of it. Times are milliseconds since 1970."""

    kid: bytes
    active: bool
    flagged: bool
    statements: int
    lost: int
    newest_ms: int | None


@dataclass(frozen=True)
class AnchorStatus:
    """An anchor; the fields are those of `trigpoint.store.queries.AnchorFound`."""

    size: int
    state: str
    transaction: bytes
    block: int | None
    prepared_ms: int


@dataclass(frozen=True)
class Live:
    """What only a running gateway knows; the names are those of its metrics, without `trigpoint_`."""

    per_second: float
    queued: int
    capacity: int
    commits: int
    commit_seconds: float
    refusing: bool
    connected: bool
    coins: float | None


@dataclass(frozen=True)
class Status:
    """How a gateway is.

    Attributes:
        running: None if the system does not say.
        now_ms: by the gateway's clock.
        leaves: statements in the log.
        boards: those heard of last come first.
        refused: messages by why they were refused, since the gateway's first day.
        duplicates: messages that were stored already.
        anchors: the newest ones, newest first.
        final_size: leaves under the newest final anchor.
        database_bytes: the file and its log.
        disk_free: bytes.
        disk_size: bytes.
        live: None while it does not run or serves no metrics.
        note: why something is missing.
    """

    running: bool | None
    now_ms: int
    disk_free: int
    disk_size: int
    leaves: int = 0
    boards: tuple[BoardStatus, ...] = ()
    refused: dict[str, int] = field(default_factory=dict)
    duplicates: int = 0
    anchors: tuple[AnchorStatus, ...] = ()
    final_size: int = 0
    database_bytes: int = 0
    live: Live | None = None
    note: str = ""


def gather(config: Config) -> Status:
    """Look at the gateway; it is not disturbed.

    Raises:
        OperatorError: the database cannot be read.
    """
    running = is_running(config.data)
    now_ms = config.make_clock().now_ms()
    place = config.data if config.data.exists() else config.data.parent
    usage = shutil.disk_usage(place)
    if not config.database.exists():
        note = "it has not run yet: trigpoint gateway run DIR"
        return Status(running, now_ms, usage.free, usage.total, note=note)
    live, note = None, ""
    if running is not False:
        live = read_live(config.metrics.listen)
        if live is None:
            note = "rates and queue are known only with metrics.listen set" if not config.metrics.listen else ""
    try:
        with closing(open_database(config.database, read_only=True)) as connection:
            connection.execute("BEGIN")
            standings = queries.standings(connection, 0, _ALL_BOARDS)
            counters = queries.counters(connection)
            anchors = _anchors(connection)
            final = queries.final_anchor(connection)
    except sqlite3.Error as error:
        raise OperatorError(
            f"cannot read {config.database}: {error}; `trigpoint gateway doctor` looks into it"
        ) from error
    boards = [
        BoardStatus(
            board.kid,
            board.active_until_s is None,
            board.flagged,
            board.next_seq - board.lost,
            board.lost,
            board.newest.arrival_ms if board.newest else None,
        )
        for board in standings
    ]
    files = [config.database.with_name(config.database.name + end) for end in ("", "-wal")]
    return Status(
        running,
        now_ms,
        usage.free,
        usage.total,
        leaves=counters.pop("accepted", 0),
        boards=tuple(sorted(boards, key=lambda board: -(board.newest_ms or 0))),
        duplicates=counters.pop("duplicate", 0),
        refused=counters,
        anchors=anchors,
        final_size=final.size if final else 0,
        database_bytes=sum(file.stat().st_size for file in files if file.exists()),
        live=live,
        note=note,
    )


def read_live(listen: str) -> Live | None:
    """Read the figures that a gateway serves at HOST:PORT; None if there are none, or not ours."""
    if not listen:
        return None
    try:
        with urllib.request.urlopen(f"http://{listen}/metrics", timeout=_PATIENCE_S) as answer:
            text = answer.read(_LARGEST).decode()
        samples = {
            sample.name: sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if not sample.labels
        }
        return Live(
            samples["trigpoint_statements_per_second"],
            int(samples["trigpoint_queue_messages"]),
            int(samples["trigpoint_queue_capacity_messages"]),
            int(samples["trigpoint_commits_total"]),
            samples["trigpoint_commit_seconds_total"],
            bool(samples["trigpoint_database_refusing"]),
            bool(samples["trigpoint_broker_connected"]),
            samples.get("trigpoint_account_coins"),
        )
    except (OSError, ValueError, KeyError):
        return None


def _anchors(connection: sqlite3.Connection) -> tuple[AnchorStatus, ...]:
    rows = connection.execute(
        "SELECT size, state, hash, block, prepared_ms FROM transactions WHERE purpose = 'anchor'"
        " ORDER BY id DESC LIMIT ?",
        (_KEPT,),
    )
    return tuple(AnchorStatus(*row) for row in rows)
