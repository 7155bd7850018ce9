"""The schedule follows from the scenario alone, and keeps its promises."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from trigpoint_tools.fleet.scenario import INSTANT_KINDS, SITE_KINDS, FaultKind, Scenario, parse
from trigpoint_tools.fleet.schedule import Draw, schedule

HEAD = """
name = "x"
duration = "5d"
seed = {seed}
[[boards]]
name = "a"
count = {a}
[[boards]]
name = "b"
count = {b}
secure_element = true
"""


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    text = HEAD.format(seed=draw(st.integers(0, 1 << 62)), a=draw(st.integers(1, 30)), b=draw(st.integers(1, 10)))
    for _ in range(draw(st.integers(0, 6))):
        kind = draw(st.sampled_from(list(FaultKind)))
        text += f'\n[[faults]]\nkind = "{kind}"\n'
        if kind not in INSTANT_KINDS:
            low = draw(st.integers(1, 100_000))
            text += f"lasts = [{low}, {low + draw(st.integers(0, 100_000))}]\n"
        if draw(st.booleans()):
            text += f"every = {draw(st.integers(60, 400_000))}\n"
        else:
            text += f"at = {draw(st.lists(st.integers(0, 431_999), min_size=1, max_size=5))}\n"
        if kind not in SITE_KINDS:
            text += draw(st.sampled_from(["", "share = 0.3\n", "boards = 3\n", 'groups = "a"\n']))
    return parse(text)


@given(scenarios())
def test_it_is_in_order_inside_the_run_and_hits_nobody_twice_at_once(scenario: Scenario) -> None:
    events = schedule(scenario)
    assert [event.number for event in events] == list(range(len(events)))
    assert [event.at_s for event in events] == sorted(event.at_s for event in events)
    until: dict[tuple[FaultKind, int], int] = {}
    for event in events:
        assert 0 <= event.at_s < scenario.duration_s
        assert (event.lasts_s == 0) == (event.kind in INSTANT_KINDS)
        assert (event.boards == ()) == (event.kind in SITE_KINDS)
        assert list(event.boards) == sorted(set(event.boards))
        for board in event.boards or (-1,):
            assert board < scenario.count
            assert until.get((event.kind, board), 0) <= event.at_s
            until[event.kind, board] = event.at_s + event.lasts_s
        if event.kind == FaultKind.CLONED_KEY:
            assert all(not scenario.group_of(board).secure_element for board in event.boards)


@given(scenarios())
def test_the_same_seed_is_the_same_schedule_and_another_one_is_not(scenario: Scenario) -> None:
    events = schedule(scenario)
    assert events == schedule(scenario)
    seeds = [event.seed for event in events]
    assert len(set(seeds)) == len(seeds)
    other = schedule(scenario.seeded(scenario.seed ^ 1))
    if events:
        assert [event.seed for event in other] != seeds


def test_it_is_the_same_in_every_process_and_for_ever() -> None:
    """Python's own hashes and `random` may differ between processes and versions; these numbers may not."""
    code = """
import json
from trigpoint_tools.fleet.scenario import parse
from trigpoint_tools.fleet.schedule import schedule
text = '''
name = "x"
duration = "2d"
seed = 7
[[boards]]
name = "a"
count = 9
[[faults]]
kind = "power-cut"
share = 0.4
every = "1d"
lasts = ["1h", "5h"]
[[faults]]
kind = "latency"
boards = 2
at = "3h"
lasts = "1h"
amount = [100, 900]
'''
print(json.dumps([(e.kind, e.at_s, e.lasts_s, e.boards, round(e.amount, 6), e.seed) for e in schedule(parse(text))]))
"""
    environment = os.environ | {"PYTHONHASHSEED": "12345"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, env=environment)
    assert json.loads(done.stdout) == EXPECTED


EXPECTED = [
    ["latency", 10800, 3600, [0, 6], 446.816281, 916163876683947747],
    ["power-cut", 73428, 15044, [4, 5, 6, 7], 0.0, 16808445886480655251],
    ["power-cut", 132556, 17744, [0, 3, 4, 6], 0.0, 10913490303953539310],
]


@given(st.integers(0, 1 << 60), st.integers(-1000, 1000), st.integers(0, 50))
def test_draws_stay_in_their_range(label: int, low: int, span: int) -> None:
    draw = Draw(label)
    assert all(low <= draw.between(low, low + span) <= low + span for _ in range(20))
    assert all(0 <= draw.fraction() < 1 for _ in range(20))
    assert len(set(draw.sample(range(span + 1), span // 2))) == span // 2


def test_draws_are_fair_enough() -> None:
    draw = Draw("fair")
    counts = Counter(draw.between(0, 9) for _ in range(10_000))
    assert all(850 < counts[number] < 1150 for number in range(10))
