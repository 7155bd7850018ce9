"""What becomes of a command: the decisions, and that a power cut at any write leaves the old or the new."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from boardrunner import BoardProcess
from cutpower import cut_everywhere
from hypothesis import given
from hypothesis import strategies as st
from trigpoint_tools.powercut import WHOLE

CONFIGURATION, UPDATE = 1, 2
NONE, REFUSED, PENDING, TRYING, CONFIRMED, ROLLED_BACK = range(6)

_SETUP = """
import sys
sys.modules["esp32"] = None
import slots
from trig import change

def start(fields, staged, loader_fields):
    record = change.Record()
    record.counter, record.kind, record.state, record.starts, record.version, record.reason = fields
    loader = slots.State()
    loader.trial, loader.on_trial, loader.version, loader.failed, loader.cause, *bad = loader_fields
    loader.bad = bad[0] if bad else 0
    change.at_start(record, staged, loader)
    record = change.Record(record.pack())
    return [record.state, record.starts, record.reason, record.counter]

def packed(reason):
    record = change.Record()
    record.reason = reason
    return change.Record(record.pack()).reason

def read(data):
    return change.Record(data).state
"""

NO_TRIAL = [255, 0, 0, 0, ""]


@pytest.fixture(scope="module")
def board() -> Iterator[BoardProcess]:
    with BoardProcess(_SETUP) as process:
        yield process


def start(board: BoardProcess, kind: int, state: int, starts: int = 0, *, staged: bool = True, loader: object = None):  # type: ignore[no-untyped-def]
    version = 7 if kind == UPDATE else 0
    return board.call("start", [5, kind, state, starts, version, ""], staged, loader or NO_TRIAL)[:3]  # type: ignore[index]


def test_a_configuration_has_three_starts(board: BoardProcess) -> None:
    assert start(board, CONFIGURATION, PENDING) == [TRYING, 1, ""]
    assert start(board, CONFIGURATION, TRYING, 1) == [TRYING, 2, ""]
    assert start(board, CONFIGURATION, TRYING, 2) == [TRYING, 3, ""]
    assert start(board, CONFIGURATION, TRYING, 3) == [ROLLED_BACK, 3, "three starts without an ack"]


def test_the_rename_is_what_confirms_a_configuration(board: BoardProcess) -> None:
    assert start(board, CONFIGURATION, TRYING, 1, staged=False)[0] == CONFIRMED
    assert start(board, CONFIGURATION, PENDING, staged=False)[0] == ROLLED_BACK


def test_an_update_that_the_board_has_no_room_to_fetch_is_given_up(board: BoardProcess) -> None:
    """Else it would start anew for ever."""
    for bad in range(6):
        state, _, reason = start(board, UPDATE, PENDING, loader=[255, 0, 6, 0, "MemoryError: 224 bytes", bad])
        assert (state, reason) == (
            (ROLLED_BACK, "starts that ended badly: MemoryError: 224 bytes") if bad > 3 else (PENDING, "")
        )
    assert start(board, CONFIGURATION, TRYING, 1, loader=[255, 0, 6, 0, "", 5])[0] == TRYING


@pytest.mark.parametrize(
    ("loader", "staged", "state"),
    [
        ([1, 7, 6, 0, ""], True, TRYING),
        ([255, 0, 7, 0, ""], True, CONFIRMED),
        ([255, 0, 9, 0, ""], True, CONFIRMED),
        ([255, 0, 6, 7, "watchdog"], True, ROLLED_BACK),
        ([255, 0, 6, 5, ""], True, PENDING),
        ([255, 0, 6, 0, ""], False, ROLLED_BACK),
    ],
)
@pytest.mark.parametrize("before", [PENDING, TRYING])
def test_of_an_update_the_loader_knows(
    board: BoardProcess, before: int, loader: list[object], staged: bool, state: int
) -> None:
    assert start(board, UPDATE, before, staged=staged, loader=loader)[0] == state


@given(
    st.sampled_from([CONFIGURATION, UPDATE]),
    st.sampled_from([NONE, REFUSED, CONFIRMED, ROLLED_BACK]),
    st.booleans(),
    st.sampled_from([NO_TRIAL, [1, 7, 6, 0, ""], [255, 0, 9, 7, "x"]]),
)
def test_what_is_over_stays_over(
    board: BoardProcess, kind: int, state: int, staged: bool, loader: list[object]
) -> None:
    assert start(board, kind, state, 1, staged=staged, loader=loader) == [state, 1, ""]


@given(st.binary(max_size=100) | st.binary(min_size=75, max_size=75))
def test_any_bytes_in_nvs_are_a_record(board: BoardProcess, data: bytes) -> None:
    assert board.call("read", data) == (data[5] if len(data) == 75 else NONE)


@given(st.text(max_size=80))
def test_a_reason_is_kept_as_ascii(board: BoardProcess, text: str) -> None:
    assert board.call("packed", text) == "".join(c if " " <= c <= "~" else "?" for c in text[:64])


ENDS = [
    (CONFIGURATION, True, (CONFIRMED, "old", "new", 0)),
    (CONFIGURATION, False, (ROLLED_BACK, "old", "old", 0)),
    (UPDATE, True, (CONFIRMED, "new", "old", 0)),
    (UPDATE, False, (ROLLED_BACK, "old", "old", 0)),
]


@pytest.mark.parametrize("torn", [WHOLE, 16])
@pytest.mark.parametrize(("kind", "proves", "end"), ENDS)
def test_power_cut_at_every_write(kind: int, proves: bool, end: tuple[int, str, str, int], torn: int) -> None:
    outcome = cut_everywhere(kind, proves=proves, torn=torn, again=(-1, 5))
    assert outcome.end == end
    assert outcome.failures == ()
    assert outcome.runs >= (160 if kind == UPDATE else 20)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("torn", [WHOLE, 0, 7, 100])
@pytest.mark.parametrize(("kind", "proves", "end"), ENDS)
def test_power_cut_twice_at_every_write(kind: int, proves: bool, end: tuple[int, str, str, int], torn: int) -> None:
    outcome = cut_everywhere(kind, proves=proves, torn=torn, again=range(90), timeout=3600)
    assert outcome.end == end
    assert outcome.failures == ()
