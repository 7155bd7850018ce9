"""The audit: what the sensors measured and the attacker sent, against what the gateway has stored.

Pure functions over plain data. None of it believes the firmware or the gateway about itself: readings are counted where
the sensors were read, the log's root is computed anew from the stored statements, and a forged message is recognised by
its bytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import NamedTuple

from trigpoint.wire.statement import Statement

GENESIS = bytes(32)
"""What the first statement of a board has as `prev`."""


class Value(NamedTuple):
    """One quantity measured once: mantissa * 10**exponent in the unit that goes with the name."""

    name: str
    mantissa: int
    exponent: int


class Timed(NamedTuple):
    """A value and its time in seconds since 1970; None if the gateway took its arrival for want of a set clock."""

    value: Value
    time: float | None


@dataclass(frozen=True)
class Cut:
    """What one board held in RAM, and nowhere else, when its power was cut.

    Attributes:
        kid: the board.
        lost_in_ram: measured before the cut, in no statement of the journal and none that the gateway had.
        measured: how many values the sensor had measured by then.
    """

    kid: bytes
    lost_in_ram: tuple[Value, ...]
    measured: int


@dataclass(frozen=True)
class Forgery:
    """One message that the attacker sent to the gateway: the kind of forgery, the board it names, and its bytes."""

    kind: str
    kid: bytes
    raw: bytes


@dataclass(frozen=True)
class Stored:
    """What the gateway holds: its statements in the log's order, its rows of readings, and whom it accuses.

    Attributes:
        statements: (statement, arrival in milliseconds) would say more; the order alone is used here.
        readings: rows of the readings table, by board.
        flagged: boards whose key the gateway calls cloned.
        evidence: raw messages that it kept as proof of that.
        refused: raw messages that it refused and kept, by reason.
        declared_lost: statements that boards have given up, as a count.
    """

    statements: Sequence[Statement]
    readings: Mapping[bytes, Sequence[Value]]
    flagged: frozenset[bytes] = frozenset()
    evidence: frozenset[bytes] = frozenset()
    refused: Mapping[str, frozenset[bytes]] = field(default_factory=dict)
    declared_lost: int = 0


@dataclass(frozen=True)
class Account:
    """The result, in counts of readings unless it says otherwise; `faults` is empty if all is well."""

    measured: int
    stored: int
    statements: int
    in_ram_at_cut: int
    lost: int
    duplicated: int
    forged_sent: Mapping[str, int]
    forged_stored: int
    refused: Mapping[str, int]
    clones_flagged: int
    root: bytes
    faults: tuple[str, ...]


def in_ram_at_cut(
    kid: bytes, measured: Sequence[Value], journaled: Iterable[Statement], stored: Iterable[Statement]
) -> Cut:
    """Return what a power cut took: measured, but in no statement that had reached flash or the gateway.

    Args:
        kid: the board.
        measured: all that its sensor had measured when the power went.
        journaled: the statements found in the flash image after the cut.
        stored: the statements of this board that the gateway had then. One may be in both.
    """
    by_seq = {statement.seq: statement for statement in (*journaled, *stored)}
    held = Counter(value for statement in by_seq.values() for value in values(statement))
    return Cut(kid, tuple((Counter(measured) - held).elements()), len(measured))


def values(statement: Statement) -> list[Value]:
    """Return what a statement says, without its times."""
    return [Value(reading.name, reading.mantissa, reading.exponent) for reading in statement.readings]


def audit(
    measured: Mapping[bytes, Sequence[Value]],
    stored: Stored,
    *,
    cuts: Sequence[Cut],
    forgeries: Sequence[Forgery],
    cloned: frozenset[bytes],
    batch_values: int,
) -> Account:
    """Compare what was measured and sent with what is stored.

    Args:
        measured: every value that each board's sensor measured, counted at the sensor.
        stored: what the gateway holds.
        cuts: what power cuts took from boards' RAM.
        forgeries: what the attacker sent to the gateway.
        cloned: the boards whose key the attacker has used; these and no others must be flagged.
        batch_values: the most values that a board may hold in RAM: more in a `Cut` is a loss and not its excuse.
    """
    faults: list[str] = []
    missing: Counter[tuple[bytes, Value]] = Counter()
    extra: Counter[tuple[bytes, Value]] = Counter()
    for kid in {*measured, *stored.readings}:
        want = Counter((kid, value) for value in measured.get(kid, ()))
        have = Counter((kid, value) for value in stored.readings.get(kid, ()))
        missing += want - have
        extra += have - want
    excused: Counter[tuple[bytes, Value]] = Counter()
    for cut in cuts:
        if len(cut.lost_in_ram) > batch_values:
            faults.append(f"board {name(cut.kid)} held {len(cut.lost_in_ram)} readings in RAM, more than a batch")
        excused.update((cut.kid, value) for value in cut.lost_in_ram[:batch_values])
    in_ram = (missing & excused).total()
    lost, duplicated = missing.total() - in_ram, extra.total()
    forged_stored, refused, forgery_faults = _forgeries(stored, forgeries)
    faults += [f"{lost} readings were measured and are not stored"] if lost else []
    faults += [f"{duplicated} stored readings were never measured"] if duplicated else []
    faults += forgery_faults
    faults += chain_faults(stored.statements)
    faults += _row_faults(stored)
    faults += [f"boards have given up {stored.declared_lost} statements"] if stored.declared_lost else []
    faults += [f"board {name(kid)} is flagged though its key was not cloned" for kid in stored.flagged - cloned]
    faults += [f"board {name(kid)} is not flagged though its key was cloned" for kid in cloned - stored.flagged]
    return Account(
        measured=sum(len(of_board) for of_board in measured.values()),
        stored=sum(len(of_board) for of_board in stored.readings.values()),
        statements=len(stored.statements),
        in_ram_at_cut=in_ram,
        lost=lost,
        duplicated=duplicated,
        forged_sent=Counter(forgery.kind for forgery in forgeries),
        forged_stored=forged_stored,
        refused=refused,
        clones_flagged=len(stored.flagged & cloned),
        root=tree_root([statement.entry for statement in stored.statements]),
        faults=tuple(faults),
    )


def time_audit(
    measured: Sequence[Timed], stored: Sequence[Timed], cuts: Sequence[Cut], tolerance_s: float
) -> tuple[float, list[str]]:
    """Compare one board's readings in order, each with its time.

    Args:
        measured: in the order in which the sensor measured them, all with their time.
        stored: the rows of the gateway, in the log's order.
        cuts: of this board.
        tolerance_s: how far the board's clock may be off.

    Returns:
        By how many seconds the worst of the board's own times is off, and what is wrong.
    """
    gone = {place for cut in cuts for place in range(cut.measured - len(cut.lost_in_ram), cut.measured)}
    want = [timed for place, timed in enumerate(measured) if place not in gone]
    for number, (here, there) in enumerate(zip(want, stored, strict=False)):
        if here.value != there.value:
            return 0.0, [f"reading {number} of {len(stored)} stored is {there.value}, but {here.value} was measured"]
    errors = [
        abs(there.time - here.time)
        for here, there in zip(want, stored, strict=False)
        if here.time is not None and there.time is not None
    ]
    worst = max(errors, default=0.0)
    return worst, [f"a time is off by {worst:.0f} s"] if worst > tolerance_s else []


def chain_faults(statements: Sequence[Statement]) -> list[str]:
    """Return what is wrong with the boards' chains: a seq missing or twice, or a prev that is not the one before."""
    faults: list[str] = []
    last: dict[bytes, Statement] = {}
    for statement in statements:
        before = last.get(statement.kid)
        want_seq, want_prev = (before.seq + 1, before.entry) if before else (0, GENESIS)
        if statement.seq != want_seq:
            faults.append(f"board {name(statement.kid)}: seq {statement.seq} is stored where {want_seq} belongs")
        elif statement.prev != want_prev:
            faults.append(f"board {name(statement.kid)}: seq {statement.seq} does not follow the one before")
        last[statement.kid] = statement
    return faults


def tree_root(entries: Sequence[bytes]) -> bytes:
    """Return the Merkle tree hash of RFC 9162 section 2.1.1, straight from its definition.

    Written here again on purpose: the gateway's log grows by tiles, and this is what its result is held against.
    """
    if not entries:
        return sha256().digest()
    if len(entries) == 1:
        return sha256(b"\x00" + entries[0]).digest()
    split = 1 << (len(entries) - 1).bit_length() - 1
    return sha256(b"\x01" + tree_root(entries[:split]) + tree_root(entries[split:])).digest()


def name(kid: bytes) -> str:
    """Return the short form of a board id that people read."""
    return kid.hex()[:8]


def _forgeries(stored: Stored, forgeries: Sequence[Forgery]) -> tuple[int, dict[str, int], list[str]]:
    """Return how many forged messages are in the log, how many were refused by kind, and what is wrong with that.

    A replay is a copy of a true statement: it counts as stored if that statement is there more than once.
    """
    rows = Counter(statement.raw for statement in stored.statements)
    known = stored.evidence.union(*stored.refused.values())
    got_in = 0
    refused: Counter[str] = Counter()
    faults: list[str] = []
    replays: Counter[bytes] = Counter(forgery.raw for forgery in forgeries if forgery.kind == REPLAY)
    for raw in replays:
        got_in += max(0, rows[raw] - 1)
    for forgery in forgeries:
        if forgery.kind == REPLAY:
            refused[forgery.kind] += rows[forgery.raw] == 1
        elif rows[forgery.raw]:
            got_in += 1
        elif forgery.raw in known:
            refused[forgery.kind] += 1
        else:
            faults.append(f"a forged message ({forgery.kind}) left no trace: it was neither refused nor stored")
    if got_in:
        faults.append(f"{got_in} forged messages are in the log")
    return got_in, dict(refused), faults


def _row_faults(stored: Stored) -> list[str]:
    """The rows that people query must say what the signed statements say."""
    signed: dict[bytes, Counter[Value]] = {}
    for statement in stored.statements:
        signed.setdefault(statement.kid, Counter()).update(values(statement))
    return [
        f"board {name(kid)}: its rows of readings are not what its statements say"
        for kid in {*signed, *stored.readings}
        if signed.get(kid, Counter()) != Counter(stored.readings.get(kid, ()))
    ]


REPLAY = "replay"
"""The kind of forgery that is a true message, sent again."""
