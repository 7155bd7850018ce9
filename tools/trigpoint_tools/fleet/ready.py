"""The scenarios that come with Trigpoint, and how one is named on the command line."""

from __future__ import annotations

import difflib
from functools import cache
from importlib import resources
from pathlib import Path

from trigpoint_tools.fleet.scenario import Scenario, ScenarioError, load

FOLDER = Path(str(resources.files("trigpoint_tools.fleet"))) / "scenarios"
"""Where their files are."""

_FIRST = "first-light"
_LAST = "bad-week"


@cache
def ready() -> tuple[Scenario, ...]:
    """Return the ready scenarios, from the one in which nothing goes wrong to the one in which everything does."""
    found = [load(file) for file in FOLDER.glob("*.toml")]
    return tuple(sorted(found, key=lambda scenario: (scenario.name == _LAST, scenario.name != _FIRST, scenario.name)))


def find(name: str) -> Scenario:
    """Return the scenario that somebody has named: a ready one by its name, any other by its path.

    Raises:
        ScenarioError: there is none, or it cannot be read or played.
    """
    if Path(name).suffix == ".toml" or Path(name).is_file():
        return load(Path(name))
    by_name = {scenario.name: scenario for scenario in ready()}
    if name in by_name:
        return by_name[name]
    meant = difflib.get_close_matches(name, by_name, 1)
    hint = f"did you mean {meant[0]}?" if meant else "`trigpoint fleet ls` lists the ready ones, a path ends in .toml"
    raise ScenarioError(f"there is no ready scenario {name!r}; {hint}")
