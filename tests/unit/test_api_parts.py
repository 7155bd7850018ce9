"""The parts that every route of the API stands on: tokens, limits, cursors, decimals."""

import csv
import io
import stat
from fractions import Fraction

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from trigpoint.api import columns, cursors, decimals, limits
from trigpoint.api.parameters import MAX_S, Moment
from trigpoint.api.problems import ProblemError
from trigpoint.api.tokens import PREFIX, Scope, TokenFile
from trigpoint.errors import OperatorError
from trigpoint.store.series import Row

READINGS = frozenset({Scope.READINGS})
_places = st.lists(st.integers(0, 2**53 - 1), min_size=1, max_size=4)


@given(st.text(max_size=40), _places)
def test_a_cursor_leads_back(query, place):
    assert list(cursors.decode(query, cursors.encode(query, *place), len(place))) == place


@given(st.text(max_size=10), st.text(max_size=10), _places, st.data())
def test_a_cursor_of_another_query_or_changed_is_refused(query, other, place, data):
    cursor = cursors.encode(query, *place)
    if other != query:
        with pytest.raises(ProblemError, match="cursor"):
            cursors.decode(other, cursor, len(place))
    with pytest.raises(ProblemError, match="cursor"):
        cursors.decode(query, cursor, len(place) + 1)
    at = data.draw(st.integers(0, len(cursor) - 1))
    changed = cursor[:at] + data.draw(st.sampled_from("AZaz09-_")) + cursor[at + 1 :]
    try:
        assert list(cursors.decode(query, changed, len(place))) == place  # the last character has bits to spare
    except ProblemError as error:
        assert error.status == 400


@given(st.text(max_size=80))
def test_no_text_breaks_the_cursor_parser(text):
    with pytest.raises(ProblemError):
        cursors.decode("query", text, 1)


@pytest.mark.parametrize("number", [-(2**63), -1, 2**53, 2**63 - 1])
def test_a_forged_cursor_leads_nowhere(number):
    with pytest.raises(ProblemError):
        cursors.decode("query", cursors.encode("query", number), 1)


class _Clock:
    now = 0.0

    def __call__(self):
        return self.now


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 5)), max_size=60))
def test_nobody_gets_more_than_the_rate(asked):
    """In any stretch of time, a caller gets at most a bucket full and what has flowed in since."""
    clock = _Clock()
    limit = limits.RateLimit(12, clock)
    granted: dict[str, list[float]] = {"a": [], "b": []}
    for caller, pause_s in asked:
        clock.now += pause_s
        wait_s = limit.wait(caller)
        if wait_s:
            clock.now += wait_s + 1e-6  # who waits as told gets one
            assert limit.wait(caller) == 0
        granted[caller].append(clock.now)
    for times in granted.values():
        for first in range(len(times)):
            for last in range(first, len(times)):
                assert last - first + 1 <= 12 + (times[last] - times[first]) * 12 / 60 + 1e-3


def test_the_limit_keeps_a_bounded_number_of_callers():
    limit = limits.RateLimit(1, lambda: 0.0)
    for number in range(limits.CALLERS_KEPT + 10):
        assert limit.wait(str(number)) == 0
    assert len(limit._buckets) == limits.CALLERS_KEPT
    assert limit.wait(str(limits.CALLERS_KEPT)) > 0


@given(st.integers(-(10**30), 10**30), st.integers(-18, 0))
def test_text_is_the_number(mantissa, exponent):
    text = decimals.text(mantissa, exponent)
    assert Fraction(text) == mantissa * Fraction(10) ** exponent
    assert len(text.partition(".")[2]) == -exponent
    assert "e" not in text.lower()


@given(st.integers(-(10**20), 10**20), st.integers(1, 10**6), st.integers(-18, 0))
def test_a_mean_is_the_nearest(total, count, exponent):
    mantissa, scale = decimals.mean(total, count, exponent)
    exact = Fraction(total, count) * 10**decimals.MEAN_DIGITS
    assert scale == exponent - decimals.MEAN_DIGITS
    assert mantissa == round(exact)  # which is to even, too


def test_a_token_is_shown_once_and_kept_as_a_hash(tmp_path):
    tokens = TokenFile(tmp_path / "data" / "tokens.json")
    assert tokens.all() == []
    text = tokens.add("grafana", READINGS, 5)
    assert text.startswith(PREFIX) and len(text) == len(PREFIX) + 43
    stored = (tmp_path / "data" / "tokens.json").read_text()
    assert text not in stored and text.removeprefix(PREFIX) not in stored
    assert stat.S_IMODE((tmp_path / "data" / "tokens.json").stat().st_mode) == 0o600
    found = TokenFile(tmp_path / "data" / "tokens.json").find(text)
    assert found is not None
    assert (found.name, found.scopes, found.made_ms) == ("grafana", READINGS, 5)
    assert tokens.find(text[:-1]) is None and tokens.find(text + "A") is None and tokens.find("") is None


def test_a_running_reader_sees_what_another_process_writes(tmp_path):
    reader, writer = TokenFile(tmp_path / "t.json"), TokenFile(tmp_path / "t.json")
    first, second = writer.add("a", READINGS, 0), writer.add("b", frozenset(Scope), 0)
    assert reader.find(first) and reader.find(second)
    writer.remove("a")
    assert reader.find(first) is None and reader.find(second)
    with pytest.raises(OperatorError, match="no token a"):
        writer.remove("a")


def test_names_and_files_that_are_refused(tmp_path):
    tokens = TokenFile(tmp_path / "t.json")
    tokens.add("a", READINGS, 0)
    with pytest.raises(OperatorError, match="already"):
        tokens.add("a", READINGS, 0)
    for name in ("", "a b", "../x", "ä", "x" * 65):
        with pytest.raises(OperatorError, match="name"):
            tokens.add(name, READINGS, 0)
    (tmp_path / "t.json").chmod(0o644)
    with pytest.raises(OperatorError, match="chmod 600"):
        TokenFile(tmp_path / "t.json").find(PREFIX + "A" * 43)
    (tmp_path / "t.json").chmod(0o600)
    (tmp_path / "t.json").write_text('{"tokens": 3}')
    with pytest.raises(OperatorError, match="not a file of tokens"):
        TokenFile(tmp_path / "t.json").all()


_LIKE_A_TIME = r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(Z|[+-]\d{2}:\d{2})"


@settings(max_examples=200)
@given(st.datetimes() | st.text(max_size=30) | st.from_regex(_LIKE_A_TIME, fullmatch=True))
def test_moments_are_in_range_or_refused(value):
    from pydantic import TypeAdapter, ValidationError

    text = value if isinstance(value, str) else f"{value:%Y-%m-%dT%H:%M:%S}Z"
    try:
        assert 0 <= TypeAdapter(Moment).validate_python(text) <= MAX_S
    except ValidationError as error:
        assert "RFC 3339" in str(error) or "less than" in str(error)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1767225600", 1767225600),
        ("2026-01-01T00:00:00Z", 1767225600),
        ("2026-01-01t02:00:00+02:00", 1767225600),
        ("2025-12-31T23:59:60Z", 1767225600),
        ("1969-12-31T00:00:00Z", 0),
        ("9999-12-31T00:00:00Z", MAX_S),
    ],
)
def test_moments(text, seconds):
    from pydantic import TypeAdapter

    assert TypeAdapter(Moment).validate_python(text) == seconds


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=16), st.integers(-99, 99))
@example("=HYPERLINK(A1)", -7)
@example("@SUM(1)", -7)
def test_no_text_of_a_board_is_a_formula_and_no_number_becomes_text(unit, mantissa):
    row = Row(0, 0, 0, 1_700_000_000_000, 1_700_000_000, "board", "t", unit, mantissa, -1)
    line = columns.csv_header() + columns.csv_lines([columns.Exported("ab" * 32, row)])
    (cell,) = csv.DictReader(io.StringIO(line.decode(), newline=""))
    assert cell["unit"][0] not in "=+-@\t\r\n"
    assert cell["unit"].removeprefix("'") == unit.removeprefix("'")
    assert (cell["mantissa"], cell["value"]) == (str(mantissa), decimals.text(mantissa, -1))
