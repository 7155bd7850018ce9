"""The audit of a fleet must find every loss that it is there to find, and excuse no other: each test cooks one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from trigpoint.wire.keys import PublicKey, sign
from trigpoint.wire.statement import Reading, Statement, build, parse
from trigpoint_tools.demo.accounting import REPLAY, Forgery, Timed, values
from trigpoint_tools.fleet.accounting import BoardBooks, PowerCut, account, forged_stored

KEY = ec.derive_private_key(7, ec.SECP256R1())
KID = PublicKey.of(KEY).kid
START = 1_359_936_000


def history(sizes: Sequence[int]) -> list[Statement]:
    """A board's statements of so many readings, an hour apart."""
    made: list[Statement] = []
    hours = 0
    for seq, size in enumerate(sizes):
        readings = [Reading("temperature", "Cel", (100 * seq + i) % 37, -2, 3600 * i) for i in range(size)]
        raw = build(
            kid=KID,
            seq=seq,
            prev=made[-1].entry if made else bytes(32),
            oldest=seq,
            base_time=START + 3600 * hours,
            readings=readings,
            sign=lambda message: sign(KEY, message),
        )
        made.append(parse(raw))
        hours += size
    return made


HISTORY = history((3, 1, 4, 2, 5))


def times(statement: Statement) -> list[float | None]:
    assert statement.base_time is not None
    return [float(statement.base_time + reading.t) for reading in statement.readings]


def books(statements: Sequence[Statement] = HISTORY) -> BoardBooks:
    told = [
        Timed(value, moment)
        for statement in statements
        for value, moment in zip(values(statement), times(statement), strict=True)
    ]
    return BoardBooks(
        kid=KID,
        told=told,
        stored={statement.seq: statement for statement in statements},
        times={statement.seq: times(statement) for statement in statements},
        seen={statement.seq: statement for statement in statements},
        declared=(),
        cuts=(),
        batch_values=6,
    )


def without(whole: BoardBooks, *seqs: int) -> BoardBooks:
    return replace(whole, stored={seq: one for seq, one in whole.stored.items() if seq not in seqs})


def test_all_is_well() -> None:
    found = account(books())
    assert (found.measured, found.stored, found.settled) == (15, 15, 15)
    assert (found.lost, found.duplicated, found.in_ram, found.declared_lost, found.clock_error_s) == (0, 0, 0, 0, 0.0)
    assert found.wrong == ()


def test_a_statement_that_is_not_stored_is_lost_with_what_was_in_it() -> None:
    found = account(without(books(), 2))
    assert (found.lost, found.stored, found.settled) == (4, 11, 11)
    assert any("neither stored nor declared lost" in line for line in found.wrong)
    assert any("seq 2" in line for line in found.wrong)


def test_what_the_board_has_declared_lost_is_no_loss_but_only_that() -> None:
    found = account(replace(without(books(), 2, 3), declared=[(2, 2)]))
    assert (found.declared_lost, found.declared_statements, found.lost) == (4, 1, 2)
    found = account(replace(without(books(), 2, 3), declared=[(2, 3)]))
    assert (found.declared_lost, found.declared_statements, found.lost) == (6, 2, 0)
    assert found.wrong == ()


def test_a_declaration_of_what_nobody_has_seen_excuses_nothing() -> None:
    whole = without(books(), 2)
    unseen = {seq: one for seq, one in whole.seen.items() if seq != 2}
    found = account(replace(whole, seen=unseen, declared=[(2, 2)]))
    assert (found.lost, found.declared_lost) == (4, 0)
    assert any("nobody has seen" in line for line in found.wrong)


def test_a_declaration_of_what_is_stored_is_wrong() -> None:
    assert any("declared lost too" in line for line in account(replace(books(), declared=[(2, 2)])).wrong)


def test_a_power_cut_takes_what_was_not_signed_and_no_more() -> None:
    """The last statement was never made: its five readings were in RAM. Of the one before, all was signed."""
    whole = without(books(), 4)
    whole = replace(whole, seen={seq: one for seq, one in whole.seen.items() if seq != 4})
    found = account(replace(whole, cuts=[PowerCut(told=15, next_seq=4)]))
    assert (found.in_ram, found.lost, found.wrong) == (5, 0, ())
    # Had it been signed before the cut, the cut is no excuse.
    found = account(replace(without(books(), 4), cuts=[PowerCut(told=15, next_seq=5)]))
    assert (found.in_ram, found.lost) == (0, 5)
    # What was measured after the cut is not excused by it.
    found = account(replace(whole, cuts=[PowerCut(told=12, next_seq=4)]))
    assert (found.in_ram, found.lost) == (2, 3)


def test_a_power_cut_is_no_excuse_for_a_reading_that_others_were_signed_after() -> None:
    """A board drops two readings between statements 1 and 2, and later its power is cut."""
    whole = books()
    gone = [Timed(values(HISTORY[0])[0], 7.0), Timed(values(HISTORY[0])[1], 8.0)]
    told = [*whole.told[:4], *gone, *whole.told[4:]]
    whole = replace(without(whole, 4), told=told, seen={seq: HISTORY[seq] for seq in range(4)}, batch_values=9)
    found = account(replace(whole, cuts=[PowerCut(told=len(told), next_seq=4)]))
    assert (found.in_ram, found.lost) == (5, 2)
    assert any("neither stored nor declared lost" in line for line in found.wrong)


def test_more_than_a_batch_in_ram_is_wrong() -> None:
    whole = replace(without(books(), 3, 4), seen={seq: HISTORY[seq] for seq in range(3)})
    found = account(replace(whole, cuts=[PowerCut(told=15, next_seq=3)]))
    assert found.in_ram == 7
    assert any("more than a batch" in line for line in found.wrong)


def test_what_was_never_measured_or_is_there_twice_is_duplicated() -> None:
    found = account(replace(books(), told=books().told[:-2]))
    assert (found.duplicated, found.lost) == (2, 0)
    assert any("never measured" in line for line in found.wrong)
    assert found.settled == 13


def test_another_statement_under_a_seq_is_wrong() -> None:
    other = history((3, 1, 4, 2, 5, 1))
    forged = parse(
        build(
            kid=KID,
            seq=2,
            prev=bytes(32),
            oldest=2,
            base_time=START,
            readings=[Reading("temperature", "Cel", 5, -2, 0)],
            sign=lambda message: sign(KEY, message),
        )
    )
    assert other[2].raw == HISTORY[2].raw
    found = account(replace(books(), stored=books().stored | {2: forged}))
    assert any("not what it has signed" in line for line in found.wrong)
    assert any("does not follow" in line for line in found.wrong)


def test_a_wrong_time_is_measured_past_what_is_gone() -> None:
    whole = without(books(), 1)
    late = dict(whole.times) | {3: [moment + 500.0 for moment in times(HISTORY[3])], 4: [None] * 5}
    assert account(replace(whole, declared=[(1, 1)], times=late)).clock_error_s == 500.0
    # Two readings that a cut took stood between seq 2 and 3: the rest is compared with what was told then.
    gone = [Timed(values(HISTORY[0])[0], 7.0), Timed(values(HISTORY[0])[1], 8.0)]
    told = [*books().told[:8], *gone, *books().told[8:]]
    found = account(replace(books(), told=told, cuts=[PowerCut(told=10, next_seq=3)]))
    assert (found.in_ram, found.clock_error_s, found.wrong) == (2, 0.0, ())


def test_forgeries_in_the_log_are_found() -> None:
    log = [*HISTORY, HISTORY[1]]
    assert forged_stored(log, [Forgery(REPLAY, KID, HISTORY[1].raw), Forgery(REPLAY, KID, HISTORY[0].raw)]) == 1
    assert forged_stored(log, [Forgery("bad signature", KID, HISTORY[3].raw)]) == 1
    assert forged_stored(log, [Forgery("bad signature", KID, b"no")]) == 0


@given(
    sizes=st.lists(st.integers(1, 6), min_size=1, max_size=8),
    data=st.data(),
)
@pytest.mark.filterwarnings("error")
def test_every_reading_ends_in_one_place(sizes: list[int], data: st.DataObject) -> None:
    """Whatever is missing: nothing is counted twice, and nothing is forgotten."""
    statements = history(sizes)
    whole = books(statements)
    missing = data.draw(st.sets(st.integers(0, len(sizes) - 1)))
    declared = data.draw(st.sets(st.integers(0, len(sizes) - 1)))
    cuts = [
        PowerCut(told=sum(sizes[:next_seq]) + data.draw(st.integers(0, 3)), next_seq=next_seq)
        for next_seq in sorted(data.draw(st.sets(st.integers(0, len(sizes)), max_size=3)))
    ]
    found = account(replace(without(whole, *missing), declared=[(seq, seq) for seq in declared], cuts=cuts))
    assert found.measured == sum(sizes)
    assert found.measured + found.duplicated == found.stored + found.lost + found.in_ram + found.declared_lost
    assert found.stored == sum(size for seq, size in enumerate(sizes) if seq not in missing)
    assert min(found.lost, found.in_ram, found.declared_lost, found.duplicated) == found.duplicated == 0
