"""Figures for Prometheus: what the parts count in memory, and what the database and the disk say when asked."""

from __future__ import annotations

import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from importlib.metadata import version
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from trigpoint import stated
from trigpoint.broker.certificates import load_certificate
from trigpoint.config import Config
from trigpoint.errors import OperatorError
from trigpoint.ingest.decision import Reason
from trigpoint.ingest.tally import Statistics
from trigpoint.store import queries
from trigpoint.store.database import open_database

_FRESH_S = 4.0


@dataclass(frozen=True)
class Sources:
    """Where the figures of a running gateway come from.

    Attributes:
        ingest: what ingest has done.
        idle: how many seconds ago each part moved.
        balance: the account's balance in wei; None while it is not known.
        connected: whether the broker is connected.
    """

    ingest: Callable[[], Statistics]
    idle: Callable[[], dict[str, float]]
    balance: Callable[[], int | None]
    connected: Callable[[], bool]


def registry(config: Config, sources: Sources) -> CollectorRegistry:
    """Return the registry with all figures of this gateway."""
    made = CollectorRegistry()
    ProcessCollector(registry=made)
    PlatformCollector(registry=made)
    made.register(_Live(sources))
    made.register(_Stored(config))
    return made


def serve(listen: str, figures: CollectorRegistry) -> tuple[WSGIServer, threading.Thread]:
    """Serve the figures at HOST:PORT, in a thread of its own. Shut the server down to end it.

    Raises:
        OperatorError: the address cannot be listened on.
    """
    host, _, port = listen.rpartition(":")
    try:
        return start_http_server(int(port), host.removeprefix("[").removesuffix("]"), figures)
    except OSError as error:
        raise OperatorError(
            f"cannot serve metrics at {listen}: {error.strerror}; change metrics.listen, or empty it"
        ) from error


class _Live(Collector):
    """What the parts count in memory since the gateway was started."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        done = self._sources.ingest()
        yield InfoMetricFamily("trigpoint_build", "Version of this gateway.", value={"version": version("trigpoint")})
        yield CounterMetricFamily("trigpoint_received_messages", "Messages from the broker.", value=done.received)
        messages = CounterMetricFamily(
            "trigpoint_messages",
            "Messages by what became of them: accepted, duplicate, or why refused.",
            labels=["reason"],
        )
        for reason in Reason:
            messages.add_metric([reason.value], done.by_reason.get(reason, 0))
        yield messages
        yield _gauge("trigpoint_queue_messages", "Messages that wait to be looked at.", done.queued)
        yield _gauge("trigpoint_queue_capacity_messages", "Most that may wait; then the broker has to.", done.capacity)
        yield _gauge("trigpoint_checking_messages", "Messages taken up and not committed yet.", done.checking)
        yield _gauge("trigpoint_workers", "Processes that check signatures beside the main one.", done.workers)
        yield CounterMetricFamily("trigpoint_commits", "Commits of statements to the disk.", value=done.commits)
        yield CounterMetricFamily("trigpoint_commit_seconds", "Seconds that commits took.", value=done.commit_s)
        yield _gauge("trigpoint_statements_per_second", "Statements accepted, over the last seconds.", done.per_s)
        yield _gauge("trigpoint_index_tail_statements", "Statements that the index has not taken in yet.", done.tail)
        refusing = done.refusing_since is not None
        yield _gauge("trigpoint_database_refusing", "1 while the database refuses to write.", refusing)
        yield _gauge("trigpoint_broker_connected", "1 while the broker is connected.", self._sources.connected())
        idle = GaugeMetricFamily(
            "trigpoint_part_idle_seconds", "Seconds since a part of the gateway last moved.", labels=["part"]
        )
        for part, seconds in self._sources.idle().items():
            idle.add_metric([part], seconds)
        yield idle
        balance = self._sources.balance()
        funds = GaugeMetricFamily("trigpoint_account_coins", "What the gateway's account has, in the chain's coin.")
        if balance is not None:
            funds.add_metric([], balance / 1e18)
        yield funds


class _Stored(Collector):
    """What database and disk say; asked anew at most every few seconds, however often somebody scrapes."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._lock = threading.Lock()
        self._metrics: list[Metric] = []
        self._at = float("-inf")

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        with self._lock:
            if time.monotonic() - self._at > _FRESH_S:
                self._metrics = [*self._disk(), *self._database(), *self._certificates()]
                self._at = time.monotonic()
            metrics = list(self._metrics)
        yield from metrics

    def _disk(self) -> Iterator[Metric]:
        usage = shutil.disk_usage(self._config.data)
        yield _gauge("trigpoint_disk_free_bytes", "Room on the disk of the data directory.", usage.free)
        yield _gauge("trigpoint_disk_size_bytes", "Size of that disk.", usage.total)
        files = [self._config.database.with_name(self._config.database.name + end) for end in ("", "-wal")]
        size = sum(file.stat().st_size for file in files if file.exists())
        yield _gauge("trigpoint_database_bytes", "Size of the database and of its write-ahead log.", size)

    def _database(self) -> Iterator[Metric]:
        try:
            with closing(open_database(self._config.database, read_only=True)) as connection:
                yield from _read(connection)
        except (OperatorError, sqlite3.Error):
            return

    def _certificates(self) -> Iterator[Metric]:
        until = GaugeMetricFamily(
            "trigpoint_certificate_end_timestamp_seconds", "When a certificate of the broker ends.", labels=["file"]
        )
        authority = self._config.broker.ca
        for path in (authority, authority.with_name("server.pem")) if authority else ():
            try:
                until.add_metric([path.name], load_certificate(path.read_bytes()).not_valid_after_utc.timestamp())
            except (OSError, OperatorError):
                continue
        yield until


def _read(connection: sqlite3.Connection) -> Iterator[Metric]:
    active, ended, flagged = connection.execute(
        "SELECT count(*) FILTER (WHERE active_until IS NULL), count(active_until), total(flagged) FROM boards"
    ).fetchone()
    boards = GaugeMetricFamily("trigpoint_boards", "Boards by what the registry says of them.", labels=["state"])
    boards.add_metric(["active"], active)
    boards.add_metric(["ended"], ended)
    yield boards
    yield _gauge("trigpoint_flagged_boards", "Boards whose key has signed two histories.", flagged)
    (lost,) = connection.execute("SELECT total(to_seq - from_seq + 1) FROM lost").fetchone()
    yield CounterMetricFamily("trigpoint_lost_statements", "Statements that boards declared lost.", value=lost)
    newest = GaugeMetricFamily(
        "trigpoint_board_newest_timestamp_seconds", "When a board's newest statement arrived.", labels=["board"]
    )
    for board in stated.boards(connection):
        if board.active:
            newest.add_metric([board.kid.hex()], board.arrival_ms / 1000)
    yield newest
    yield _gauge("trigpoint_log_leaves", "Statements in the log.", queries.counters(connection).get("accepted", 0))
    anchor = queries.final_anchor(connection)
    yield _gauge("trigpoint_anchored_leaves", "Leaves under the newest final anchor.", anchor.size if anchor else 0)
    when = GaugeMetricFamily("trigpoint_anchor_timestamp_seconds", "When the newest final anchor was prepared.")
    anchors = GaugeMetricFamily("trigpoint_anchors", "Anchors by their state.", labels=["state"])
    for state, number in connection.execute(
        "SELECT state, count(*) FROM transactions WHERE purpose = 'anchor' GROUP BY state"
    ):
        anchors.add_metric([state], number)
    if anchor is not None:
        (prepared_ms,) = connection.execute(
            "SELECT prepared_ms FROM transactions WHERE id = ?", (anchor.id,)
        ).fetchone()
        when.add_metric([], prepared_ms / 1000)
    yield when
    yield anchors
    cursor = connection.execute("SELECT block FROM registry_cursor").fetchone()
    block = GaugeMetricFamily("trigpoint_registry_block", "The block up to which the registry is mirrored.")
    if cursor is not None:
        block.add_metric([], cursor[0])
    yield block


def _gauge(name: str, meaning: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, meaning, value=float(value))
