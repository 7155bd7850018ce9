"""A year of readings on one machine: bytes for each reading, and how long a day, a month and a year take to ask for.

The statements are packed from a template and carry a signature of zeros, for to sign 52 million readings would take a
day and change no figure here; all else is real: the schema, the fold of the log and of the index, the API. They lie in
the journal as they would come: every board once an hour (or a minute), one board after the other.

Times are those of questions over HTTP on an idle machine, medians, with the pages of the database in memory.
"""

from __future__ import annotations

import hashlib
import random
import sqlite3
import statistics
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from cryptography.hazmat.primitives.asymmetric import ec
from requests.sessions import Session
from trigpoint import keyfiles
from trigpoint.api.process import listen, make_server
from trigpoint.api.served import Served
from trigpoint.api.tokens import Scope, TokenFile
from trigpoint.config import Api, Logging
from trigpoint.store.database import migrate, open_database
from trigpoint.store.fold import fold_index, fold_log, replay
from trigpoint.wire import cbor, statement
from trigpoint.wire.keys import PublicKey
from trigpoint.wire.statement import Reading

START_S = 1_767_225_600  # 2026-01-01T00:00Z
NAME, UNIT = "temperature", "Cel"
_DAY_S = 86_400
_FOLD = 16_384
_QUESTIONS = 15
_VALUE = 0x1234  # stands in the template where a mantissa goes: two bytes after 0x19


@dataclass(frozen=True)
class Shape:
    """What is stored: so many boards, for so many days, a reading a minute, so many of them in one statement."""

    boards: int
    days: int
    readings: int

    @property
    def statements(self) -> int:
        """How many there are in all."""
        return self.boards * self.days * 1_440 // self.readings

    @property
    def total(self) -> int:
        """Readings in all."""
        return self.statements * self.readings


def figures(report: Callable[[str], None]) -> dict[str, int | float]:
    """Measure ten boards over a year, and a hundred over a day with one reading a statement.

    Returns:
        series_bytes_per_reading: size of the database over its readings, 60 in a statement.
        series_day_ms: one board, one day, a reading a minute, as stated.
        series_day_cpu_ms: processor time of asking and answering it, which other programs on the machine do not change.
        series_month_ms: one board, a month, in hours.
        series_year_ms: one board, a year, in days.
        series_single_bytes_per_reading: with one reading in a statement.
        series_single_day_ms: one board, one day, of 1,440 statements.
        series_tail_day_ms: the same while 65,536 statements of all boards are not folded yet, the most there may be.
    """
    with tempfile.TemporaryDirectory() as folder:
        found = _year(report, Path(folder), Shape(boards=10, days=365, readings=60), "series")
    with tempfile.TemporaryDirectory() as folder:
        found |= _single(report, Path(folder), Shape(boards=100, days=1, readings=1))
    return found


def full_year(report: Callable[[str], None]) -> dict[str, int | float]:
    """Measure a hundred boards over a year, 52 million readings: the figures of `figures`, named series_full_..."""
    with tempfile.TemporaryDirectory() as folder:
        return _year(report, Path(folder), Shape(boards=100, days=365, readings=60), "series_full")


def _year(report: Callable[[str], None], folder: Path, shape: Shape, name: str) -> dict[str, int | float]:
    size = fill(report, folder / "trigpoint.db", shape, tail=shape.boards)
    with _api(folder) as client:
        first_hours = [_DAY_S * day for day in random.Random(1).sample(range(shape.days - 31), _QUESTIONS)]  # noqa: S311
        day_ms = client.median("readings", first_hours, _DAY_S, expected=1_440, limit=10_000)
        return {
            f"{name}_bytes_per_reading": round(size / shape.total, 1),
            f"{name}_day_ms": day_ms,
            f"{name}_day_cpu_ms": round(statistics.median(client.cpu_ms[1:]), 1),
            f"{name}_month_ms": client.median("buckets", first_hours, 30 * _DAY_S, expected=720, every=3_600),
            f"{name}_year_ms": client.median("buckets", [0] * 5, 365 * _DAY_S, expected=365, every=_DAY_S),
        }


def _single(report: Callable[[str], None], folder: Path, shape: Shape) -> dict[str, int | float]:
    fill(report, folder / "trigpoint.db", shape, tail=65_536)
    with _api(folder) as client:
        tail_ms = client.median("readings", [0] * 5, _DAY_S, expected=1_440, limit=10_000)
        with _opened(folder / "trigpoint.db") as connection:
            _fold(connection, 0)
        size = _size(folder / "trigpoint.db")
        return {
            "series_single_bytes_per_reading": round(size / shape.total, 1),
            "series_single_day_ms": client.median("readings", [0] * _QUESTIONS, _DAY_S, expected=1_440, limit=10_000),
            "series_tail_day_ms": tail_ms,
        }


def fill(report: Callable[[str], None], path: Path, shape: Shape, *, tail: int) -> int:
    """Make a database of this shape, folded but for its last `tail` statements, and return its size in bytes."""
    report(f"packing {shape.statements:,} statements with {shape.total:,} readings of {shape.boards} boards")
    started = time.monotonic()
    with _opened(path) as connection:
        migrate(connection)
        connection.execute("BEGIN")
        connection.executemany(
            "INSERT INTO boards (kid, x, y, owner, active_from) VALUES (?, ?, ?, ?, 1)",
            [(key.kid, key.x, key.y, bytes(20)) for key in map(_key, range(shape.boards))],
        )
        connection.executemany("INSERT INTO statements VALUES (?, ?, ?, ?, ?)", _statements(shape))
        connection.execute("COMMIT")
        report(f"packed in {time.monotonic() - started:.0f} s; folding")
        started = time.monotonic()
        _fold(connection, tail)
        report(f"folded in {time.monotonic() - started:.0f} s")
    return _size(path)


def _fold(connection: sqlite3.Connection, tail: int) -> None:
    """Fold the log whole, and the index but for the last `tail` statements, in batches as the gateway would."""
    connection.execute("BEGIN")
    size = fold_log(connection).size
    connection.execute("COMMIT")
    while True:
        connection.execute("BEGIN")
        (folded,) = connection.execute("SELECT size FROM folds").fetchone()
        if size - tail > folded:
            fold_index(connection, replay(connection, min(_FOLD, size - tail - folded)))
        connection.execute("COMMIT")
        if size - tail <= folded:
            return


def _statements(shape: Shape) -> Iterator[tuple[int, int, int, int, bytes]]:
    """Yield the rows of the journal in their order."""
    rng = random.Random(7)  # noqa: S311
    boards = [_Template(_key(number), shape.readings) for number in range(shape.boards)]
    span_s = 60 * shape.readings
    leaf_index = 0
    for seq in range(shape.statements // shape.boards):
        for number, board in enumerate(boards):
            base_time = START_S + seq * span_s
            arrival_ms = 1000 * (base_time + span_s) + 137 * number
            yield leaf_index, number + 1, seq, arrival_ms, board.pack(seq, base_time, rng)
            leaf_index += 1


class _Template:
    """Packs a board's statements: the parts that never change are encoded once."""

    def __init__(self, key: PublicKey, readings: int) -> None:
        pack = [Reading(NAME, UNIT, _VALUE, -2, 60 * place) for place in range(readings)]
        raw = statement.build(
            kid=key.kid, seq=0, prev=statement.NO_PREV, oldest=0, base_time=START_S, readings=pack, sign=_no_signature
        )
        self._kid = key.kid
        self._payload = bytearray(statement.parse(raw).payload)
        value = b"\x19" + struct.pack(">H", _VALUE)
        self._values = [place + 1 for place in range(len(self._payload)) if self._payload[place : place + 3] == value]
        self._base_time = bytes(self._payload).index(b"\x22\x1a" + struct.pack(">I", START_S)) + 2
        assert len(self._values) == readings
        self._walk = _VALUE

    def pack(self, seq: int, base_time: int, rng: random.Random) -> bytes:
        """Return the statement of this seq, with readings that wander."""
        struct.pack_into(">I", self._payload, self._base_time, base_time)
        for place in self._values:
            self._walk = min(max(self._walk + rng.randrange(-3, 4), 0x100), 0xFFFF)
            struct.pack_into(">H", self._payload, place, self._walk)
        prev = hashlib.sha256(seq.to_bytes(4, "big")).digest() if seq else statement.NO_PREV
        protected = cbor.encode(
            {
                1: -7,
                3: 112,
                4: self._kid,
                statement.LABEL_SEQ: seq,
                statement.LABEL_PREV: prev,
                statement.LABEL_OLDEST: seq,
            }
        )
        return cbor.encode(cbor.Tag(cbor.TAG_SIGN1, [protected, {}, bytes(self._payload), bytes(64)]))


def _no_signature(_: bytes) -> bytes:
    return bytes(64)


def _key(number: int) -> PublicKey:
    return PublicKey.of(ec.derive_private_key(0x5E71E5 + number, ec.SECP256R1()))


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    connection = open_database(path)
    connection.execute("PRAGMA synchronous = OFF")  # what the disk does is measured elsewhere
    try:
        yield connection
    finally:
        connection.close()  # the last one out brings the write-ahead log into the file


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in path.parent.glob(path.name + "*"))


class _Client:
    def __init__(self, url: str, token: str) -> None:
        self._session = Session()
        self._session.headers["Authorization"] = f"Bearer {token}"
        self._url = url
        self.cpu_ms: list[float] = []

    def median(self, kind: str, starts: list[int], length_s: int, *, expected: int, **params: int) -> float:
        """Return the median milliseconds of questions for spans of time that begin at these offsets."""
        board = _key(3).kid.hex()
        times = []
        self.cpu_ms = []
        for start in [starts[0], *starts]:  # the first only warms up
            asked = {"name": NAME, "from": START_S + start, "to": START_S + start + length_s, **params}
            begun, cpu = time.perf_counter(), time.process_time()
            answer = self._session.get(f"{self._url}/v1/boards/{board}/{kind}?{urlencode(asked)}", timeout=60)
            times.append(1000 * (time.perf_counter() - begun))
            self.cpu_ms.append(1000 * (time.process_time() - cpu))
            found = answer.json()
            assert len(found[kind]) == expected and found["next"] is None, (kind, len(found[kind]), found["next"])
        return round(statistics.median(times[1:]), 1)


@contextmanager
def _api(folder: Path) -> Iterator[_Client]:
    keyfiles.create_log_key(folder / "log.key")
    token = TokenFile(folder / "tokens.json").add("bench", frozenset(Scope), int(time.time() * 1000))
    settings = Api(requests_per_minute=1_000_000)
    served = Served(
        settings, Logging(), folder / "trigpoint.db", folder / "public", folder / "tokens.json", folder / "log.key"
    )
    server = make_server(served)
    with listen("127.0.0.1:0") as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield _Client(f"http://127.0.0.1:{listener.getsockname()[1]}", token)
        finally:
            server.should_exit = True
            thread.join()
