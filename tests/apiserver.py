"""A gateway's database with things in it, and the real API over it on a free port."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import requests
from statements import TestBoard, enrol
from trigpoint import keyfiles
from trigpoint.api.process import listen, make_server
from trigpoint.api.served import Served
from trigpoint.api.tokens import Scope, TokenFile
from trigpoint.config import Api, Logging
from trigpoint.store import log
from trigpoint.store.database import migrate, open_database
from trigpoint.store.fold import fold_index, fold_log, replay
from trigpoint.wire import statement
from trigpoint.wire.statement import NO_PREV, Reading

NOW_MS = 1_700_000_100_000
LOG_ID = b"\x0a" * 32


@dataclass
class Journal:
    """A database to write to as ingest would, but with statements that nobody signed, which is quick."""

    connection: sqlite3.Connection
    _next: dict[int, int] = field(default_factory=dict)

    @classmethod
    def at(cls, path: Path) -> Journal:
        """Make the database in a file."""
        connection = open_database(path)
        connection.execute("PRAGMA synchronous = OFF")
        migrate(connection)
        return cls(connection)

    @classmethod
    def in_memory(cls) -> Journal:
        """Make a database for one example of a property."""
        connection = sqlite3.connect(":memory:", isolation_level=None)
        _empty().backup(connection)
        return cls(connection)

    def enrol(self, *boards: TestBoard) -> None:
        enrol(self.connection, *boards)

    def store(
        self,
        board: TestBoard,
        readings: Sequence[Reading],
        *,
        base_time: int | None = 1_700_000_000,
        arrival_ms: int = NOW_MS,
        skip: int = 0,
    ) -> bytes:
        """Append a statement of `board`, `skip` seqs after its last."""
        (number,) = self.connection.execute("SELECT number FROM boards WHERE kid = ?", (board.kid,)).fetchone()
        seq = self._next.get(number, 0) + skip
        raw = statement.build(
            kid=board.kid,
            seq=seq,
            prev=NO_PREV if seq == 0 else b"\x01" * 32,
            oldest=seq,
            base_time=base_time,
            readings=readings,
            sign=lambda _: bytes(64),
        )
        self.connection.execute(
            "INSERT INTO statements VALUES ((SELECT coalesce(max(leaf_index) + 1, 0) FROM statements), ?, ?, ?, ?)",
            (number, seq, arrival_ms, raw),
        )
        self._next[number] = seq + 1
        return raw

    def fold(self, limit: int = 1_000_000) -> None:
        """Fold the log whole, and of the index up to `limit` statements more."""
        self.connection.execute("BEGIN IMMEDIATE")
        fold_log(self.connection)
        fold_index(self.connection, replay(self.connection, limit))
        self.connection.execute("COMMIT")

    def claim(self, log_key: bytes) -> None:
        log.claim(self.connection, LOG_ID, log_key)


@cache
def _empty() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection)
    return connection


@dataclass
class Client:
    """Asks the API; `token` goes with each question."""

    url: str
    token: str | None = None

    def get(self, path: str, *, headers: dict[str, str] | None = None, **options: object) -> requests.Response:
        given = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        return requests.get(self.url + path, headers={**given, **(headers or {})}, timeout=60, **options)

    def json(self, path: str, **params: object) -> dict:
        response = self.get(path, params=params)
        assert response.status_code == 200, response.text
        return response.json()


@contextmanager
def api(folder: Path, **settings: object) -> Iterator[Client]:
    """Serve the gateway in `folder` (trigpoint.db, public/); the client has a token for everything."""
    key_file, tokens = folder / "log.key", folder / "tokens.json"
    if not key_file.exists():
        keyfiles.create_log_key(key_file)
        token = TokenFile(tokens).add("everything", frozenset(Scope), NOW_MS)
        (folder / "everything.token").write_text(token)
    served = Served(
        Api(**{"requests_per_minute": 1_000_000, **settings}),
        Logging(),
        folder / "trigpoint.db",
        folder / "public",
        tokens,
        key_file,
        folder / "join.json",
    )
    listener = listen("127.0.0.1:0")
    server = make_server(served)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield Client(f"http://127.0.0.1:{listener.getsockname()[1]}", (folder / "everything.token").read_text())
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def free_port() -> int:
    """Return a port that is free now."""
    with listen("127.0.0.1:0") as listener:
        port: int = listener.getsockname()[1]
        return port
