"""The audit of a fleet: what sensors have told their boards, against what the gateway has stored. Pure functions.

Every reading that was ever measured ends in one of four places: stored, declared lost by its board under its
signature, gone out of RAM when the power was cut, or lost. Nobody is asked about himself: readings are counted at the
sensors, and what a board had signed is read off its flash and off the wire.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from trigpoint.wire.statement import Statement

from trigpoint_tools.demo.accounting import GENESIS, REPLAY, Forgery, Timed, Value, name, values


@dataclass(frozen=True)
class PowerCut:
    """How one board stood when its power went.

    Attributes:
        told: how many values its sensors had told it.
        next_seq: the seq of the next statement, by its flash and the gateway.
    """

    told: int
    next_seq: int


@dataclass(frozen=True)
class BoardBooks:
    """All that is known of one board.

    Attributes:
        kid: its id.
        told: what its sensors have told it, oldest first.
        stored: its statements in the log, by seq.
        times: of each stored statement, the times of its readings in seconds since 1970; None where they are not the
            board's word.
        seen: statements that it has signed, seen on flash or on the wire, by seq.
        declared: seqs that it has declared lost, as (first, last).
        cuts: its power cuts, in order.
        batch_values: the most values that it may hold in RAM.
    """

    kid: bytes
    told: Sequence[Timed]
    stored: Mapping[int, Statement]
    times: Mapping[int, Sequence[float | None]]
    seen: Mapping[int, Statement]
    declared: Sequence[tuple[int, int]]
    cuts: Sequence[PowerCut]
    batch_values: int


@dataclass(frozen=True)
class BoardAccount:
    """What became of one board's readings, in counts of readings; `wrong` is empty if all is well.

    Attributes:
        measured, stored, lost, duplicated, in_ram, declared_lost: as in result.Result.
        declared_statements: statements that it has declared lost.
        clock_error_s: by how much the worst time is off that it gave a stored reading.
        wrong: one line for each thing that is wrong.
    """

    measured: int
    stored: int
    lost: int
    duplicated: int
    in_ram: int
    declared_lost: int
    declared_statements: int
    clock_error_s: float
    wrong: tuple[str, ...]

    @property
    def settled(self) -> int:
        """How many readings have come to where they stay."""
        return self.stored - self.duplicated + self.in_ram + self.declared_lost


def account(books: BoardBooks) -> BoardAccount:
    """Return what became of a board's readings."""
    wrong: list[str] = []
    label = f"board {name(books.kid)}"
    signed = dict(books.seen) | dict(books.stored)
    for seq, statement in books.seen.items():
        if seq in books.stored and books.stored[seq].raw != statement.raw:
            wrong.append(f"{label}: what is stored under seq {seq} is not what it has signed")
    want = Counter(timed.value for timed in books.told)
    have: Counter[Value] = Counter()
    for statement in books.stored.values():
        have.update(values(statement))
    missing, extra = want - have, have - want
    ram, held = in_ram(books)
    if held > books.batch_values:
        wrong.append(f"{label} held {held} readings in RAM at a power cut, more than a batch")
    cut_away = missing & ram
    missing -= cut_away
    gone: Counter[Value] = Counter()
    statements = 0
    for first, last in books.declared:
        for seq in range(first, last + 1):
            if seq in books.stored:
                wrong.append(f"{label}: seq {seq} is stored, and declared lost too")
                continue
            statements += 1
            if seq in signed:
                gone.update(values(signed[seq]))
            else:
                wrong.append(f"{label}: seq {seq} is declared lost, and nobody has seen what was in it")
    declared = missing & gone
    missing -= declared
    wrong += _chain(label, books)
    if missing:
        wrong.append(f"{label}: {missing.total()} readings were measured, and are neither stored nor declared lost")
    if extra:
        wrong.append(f"{label}: {extra.total()} stored readings were never measured, or are there twice")
    return BoardAccount(
        measured=want.total(),
        stored=have.total(),
        lost=missing.total(),
        duplicated=extra.total(),
        in_ram=cut_away.total(),
        declared_lost=declared.total(),
        declared_statements=statements,
        clock_error_s=_clock_error(books, signed),
        wrong=tuple(wrong),
    )


def in_ram(books: BoardBooks) -> tuple[Counter[Value], int]:
    """Return what power cuts took, and the most that one of them did.

    That is: told before the cut, in nothing signed before, and the newest of its name. A board signs what it measures
    in its order, so what is missing further back was not in RAM any more: a cut excuses none of it.
    """
    signed = dict(books.seen) | dict(books.stored)
    taken: Counter[Value] = Counter()
    most = told = next_seq = 0
    for cut in books.cuts:
        since = books.told[told : cut.told]
        held = Counter(timed.value for timed in since)
        for seq in range(next_seq, cut.next_seq):
            if seq in signed:
                held -= Counter(values(signed[seq]))
        told, next_seq = cut.told, cut.next_seq
        taken += held & _newest(since, held)
        most = max(most, held.total())
    return taken, most


def _newest(told: Sequence[Timed], held: Counter[Value]) -> Counter[Value]:
    """Return the newest values, as many of each name as `held` has."""
    left = Counter(value.name for value in held.elements())
    newest: Counter[Value] = Counter()
    for timed in reversed(told):
        if left[timed.value.name] > 0:
            left[timed.value.name] -= 1
            newest[timed.value] += 1
    return newest


def forged_stored(log: Sequence[Statement], forgeries: Iterable[Forgery]) -> int:
    """Return how many forged messages are in the log. A replay is there if its statement is there more than once."""
    rows = Counter(statement.raw for statement in log)
    replays = {forgery.raw for forgery in forgeries if forgery.kind == REPLAY}
    others = {forgery.raw for forgery in forgeries if forgery.kind != REPLAY}
    return sum(max(0, rows[raw] - 1) for raw in replays) + sum(rows[raw] for raw in others)


def _chain(label: str, books: BoardBooks) -> list[str]:
    """Return what is wrong with a board's chain: a seq missing and not declared lost, or a prev that does not fit."""
    faults: list[str] = []
    declared = {seq for first, last in books.declared for seq in range(first, last + 1)}
    last: Statement | None = None
    next_seq = 0
    for seq in sorted(books.stored):
        statement = books.stored[seq]
        skipped = [lower for lower in range(next_seq, seq) if lower not in declared]
        if skipped:
            faults.append(f"{label}: seq {skipped[0]} is neither stored nor declared lost")
        elif seq == next_seq and statement.prev != (last.entry if last else GENESIS):
            faults.append(f"{label}: seq {seq} does not follow the one before")
        last, next_seq = statement, seq + 1
    return faults


def _clock_error(books: BoardBooks, signed: Mapping[int, Statement]) -> float:
    """Return by how much the worst of a board's own times is off.

    Readings of one name are told, signed and numbered in the same order, so the n-th told is the n-th signed but for
    what power cuts have taken. Where that does not hold, the comparison ends: `account` says what is wrong.
    """
    told: dict[str, list[Timed]] = {}
    for timed in books.told:
        told.setdefault(timed.value.name, []).append(timed)
    at = dict.fromkeys(told, 0)
    cuts = list(books.cuts)
    worst = 0.0
    for seq in sorted(signed):
        while cuts and seq >= cuts[0].next_seq:
            before = Counter(timed.value.name for timed in books.told[: cuts.pop(0).told])
            at = {which: max(place, before[which]) for which, place in at.items()}
        times = books.times.get(seq)
        for number, value in enumerate(values(signed[seq])):
            place = at.get(value.name, 0)
            stream = told.get(value.name, [])
            if place >= len(stream) or stream[place].value != value:
                return worst
            at[value.name] = place + 1
            claimed, real = times[number] if times else None, stream[place].time
            if claimed is not None and real is not None:
                worst = max(worst, abs(claimed - real))
    return worst
