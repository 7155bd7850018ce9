"""The loader's decisions: which slot runs, when none does, and that no sequence of ends leads anywhere else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from boardrunner import BoardProcess
from hypothesis import given
from hypothesis import strategies as st

POWER_ON, HARD, WATCHDOG, DEEP_SLEEP, SOFT = range(1, 6)
NONE = 255

_SETUP = """
import slots

def drive(events):
    # After each event through bytes and back, as through NVS. Returns what each gave and the fields after it.
    state = slots.State()
    seen = []
    for event in events:
        name, argument = event
        gave = getattr(slots, name)(state, *argument)
        state = slots.State(state.pack())
        seen.append([gave, state.active, state.trial, state.starts, state.bad, state.safe, state.version,
            state.on_trial, state.failed, state.cause])
    return seen

def packed(cause):
    state = slots.State()
    state.cause = cause
    return slots.State(state.pack()).cause

def read(data):
    state = slots.State(data)
    return [state.active, state.trial, slots.begin(state, 1)]
"""


@pytest.fixture(scope="module")
def board() -> Iterator[BoardProcess]:
    with BoardProcess(_SETUP) as process:
        yield process


class Loader:
    """The fields after the last event of a sequence."""

    def __init__(self, board: BoardProcess, *events: tuple[str, list[int]]) -> None:
        self.seen = board.call("drive", [list(event) for event in events])
        assert isinstance(self.seen, list)
        self.gave = [row[0] for row in self.seen]
        names = ("active", "trial", "starts", "bad", "safe", "version", "on_trial", "failed", "cause")
        self.last = dict(zip(names, self.seen[-1][1:], strict=True))

    def __getattr__(self, name: str) -> object:
        return self.last[name]


def start(cause: int) -> tuple[str, list[int]]:
    return "begin", [cause]


def test_a_fresh_board_starts_the_first_slot(board: BoardProcess) -> None:
    fresh = Loader(board, start(POWER_ON))
    assert (fresh.gave, fresh.bad, fresh.version) == ([0], 0, 0)


def test_the_fifth_bad_end_leads_to_safe_mode_and_then_one_more_try(board: BoardProcess) -> None:
    loader = Loader(board, start(POWER_ON), *[start(HARD)] * 9)
    assert loader.gave == [0, 0, 0, 0, 0, None, 0, None, 0, None][: len(loader.gave)]
    assert loader.safe == 3


@pytest.mark.parametrize("innocent", [POWER_ON, DEEP_SLEEP])
def test_loss_of_power_and_sleep_are_not_held_against_the_application(board: BoardProcess, innocent: int) -> None:
    assert Loader(board, *[start(innocent)] * 50).gave == [0] * 50


def test_a_sleep_proves_it_good_and_loss_of_power_proves_nothing(board: BoardProcess) -> None:
    assert Loader(board, *[start(SOFT)] * 4, start(DEEP_SLEEP)).bad == 0
    assert Loader(board, *[start(SOFT)] * 4, start(POWER_ON)).bad == 4


def test_the_watchdog_is_a_cause(board: BoardProcess) -> None:
    assert Loader(board, start(WATCHDOG)).cause == "watchdog"


def test_a_trial_that_is_confirmed(board: BoardProcess) -> None:
    loader = Loader(board, ("try_out", [7]), start(HARD), ("confirm", []), start(POWER_ON))
    assert (loader.gave[1], loader.gave[3]) == (1, 1)
    assert (loader.version, loader.trial, loader.failed, loader.on_trial) == (7, NONE, 0, 0)
    back = Loader(board, ("try_out", [7]), start(HARD), ("confirm", []), ("try_out", [8]), start(HARD))
    assert back.gave[-1] == 0


@pytest.mark.parametrize("cause", [POWER_ON, HARD, WATCHDOG, DEEP_SLEEP, SOFT])
def test_a_trial_has_three_starts_whatever_ends_them(board: BoardProcess, cause: int) -> None:
    loader = Loader(board, ("try_out", [7]), *[start(cause)] * 4)
    assert loader.gave[1:] == [1, 1, 1, 0]
    assert (loader.version, loader.failed, loader.trial, loader.bad) == (0, 7, NONE, 0)


events = st.one_of(
    st.sampled_from([POWER_ON, HARD, WATCHDOG, DEEP_SLEEP, SOFT, 0, 6]).map(start),
    st.just(("confirm", [])),
    st.just(("roll_back", [])),
)


@given(st.lists(events, max_size=30), st.lists(events, max_size=30))
def test_only_confirm_moves_and_never_back(board: BoardProcess, before: list, after: list) -> None:  # type: ignore[type-arg]
    sequence = [*before, ("try_out", [9]), *after]
    rows = Loader(board, *sequence).seen
    version, active = 0, 0
    for (name, _), row in zip(sequence, rows, strict=True):
        if row[6] != version or row[1] != active:
            assert name == "confirm"
            assert (row[6], row[1]) == (9, 1 - active)
        version, active = row[6], row[1]
        assert row[4] < 5 and row[3] <= 3


@given(st.binary(max_size=120) | st.binary(min_size=98, max_size=98))
def test_any_bytes_in_nvs_start_something(board: BoardProcess, data: bytes) -> None:
    active, trial, gave = board.call("read", data)  # type: ignore[misc]
    assert active in (0, 1) and trial in (1 - active, NONE) and gave in (0, 1, None)


@given(st.text(max_size=100))
def test_a_cause_is_kept_as_far_as_it_is_ascii(board: BoardProcess, text: str) -> None:
    assert board.call("packed", text) == "".join(c for c in text if " " <= c <= "~")[:80]
