"""Signs statements of many boards once and keeps them in a file, because to sign costs more than to send."""

from __future__ import annotations

import json
import os
import random
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from trigpoint.store.database import migrate, open_database
from trigpoint.wire import keys, statement
from trigpoint.wire.keys import PublicKey
from trigpoint.wire.statement import NO_PREV, Reading

BASE_TIME = 1_767_225_600
"""Time of each board's first statement, seconds since 1970; the next come a minute apart."""

_FIRST_KEY = 0x10AD_0000
_REPORT_EVERY = 5_000
_LENGTH = struct.Struct("<I")
_QUANTITIES = (("temperature", "Cel", -2, 2_150), ("humidity", "%RH", -2, 5_500), ("pressure", "Pa", -1, 1_013_250))


@dataclass(frozen=True)
class Shape:
    """What a supply holds.

    Attributes:
        boards: how many.
        each: statements of each board, from seq 0.
        readings: in each statement, of temperature, humidity and pressure in turn.
    """

    boards: int
    each: int
    readings: int


@dataclass(frozen=True)
class Supply:
    """Signed statements.

    Attributes:
        shape: how many of what.
        points: x and y of each board's key, 64 bytes.
        rounds: by seq, the statement of each board.
    """

    shape: Shape
    points: list[bytes]
    rounds: list[list[bytes]]

    @cached_property
    def kids(self) -> list[bytes]:
        """The boards' ids."""
        return [PublicKey(point[:32], point[32:]).kid for point in self.points]


def supply(directory: Path, shape: Shape, report: Callable[[str], None]) -> Supply:
    """Return statements of this shape, from the file of an earlier run if there is one.

    Args:
        directory: where the files are; made as needed.
        shape: how many of what.
        report: takes a line of progress.
    """
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"statements-{shape.boards}-{shape.each}-{shape.readings}.bin"
    if not path.exists():
        unfinished = path.with_suffix(f".{os.getpid()}")
        _make(unfinished, shape, report)
        unfinished.replace(path)
    return _read(path, shape)


def register(database: Path, loads: Supply) -> None:
    """Put the boards into a gateway's mirror of the registry, as if the chain had told of them."""
    connection = open_database(database)
    migrate(connection)
    connection.execute("BEGIN")
    connection.executemany(
        "INSERT INTO boards (kid, x, y, owner, active_from) VALUES (?, ?, ?, zeroblob(20), 1) ON CONFLICT DO NOTHING",
        [(kid, point[:32], point[32:]) for kid, point in zip(loads.kids, loads.points, strict=True)],
    )
    connection.execute("COMMIT")
    connection.close()


def example(shape: Shape, seq: int) -> bytes:
    """Return one statement of this shape, under a signature of zeros."""
    return statement.build(
        kid=bytes(32),
        seq=seq,
        prev=bytes(32),
        oldest=seq,
        base_time=BASE_TIME,
        readings=list(_readings(shape.readings, random.Random(1))),  # noqa: S311  (as below)
        sign=lambda message: bytes(64),
    )


def _make(path: Path, shape: Shape, report: Callable[[str], None]) -> None:
    private = [ec.derive_private_key(_FIRST_KEY + number, ec.SECP256R1()) for number in range(shape.boards)]
    public = [PublicKey.of(key) for key in private]
    prev = [NO_PREV] * shape.boards
    dice = random.Random(1)  # noqa: S311  (measured values, not secrets)
    total = shape.boards * shape.each
    with path.open("wb") as file:
        file.write(json.dumps([(key.x + key.y).hex() for key in public]).encode() + b"\n")
        for seq in range(shape.each):
            for number, key in enumerate(private):
                done = seq * shape.boards + number
                if done % _REPORT_EVERY == 0:
                    report(f"signing statements of {shape.readings} readings: {done:,} of {total:,}")
                raw = statement.build(
                    kid=public[number].kid,
                    seq=seq,
                    prev=prev[number],
                    oldest=seq,
                    base_time=BASE_TIME + 60 * seq,
                    readings=list(_readings(shape.readings, dice)),
                    sign=lambda message, key=key: keys.sign(key, message),  # type: ignore[misc]
                )
                prev[number] = statement.parse(raw).entry
                file.write(_LENGTH.pack(len(raw)) + raw)


def _readings(number: int, dice: random.Random) -> Iterator[Reading]:
    """Yield readings over a minute, each quantity within a few of its last digits, as a sensor gives them."""
    for place in range(number):
        name, unit, exponent, middle = _QUANTITIES[place % 3]
        yield Reading(name, unit, middle + dice.randrange(-64, 64), exponent, 60 * (place // 3 * 3) // number)


def _read(path: Path, shape: Shape) -> Supply:
    with path.open("rb") as file:
        points = [bytes.fromhex(point) for point in json.loads(file.readline())]
        rounds = [
            [file.read(*_LENGTH.unpack(file.read(_LENGTH.size))) for _ in range(shape.boards)]
            for _ in range(shape.each)
        ]
    return Supply(shape, points, rounds)
