"""Readings over time: what index, hours and tail give is what a pass over all statements gives."""

import functools
import itertools
import sqlite3
from fractions import Fraction

import pytest
from apiserver import NOW_MS, Journal
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from statements import TestBoard
from trigpoint.store import lookup, series, statements
from trigpoint.store.hours import SERIES_OF_BOARD
from trigpoint.store.series import Wanted
from trigpoint.wire.statement import Reading

BOARDS = (TestBoard(1), TestBoard(2))
NOW_S = NOW_MS // 1000
HOUR = 3600

# Few values, close together: so that hours, names, units and exponents meet in every way.
_value = st.sampled_from([-(2**31) + 1, -5, 0, 7, 2150, 2**31 - 1])
_name, _unit, _exponent = st.sampled_from(["a", "b/c"]), st.sampled_from(["Cel", "%RH"]), st.sampled_from([-18, -2, 0])
_reading = st.builds(Reading, _name, _unit, _value, _exponent, st.just(0))


@st.composite
def stated(draw):
    """(board, base time or None, arrival, readings with offsets, seqs skipped)."""
    # Out of order, hours apart, and sometimes ahead of the arrival, which is doubtful.
    often = st.sampled_from([NOW_S - 4 * HOUR, NOW_S - HOUR, NOW_S - 601, NOW_S, NOW_S + 2 * HOUR])
    base = draw(st.none() | often | often | st.integers(NOW_S - 5 * HOUR, NOW_S + 2 * HOUR))
    readings = []
    for reading in draw(st.lists(_reading, min_size=1, max_size=4)):
        offset = draw(st.sampled_from([0, 1, 599, 3600, 7300]))
        readings.append(reading._replace(t=offset if base is not None else -offset))
    return (
        draw(st.integers(0, 1)),
        base,
        NOW_MS + draw(st.integers(0, 2 * HOUR)) * 1000,
        readings,
        draw(st.sampled_from([0, 0, 0, 3])),
    )


@st.composite
def journals(draw):
    """A journal, folded up to somewhere, in steps."""
    journal = Journal.in_memory()
    journal.enrol(*BOARDS)
    for board, base, arrival_ms, readings, skip in draw(st.lists(stated(), max_size=14)):
        journal.store(BOARDS[board], readings, base_time=base, arrival_ms=arrival_ms, skip=skip)
        if draw(st.integers(0, 3)) == 0:
            journal.fold(draw(st.integers(1, 5)))
    if draw(st.booleans()):
        journal.fold()
    return journal


@st.composite
def wanteds(draw):
    first = draw(st.just(NOW_S - 8 * HOUR) | st.integers(NOW_S - 8 * HOUR, NOW_S + 5 * HOUR))
    return Wanted(
        draw(st.sampled_from([None, "a", "a", "b/c", "b/c", "never"])),
        draw(st.sampled_from([None, None, "Cel", "%RH"])),
        first,
        first + draw(st.sampled_from([1, 60, HOUR, 5 * HOUR, 20 * HOUR])),
    )


def brute_force(connection: sqlite3.Connection, board: int, wanted: Wanted) -> list[series.Row]:
    rows = connection.execute("SELECT leaf_index, board, seq, arrival_ms, raw FROM statements ORDER BY leaf_index")
    return [
        row
        for stored in rows
        if stored[1] == board
        for row in series.expand(lookup.Stored(*stored))
        if wanted.from_s <= row.time_s < wanted.to_s
        and wanted.name in (None, row.name)
        and wanted.unit in (None, row.unit)
    ]


def all_pages(connection, board, wanted, limit, scan=series.SCAN_MAX):
    rows, after = [], (-1, -1)
    for _ in range(200):
        page = series.readings(connection, board, wanted, after=after, limit=limit, scan=scan)
        assert len(page.rows) <= limit
        rows += page.rows
        if page.after is None:
            return rows
        assert page.after > after
        after = page.after
    raise AssertionError("the pages have no end")


@settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(journals(), wanteds(), st.integers(1, 2), st.integers(1, 7), st.integers(1, 5))
def test_readings_are_those_of_all_statements(journal, wanted, board, limit, scan):
    assert all_pages(journal.connection, board, wanted, limit, scan) == brute_force(journal.connection, board, wanted)


def test_the_edges_of_ranges_and_hours():
    """All ranges between the moments that matter, over statements that are folded."""
    journal = Journal.in_memory()
    journal.enrol(BOARDS[0])
    first = NOW_S // HOUR * HOUR
    times = [first, first + 1_200, first + HOUR - 1, first + HOUR, first + 3 * HOUR + 30, first + 2 * HOUR - 1]
    for time_s in times:
        journal.store(BOARDS[0], [Reading("a", "Cel", 1, 0, 0)], base_time=time_s, arrival_ms=NOW_MS + 4 * HOUR * 1000)
    journal.fold()
    moments = sorted({time_s + near for time_s in times for near in (-1, 0, 1)})
    for from_s, to_s in itertools.combinations(moments, 2):
        wanted = Wanted("a", None, from_s, to_s)
        found = [row.time_s for row in all_pages(journal.connection, 1, wanted, 100)]
        assert found == [time_s for time_s in times if from_s <= time_s < to_s]


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(journals(), wanteds(), st.integers(1, 2), st.sampled_from([1, 60, 1800, 3600, 7200, 86400, 5400]))
def test_buckets_are_the_sums_of_readings(journal, wanted, board, every_s):
    whole = _widened(wanted, every_s)
    expected: dict[tuple[int, str], list[series.Row]] = {}
    for row in brute_force(journal.connection, board, whole):
        expected.setdefault((row.time_s // every_s * every_s, row.unit), []).append(row)
    found = series.buckets(journal.connection, board, whole, every_s)
    assert [(bucket.start_s, bucket.unit) for bucket in found] == sorted(expected)
    for bucket in found:
        rows, sums = expected[bucket.start_s, bucket.unit], bucket.sums
        values = [Fraction(row.mantissa) * Fraction(10) ** row.exponent for row in rows]
        scale = Fraction(10) ** sums.exponent
        assert sums.exponent == min(row.exponent for row in rows)
        assert (sums.sum * scale, sums.minimum * scale, sums.maximum * scale) == (sum(values), min(values), max(values))
        assert sums.readings == len(rows)
        sources = [row.time_source for row in rows]
        assert (sums.estimated, sums.doubtful) == (sources.count("arrival"), sources.count("doubtful"))


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 12)).map(lambda span: (span[0], sum(span)))))
def test_spans_are_merged_into_the_same_seqs(spans):
    merged = list(series._merged(sorted(spans)))
    seqs = [seq for first, last in merged for seq in range(first, last + 1)]
    assert seqs == sorted({seq for first, last in spans for seq in range(first, last + 1)})
    assert all(later[0] > earlier[1] + 1 for earlier, later in itertools.pairwise(merged))


@given(st.lists(st.tuples(_value, _exponent), min_size=1, max_size=6))
def test_sums_are_exact_whatever_the_exponents(readings):
    sums = [series.Sums(1, 0, 1, exponent, value, value, value) for value, exponent in readings]
    total = functools.reduce(series.Sums.plus, sums)
    values = [value * Fraction(10) ** exponent for value, exponent in readings]
    scale = Fraction(10) ** total.exponent
    assert (total.readings, total.estimated, total.doubtful) == (len(values), 0, len(values))
    assert total.exponent == min(exponent for _, exponent in readings)
    assert (total.sum * scale, total.minimum * scale, total.maximum * scale) == (sum(values), min(values), max(values))


def _widened(wanted: Wanted, every_s: int) -> Wanted:
    return Wanted(wanted.name, wanted.unit, wanted.from_s // every_s * every_s, -(-wanted.to_s // every_s) * every_s)


@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(journals(), st.integers(1, 2))
def test_summaries_and_next_hours(journal, board):
    everything = brute_force(journal.connection, board, Wanted(None, None, 0, 2**34))
    expected = {}
    for row in everything:
        key, hour = (row.name, row.unit), row.time_s // HOUR
        count, first, last = expected.get(key, (0, hour, hour))
        expected[key] = (count + 1, min(first, hour), max(last, hour))
    found = series.summaries(journal.connection, board)
    assert {(one.name, one.unit): one[2:] for one in found} == expected
    for from_s in (0, NOW_S - HOUR, NOW_S, 2**33):
        hours = [row.time_s // HOUR for row in everything if row.time_s // HOUR >= from_s // HOUR]
        assert series.next_hour(journal.connection, board, from_s) == (min(hours) * HOUR if hours else None)


@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(journals(), st.integers(1, 2))
def test_every_statement_is_found(journal, board):
    connection = journal.connection
    stored = lookup.from_place(connection, 0, 1_000)
    assert [one.leaf_index for one in stored] == list(range(statements.size(connection)))
    own = [one for one in stored if one.board == board]
    assert list(lookup.of_board(connection, board, 0, 2**32 - 1)) == own
    for one in own:
        assert lookup.of_seq(connection, board, one.seq) == one
        assert lookup.of_entry(connection, one.entry) == one
        assert list(lookup.of_board(connection, board, one.seq, one.seq + 2)) == [
            other for other in own if one.seq <= other.seq <= one.seq + 2
        ]
    assert lookup.of_seq(connection, board, 10_000) is None
    assert lookup.of_entry(connection, b"\x05" * 32) is None


def test_the_first_that_arrived():
    journal = Journal.in_memory()
    journal.enrol(BOARDS[0])
    for minute in range(7):
        journal.store(BOARDS[0], [Reading("a", "Cel", 1, 0, 0)], arrival_ms=minute * 60_000)
    for since_ms, place in ((0, 0), (1, 1), (60_000, 1), (360_000, 6), (360_001, 7)):
        assert lookup.first_arrived(journal.connection, since_ms) == place


def test_of_a_board_with_too_many_series_the_statements_tell():
    journal = Journal.in_memory()
    journal.enrol(BOARDS[0])
    for group in range(0, SERIES_OF_BOARD + 100, 100):
        readings = [Reading(f"n{number}", "Cel", number, 0, 0) for number in range(group, group + 100)]
        journal.store(BOARDS[0], readings, base_time=NOW_S)
    journal.fold()
    wanted = Wanted(f"n{SERIES_OF_BOARD + 50}", None, NOW_S // HOUR * HOUR, NOW_S // HOUR * HOUR + HOUR)
    assert [row.mantissa for row in all_pages(journal.connection, 1, wanted, 5)] == [SERIES_OF_BOARD + 50]
    assert [bucket.sums.sum for bucket in series.buckets(journal.connection, 1, wanted, HOUR)] == [SERIES_OF_BOARD + 50]


def test_narrow_buckets_have_a_bound():
    journal = Journal.in_memory()
    journal.enrol(BOARDS[0])
    for _ in range(5):
        journal.store(BOARDS[0], [Reading("a", "Cel", 1, 0, 0)])
    wanted = Wanted("a", None, 0, 2**34)
    with pytest.raises(series.TooMuchError):
        series.buckets(journal.connection, 1, wanted, 60, scan=4)
    assert len(series.buckets(journal.connection, 1, wanted, 60, scan=5)) == 1
