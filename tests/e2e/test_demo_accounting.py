"""The demo's audit must find every fault that it is there to find: each test cooks one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from trigpoint.wire.keys import PublicKey, sign
from trigpoint.wire.statement import Reading, Statement, build, parse
from trigpoint_tools.demo import attacker
from trigpoint_tools.demo.accounting import (
    REPLAY,
    Account,
    Cut,
    Forgery,
    Stored,
    Timed,
    Value,
    audit,
    in_ram_at_cut,
    time_audit,
    tree_root,
    values,
)

BATCH = 6
KEYS = [ec.derive_private_key(number, ec.SECP256R1()) for number in (7, 8)]
KIDS = [PublicKey.of(key).kid for key in KEYS]


def history(board: int, sizes: Sequence[int]) -> tuple[list[Value], list[Statement]]:
    """A board's measurements, and the statements that carry them all."""
    measured: list[Value] = []
    statements: list[Statement] = []
    prev = bytes(32)
    for seq, size in enumerate(sizes):
        readings = [Reading("temperature", "Cel", 1500 + 10 * seq + i, -2, i) for i in range(size)]
        raw = build(
            kid=KIDS[board],
            seq=seq,
            prev=prev,
            oldest=seq,
            base_time=1_357_020_000 + seq * 3600,
            readings=readings,
            sign=lambda message: sign(KEYS[board], message),
        )
        statements.append(parse(raw))
        prev = statements[-1].entry
        measured += values(statements[-1])
    return measured, statements


MEASURED = {KIDS[board]: history(board, (6, 6, 6))[0] for board in (0, 1)}
STATEMENTS = [
    statement for pair in zip(history(0, (6, 6, 6))[1], history(1, (6, 6, 6))[1], strict=True) for statement in pair
]


def stored(statements: Sequence[Statement] = STATEMENTS, **changes: object) -> Stored:
    rows: dict[bytes, list[Value]] = {}
    for statement in statements:
        rows.setdefault(statement.kid, []).extend(values(statement))
    return replace(Stored(statements, rows), **changes)  # type: ignore[arg-type]


def check(
    what: Stored, cuts: Sequence[Cut] = (), forgeries: Sequence[Forgery] = (), cloned: frozenset[bytes] = frozenset()
) -> Account:
    return audit(MEASURED, what, cuts=cuts, forgeries=forgeries, cloned=cloned, batch_values=BATCH)


def test_a_clean_run_has_no_faults() -> None:
    account = check(stored())
    assert account.faults == ()
    assert (account.measured, account.stored, account.statements) == (36, 36, 6)
    assert (account.lost, account.duplicated, account.in_ram_at_cut, account.forged_stored) == (0, 0, 0, 0)


@pytest.mark.parametrize("index", range(6))
def test_a_statement_that_is_not_there_is_lost(index: int) -> None:
    account = check(stored([*STATEMENTS[:index], *STATEMENTS[index + 1 :]]))
    assert account.lost == 6
    assert any("6 readings" in fault for fault in account.faults)


@pytest.mark.parametrize("index", range(6))
def test_a_statement_that_is_there_twice_is_a_duplicate(index: int) -> None:
    account = check(stored([*STATEMENTS[: index + 1], *STATEMENTS[index:]]))
    assert account.duplicated == 6
    assert any("belongs" in fault for fault in account.faults)


def test_a_duplicate_does_not_make_up_for_a_loss() -> None:
    account = check(stored([STATEMENTS[0], STATEMENTS[1], *STATEMENTS[0:2], *STATEMENTS[4:]]))
    assert account.lost == 12
    assert account.duplicated == 12


def test_a_row_that_says_another_value_is_found() -> None:
    rows = {kid: list(of_board) for kid, of_board in stored().readings.items()}
    rows[KIDS[0]][3] = rows[KIDS[0]][3]._replace(mantissa=9999)
    account = check(stored(readings=rows))
    assert (account.lost, account.duplicated) == (1, 1)
    assert any("rows of readings" in fault for fault in account.faults)


def test_what_a_power_cut_took_from_ram_is_counted_apart() -> None:
    taken = tuple(values(STATEMENTS[-1]))
    account = check(stored(STATEMENTS[:-1]), cuts=[Cut(KIDS[1], taken, 18)])
    assert (account.lost, account.in_ram_at_cut) == (0, 6)
    assert account.faults == ()


def test_a_power_cut_excuses_only_its_own_board_and_values() -> None:
    taken = tuple(values(STATEMENTS[-1]))
    other_board = check(stored(STATEMENTS[:-1]), cuts=[Cut(KIDS[0], taken, 18)])
    other_values = check(stored(STATEMENTS[:-1]), cuts=[Cut(KIDS[1], tuple(values(STATEMENTS[0])), 18)])
    for account in (other_board, other_values):
        assert (account.lost, account.in_ram_at_cut) == (6, 0)
        assert account.faults


def test_a_power_cut_excuses_no_more_than_a_batch() -> None:
    gone = [*values(STATEMENTS[3]), *values(STATEMENTS[5])]
    account = check(stored([*STATEMENTS[:3], STATEMENTS[4]]), cuts=[Cut(KIDS[1], tuple(gone), 18)])
    assert (account.lost, account.in_ram_at_cut) == (6, 6)
    assert any("more than a batch" in fault for fault in account.faults)


@given(st.integers(0, 18), st.integers(0, 3), st.integers(0, 3))
def test_what_is_in_ram_is_what_neither_flash_nor_gateway_has(
    measured: int, stored_to: int, first_on_flash: int
) -> None:
    everything, statements = history(0, (6, 6, 6))
    cut = in_ram_at_cut(KIDS[0], everything[:measured], statements[first_on_flash:], statements[:stored_to])
    held = {
        value
        for index, s in enumerate(statements)
        if index < stored_to or index >= first_on_flash
        for value in values(s)
    }
    assert list(cut.lost_in_ram) == [value for value in everything[:measured] if value not in held]


TIMED = [Timed(value, 1000.0 + place) for place, value in enumerate(MEASURED[KIDS[0]])]


def test_readings_in_order_and_on_time_are_well() -> None:
    late = [timed._replace(time=timed.time + 3) for timed in TIMED if timed.time is not None]
    assert time_audit(TIMED, late, [], tolerance_s=5) == (3.0, [])
    assert time_audit(TIMED, late, [], tolerance_s=2)[1]


def test_a_time_that_the_gateway_estimated_is_not_held_against_the_board() -> None:
    assert time_audit(TIMED, [TIMED[0]._replace(time=None), *TIMED[1:]], [], tolerance_s=0) == (0.0, [])


def test_two_readings_that_changed_places_are_found() -> None:
    swapped = [TIMED[1], TIMED[0], *TIMED[2:]]
    assert time_audit(TIMED, swapped, [], tolerance_s=1e9)[1]


@given(st.integers(0, 18), st.integers(0, 6))
def test_what_was_in_ram_is_missing_just_before_the_cut_and_nowhere_else(at: int, count: int) -> None:
    count = min(at, count)
    gone = TIMED[at - count : at]
    cut = Cut(KIDS[0], tuple(timed.value for timed in gone), at)
    assert time_audit(TIMED, [*TIMED[: at - count], *TIMED[at:]], [cut], tolerance_s=0) == (0.0, [])
    if count and at < len(TIMED):
        elsewhere = [*TIMED[: at - count + 1], *TIMED[at + 1 :]]
        assert time_audit(TIMED, elsewhere, [cut], tolerance_s=0)[1]


def test_a_prev_that_does_not_follow_is_found() -> None:
    odd = STATEMENTS[2]._replace(prev=bytes(32))
    account = check(stored([*STATEMENTS[:2], odd, *STATEMENTS[3:]]))
    assert any("does not follow" in fault for fault in account.faults)


FORGED = [
    Forgery(attacker.BAD_SIGNATURE, KIDS[0], attacker.changed_value(STATEMENTS[0])),
    Forgery(attacker.BAD_SIGNATURE, KIDS[0], attacker.invented_next(STATEMENTS[4])),
    Forgery(attacker.UNKNOWN_BOARD, KIDS[0], attacker.stranger(STATEMENTS[0])),
    Forgery(attacker.TRUNCATED, KIDS[0], attacker.truncated(STATEMENTS[0])),
    Forgery(attacker.CLONED_KEY, KIDS[0], attacker.cloned(STATEMENTS[0], KEYS[0])),
    Forgery(REPLAY, KIDS[1], STATEMENTS[1].raw),
]
CAUGHT = {
    "evidence": frozenset({FORGED[4].raw}),
    "refused": {"signature": frozenset(f.raw for f in FORGED[:2]), "other": frozenset(f.raw for f in FORGED[2:4])},
    "flagged": frozenset({KIDS[0]}),
}


def test_forged_messages_that_were_refused_are_counted_by_kind() -> None:
    account = check(stored(**CAUGHT), forgeries=FORGED, cloned=frozenset({KIDS[0]}))
    assert account.faults == ()
    assert account.forged_stored == 0
    assert account.clones_flagged == 1
    assert account.forged_sent == account.refused
    assert set(account.refused) == set(attacker.KINDS)


@pytest.mark.parametrize("index", [0, 1, 2, 4])
def test_a_forged_statement_in_the_log_is_found(index: int) -> None:
    statements = [*STATEMENTS, parse(FORGED[index].raw)]
    account = check(stored(statements, **CAUGHT), forgeries=FORGED, cloned=frozenset({KIDS[0]}))
    assert account.forged_stored == 1
    assert any("forged messages are in the log" in fault for fault in account.faults)


def test_a_replay_that_made_a_second_row_is_found() -> None:
    account = check(stored([*STATEMENTS, STATEMENTS[1]], **CAUGHT), forgeries=FORGED, cloned=frozenset({KIDS[0]}))
    assert account.forged_stored == 1


def test_a_forged_message_without_a_trace_is_a_fault() -> None:
    account = check(stored(**{**CAUGHT, "evidence": frozenset()}), forgeries=FORGED, cloned=frozenset({KIDS[0]}))
    assert any("left no trace" in fault for fault in account.faults)


def test_a_clone_that_was_not_flagged_is_a_fault() -> None:
    account = check(stored(**{**CAUGHT, "flagged": frozenset()}), forgeries=FORGED, cloned=frozenset({KIDS[0]}))
    assert account.clones_flagged == 0
    assert any("not flagged" in fault for fault in account.faults)


def test_an_honest_board_that_was_flagged_is_a_fault() -> None:
    account = check(stored(flagged=frozenset({KIDS[1]})))
    assert any("though its key was not cloned" in fault for fault in account.faults)


def test_statements_that_boards_gave_up_are_a_fault() -> None:
    assert any("given up" in fault for fault in check(stored(declared_lost=1)).faults)


def test_forged_statements_are_well_shaped_and_signed_as_they_claim() -> None:
    """What the gateway must refuse for its signature alone must not fall at the shape already."""
    victim = PublicKey.of(KEYS[0])
    for forgery, holds in ((FORGED[0], False), (FORGED[1], False), (FORGED[4], True)):
        statement = parse(forgery.raw)
        assert victim.verify(statement.signature, statement.to_be_signed()) is holds
        assert statement.kid == KIDS[0]
    unknown = parse(FORGED[2].raw)
    assert unknown.kid not in KIDS


def test_tree_root_is_that_of_rfc_6962() -> None:
    """The first hashes of certificate-transparency's well-known tree, whose leaves are '', 00 and 10."""
    leaves = [b"", b"\x00", b"\x10"]
    assert tree_root([]).hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert tree_root(leaves[:1]).hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    assert tree_root(leaves[:2]).hex() == "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"
    assert tree_root(leaves).hex() == "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"
