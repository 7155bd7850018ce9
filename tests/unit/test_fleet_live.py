"""The live view and the closing table: what they show is what they were told, in a picture that does not jump."""

from __future__ import annotations

import io
import re
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from fleetresult import result as fake
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from trigpoint_tools.fleet import closing, live
from trigpoint_tools.fleet.events import TITLES, Snapshot, Step
from trigpoint_tools.fleet.live import LiveView, State, picture
from trigpoint_tools.fleet.ready import find
from trigpoint_tools.fleet.scenario import FaultKind
from trigpoint_tools.fleet.schedule import schedule

SCENARIO = find("bad-week")
SCHEDULE = schedule(SCENARIO)
SNAPSHOT = Snapshot(
    step=Step.RUN,
    done=0.5,
    real_s=100.0,
    world_s=302_400.0,
    date=SCENARIO.start_s + 302_400,
    boards_made=40,
    boards_on=37,
    boards_connected=31,
    measured=8400,
    stored=8111,
    statements=700,
    declared_lost=2,
    in_ram_lost=17,
    refused=23,
    flagged=1,
    anchors=6,
    gas=381_000,
    active={FaultKind.WIFI_LOSS: 6, FaultKind.BROKER_RESTART: 1},
    faults_done=40,
    ack_ms=213.0,
)


def state(snapshot: Snapshot = SNAPSHOT) -> State:
    begun = {step: 10.0 * place for place, step in enumerate(Step) if place <= list(Step).index(snapshot.step)}
    return State(SCENARIO, SCHEDULE, begun=begun, now=100.0, snapshot=snapshot)


def drawn(shown: State, width: int = 80, lines: int = 3) -> list[str]:
    console = Console(width=width, file=io.StringIO(), record=True, color_system=None)
    console.print(picture(shown, width, lines, "*"))
    return console.export_text().splitlines()


def test_it_says_what_it_was_told() -> None:
    text = "\n".join(drawn(state()))
    for said in (
        *("31 connected", "6 without a connection", "3 off", "8,400 measured", "8,111 stored", "272 waiting"),
        *("17 in RAM at a power cut", "2 statements declared lost", "half within 213 ms", "6 anchors", "381,000 gas"),
        *("23 messages refused", "1 flagged as cloned", "40 of 87 have come", "Wi-Fi lost (6), broker down", "50 %"),
        *("day 4, 12:00", "2m 48s to go"),
    ):
        assert said in text
    following = next(event for event in SCHEDULE if event.at_s > SNAPSHOT.world_s)
    assert f"{live.words.KINDS[following.kind]}" in next(line for line in text.splitlines() if " next " in line)


@settings(max_examples=25)
@given(
    st.tuples(st.sampled_from(list(Step)), st.none() | st.floats(0, 1), st.floats(-1, 1e6)),
    st.lists(st.integers(0, 10**7), min_size=12, max_size=12),
    st.lists(st.text(max_size=200), max_size=8),
    st.integers(40, 80),
)
def test_it_has_the_same_rows_whatever_happens(
    at: tuple[Step, float | None, float], counts: list[int], texts: list[str], width: int
) -> None:
    step, done, world_s = at
    snapshot = Snapshot(
        step,
        done,
        5.0,
        world_s,
        0,
        *counts,
        active=dict.fromkeys(FaultKind, 3),
        faults_done=3,
        ack_ms=None if counts[0] % 2 else 1.0,
    )
    shown = state(snapshot)
    shown.lines.extend((world_s, " ".join(text.split()), "") for text in texts)
    shown.waiting.extend(counts)
    rows = drawn(shown, width)
    assert len(rows) == len(drawn(state()))
    assert max(map(len, rows)) <= width


def test_markup_in_a_line_stays_text() -> None:
    shown = state()
    shown.lines.append((0.0, "board [red]x[/red] [/] :smile:", ""))
    assert "board [red]x[/red] [/] :smile:" in "\n".join(drawn(shown))


def plain() -> tuple[LiveView, io.StringIO, list[float]]:
    written, clock = io.StringIO(), [0.0]
    console = Console(file=written, width=80, highlight=False)
    return LiveView(console, SCENARIO, SCHEDULE, now=lambda: clock[0]), written, clock


def test_without_a_terminal_each_event_is_one_plain_line() -> None:
    view, written, clock = plain()
    with view:
        view.begun(Step.RUN, TITLES[Step.RUN])
        view.snapshot(SNAPSHOT)
        view.fault(SCHEDULE[0], "power of roof-1 cut " * 10, over=False)
        view.fault(SCHEDULE[0], "roof-1 has power again", over=True)
        for second in range(25):
            clock[0] = float(second)
            view.snapshot(SNAPSHOT)
    lines = written.getvalue().splitlines()
    assert "\x1b" not in written.getvalue()
    assert lines[:2] == [
        "bad-week  40 boards, 7 days at 1,800 times their speed, seed 2013",
        f"[1/7] {TITLES[Step.RUN]}",
    ]
    assert sum("has power again" in line for line in lines) == 1
    assert sum("8,400 measured, 8,111 stored, 272 waiting" in line for line in lines) == 2  # at 10 and 20 seconds
    assert len(lines) == 6


def test_on_a_terminal_the_steps_stay_at_the_end() -> None:
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, width=80, height=30, color_system=None)
    with LiveView(console, SCENARIO, SCHEDULE, now=lambda: 1.0) as view:
        for step in Step:
            view.begun(step, TITLES[step])
            view.snapshot(replace(SNAPSHOT, step=step))
    last = re.split(r"\x1b\[\d*[AK]", written.getvalue())
    text = "".join(last[-9:])
    assert text.count("✓") == len(Step)
    assert "measured" not in text.replace(TITLES[Step.AUDIT], "").replace("boards measure", "")


def test_the_chart_keeps_the_highest_of_each_part_of_the_run() -> None:
    view, _, _ = plain()
    for thousandth in range(1000):
        stored = 8000 if thousandth == 500 else 8380
        view.snapshot(replace(SNAPSHOT, done=thousandth / 1000, stored=stored, measured=8400, in_ram_lost=0))
    columns = view._state.waiting
    assert len(columns) == live._CHART
    assert max(columns) == columns[live._CHART // 2] == 400
    assert sorted(set(columns)) == [20, 400]


def test_it_can_be_told_while_it_draws() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80, height=40)
    view = LiveView(console, SCENARIO, SCHEDULE)
    over = threading.Event()
    raised: list[BaseException] = []

    def draw() -> None:
        try:
            while not over.is_set():
                console.print(view._render())
        except BaseException as error:
            raised.append(error)

    drawing = threading.Thread(target=draw)
    drawing.start()
    for number in range(40):
        view.begun(list(Step)[number % len(Step)], "")
        view.snapshot(replace(SNAPSHOT, done=number / 40))
        view.note("line")
    over.set()
    drawing.join()
    assert raised == []


def shown(**changes: object) -> str:
    console = Console(width=80, file=io.StringIO(), record=True, highlight=False)
    closing.show(console, fake(SCENARIO, **changes), Path("out"))
    return console.export_text()


def test_the_closing_table_has_the_counts() -> None:
    good = shown(clones=2, clones_flagged=2)
    assert re.search(r"measured +16,800", good)
    assert re.search(r"clones flagged +2", good)
    assert "✓ Nothing lost, nothing doubled." in good
    assert str(Path("out") / "report.html") in good


@pytest.mark.parametrize("count", [1, 30])
def test_what_is_wrong_is_named(count: int) -> None:
    bad = shown(lost=4, wrong=tuple(f"[bold]board {number}[/bold] is wrong" for number in range(count)))
    assert "✗ 4 readings lost." in bad
    assert "✗ [bold]board 0[/bold] is wrong" in bad
    assert bad.count("is wrong") == min(count, 10)
    assert ("and 20 more, in the report" in bad) == (count == 30)


def test_reports_are_written(tmp_path: Path) -> None:
    result = fake(SCENARIO)
    closing.write(tmp_path, result, SCENARIO, "trigpoint fleet run bad-week")
    assert (tmp_path / closing.JSON).read_text() == result.to_json()
    assert "trigpoint fleet run bad-week" in (tmp_path / closing.HTML).read_text()
