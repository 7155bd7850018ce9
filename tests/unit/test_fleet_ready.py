"""The ready scenarios: all can be played, keep their schedule, and are found by name; and the commands around them."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from fleetresult import result as fake
from hypothesis import given
from hypothesis import strategies as st
from trigpoint import cli
from trigpoint_tools.fleet.ready import FOLDER, find, ready
from trigpoint_tools.fleet.result import Result
from trigpoint_tools.fleet.scenario import (
    MAX_BOARDS,
    BoardGroup,
    Fault,
    FaultKind,
    Scenario,
    ScenarioError,
    load,
    parse,
)
from trigpoint_tools.fleet.schedule import schedule
from typer.testing import CliRunner

EACH = pytest.mark.parametrize("scenario", ready(), ids=lambda scenario: scenario.name)

SCHEDULES = {
    "first-light": (0, "4f53cda18c2baa0c"),
    "flaky-wifi": (23, "0c0a8db3bc74e80f"),
    "lying-sensors": (11, "5fa75a7b215142e0"),
    "mixed-sensors": (0, "4f53cda18c2baa0c"),
    "power-cuts": (13, "7e5361dffb2b9579"),
    "restarts": (10, "a2285615e5967e9a"),
    "stolen-key": (8, "378d215a6e8b372c"),
    "worn-flash": (24, "e501a6f49cb99c20"),
    "wrong-clocks": (10, "0b305bd1225f9740"),
    "bad-week": (87, "1e45f2108c637d4e"),
}
"""Of each ready scenario: how many faults, and a hash of their schedule. If one differs, the scenario was changed,
or a seed no longer gives the run that it gave."""


def digest(scenario: Scenario) -> tuple[int, str]:
    events = schedule(scenario)
    written = [[event.kind, event.at_s, event.lasts_s, event.boards, event.amount, event.seed] for event in events]
    return len(events), sha256(json.dumps(written).encode()).hexdigest()[:16]


def test_there_are_at_least_six_from_first_light_to_bad_week() -> None:
    names = [scenario.name for scenario in ready()]
    assert len(names) >= 6
    assert (names[0], names[-1]) == ("first-light", "bad-week")
    assert {scenario.name for scenario in ready()} == {file.stem for file in FOLDER.glob("*.toml")}


@EACH
def test_its_schedule_is_always_the_same(scenario: Scenario) -> None:
    assert digest(scenario) == SCHEDULES[scenario.name]


@EACH
def test_it_says_what_it_is_for(scenario: Scenario) -> None:
    assert 20 <= len(scenario.about) <= 48
    lines = (FOLDER / f"{scenario.name}.toml").read_text().splitlines()
    assert sum(line.startswith("# ") for line in lines) >= 2


@EACH
def test_its_faults_come_to_an_end(scenario: Scenario) -> None:
    assert all(event.at_s + event.lasts_s < 1.5 * scenario.duration_s for event in schedule(scenario))


def test_together_they_have_every_kind_of_fault_and_bad_week_has_all() -> None:
    assert {event.kind for event in schedule(find("bad-week"))} == set(FaultKind)
    others = {event.kind for scenario in ready()[:-1] for event in schedule(scenario)}
    assert others == set(FaultKind)


@given(st.sampled_from(ready()), st.integers(1, MAX_BOARDS))
def test_scaled_it_has_so_many_boards_and_each_group_its_share(scenario: Scenario, count: int) -> None:
    if count < len(scenario.boards):
        with pytest.raises(ScenarioError, match="groups"):
            scenario.scaled(count)
        return
    scaled = scenario.scaled(count)
    assert scaled.count == count
    for before, after in zip(scenario.boards, scaled.boards, strict=True):
        assert asdict(after) | {"count": before.count} == asdict(before)
        assert abs(after.count - before.count * count / scenario.count) <= len(scenario.boards)
    assert scenario.scaled(scenario.count) == scenario


def test_another_seed_is_another_schedule_of_the_same_faults() -> None:
    scenario = find("flaky-wifi")
    other = scenario.seeded(99)
    assert other.seeded(scenario.seed) == scenario
    assert schedule(other) != schedule(scenario)


def test_boards_are_called_by_their_group() -> None:
    scenario = find("bad-week")
    names = [scenario.name_of(board) for board in range(scenario.count)]
    assert len(set(names)) == scenario.count
    assert names[0] == "roof-1"
    assert names[-1] == "border-4"


def test_a_scenario_goes_by_its_name_or_its_path(tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text((FOLDER / "first-light.toml").read_text().replace('name = "first-light"', 'name = "mine"'))
    assert find("first-light") == load(FOLDER / "first-light.toml")
    assert find(str(mine)).name == "mine"
    with pytest.raises(ScenarioError, match="did you mean bad-week"):
        find("bad-weak")
    with pytest.raises(ScenarioError, match="fleet ls"):
        find("xyzzy")
    with pytest.raises(ScenarioError, match="No such file"):
        find("nowhere.toml")


def test_the_document_has_every_key_kind_and_scenario() -> None:
    text = (Path(__file__).parents[2] / "docs" / "fleet.md").read_text()
    keys = {
        field.alias or name
        for kind in (Scenario, BoardGroup, Fault)
        for name, field in kind.__pydantic_fields__.items()  # type: ignore[attr-defined]
    }
    for name in {*keys - {"boards", "faults"}, *FaultKind, *(scenario.name for scenario in ready())}:
        assert f"| `{name}` |" in text, name


def test_the_documents_example_is_a_scenario() -> None:
    text = (Path(__file__).parents[2] / "docs" / "fleet.md").read_text()
    example = parse(text.split("```toml\n")[1].split("```")[0])
    assert example.name == "my-garden"
    assert [event.kind for event in schedule(example)] == [FaultKind.WIFI_LOSS] * 4


class Played:
    """Stands in for the runner: gives back a result and remembers what it was asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
        self.asked: list[tuple[Scenario, Path]] = []
        self._changes = changes
        module = ModuleType("trigpoint_tools.fleet.runner")
        module.run = self.run  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "trigpoint_tools.fleet.runner", module)

    def run(self, scenario: Scenario, directory: Path, observer: Any) -> Result:
        self.asked.append((scenario, directory))
        directory.mkdir(parents=True, exist_ok=True)
        observer.note("something happened")
        return fake(scenario, **self._changes)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({}, 0),
        ({"in_ram": 5, "declared_lost": 3, "declared_lost_statements": 1}, 0),
        ({"lost": 1}, 1),
        ({"duplicated": 1}, 1),
        ({"forged_stored": 1}, 1),
        ({"wrong": ("the head on the chain is not that of the stored statements",)}, 1),
    ],
)
def test_the_exit_code_says_whether_all_is_well(
    changes: dict[str, Any], code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    played = Played(monkeypatch, **changes)
    ran = CliRunner().invoke(cli.app, ["fleet", "run", "first-light", "--report", str(tmp_path / "out")])
    assert ran.exit_code == code, ran.output
    assert played.asked == [(find("first-light"), tmp_path / "out")]
    assert "something happened" in ran.output
    assert json.loads((tmp_path / "out" / "report.json").read_text())["scenario"] == "first-light"
    assert (tmp_path / "out" / "report.html").read_text().startswith("<!doctype html>")


def test_json_is_all_that_goes_to_standard_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    played = Played(monkeypatch)
    arguments = ["fleet", "run", "bad-week", "--seed", "5", "--boards", "9", "--json", "--report", str(tmp_path)]
    ran = CliRunner().invoke(cli.app, arguments)
    assert ran.exit_code == 0, ran.output
    said = json.loads(ran.stdout)
    assert (said["seed"], said["boards"], said["ok"]) == (5, 9, True)
    assert "something happened" in ran.stderr
    assert played.asked[0][0] == find("bad-week").seeded(5).scaled(9)
    assert "trigpoint fleet run bad-week --seed 5 --boards 9" in (tmp_path / "report.html").read_text()


def test_ready_scenarios_are_listed() -> None:
    ran = CliRunner().invoke(cli.app, ["fleet", "ls"], env={"COLUMNS": "80"})
    assert ran.exit_code == 0
    lines = ran.stdout.splitlines()
    for scenario in ready():
        assert any(line.startswith(scenario.name) and scenario.about in line for line in lines), scenario.name
    listed = json.loads(CliRunner().invoke(cli.app, ["fleet", "ls", "--json"]).stdout)
    assert [entry["name"] for entry in listed] == [scenario.name for scenario in ready()]
