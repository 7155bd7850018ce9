"""Shared by all tests: `tests` and its folders on the import path, the `--soak` option, no deadline for Hypothesis."""

import sys
from pathlib import Path

import pytest
from hypothesis import settings

_TESTS = Path(__file__).parent
# pytest, importing test files by their path, leaves it to us where their helpers are found.
sys.path[:0] = [str(_TESTS), *(str(_TESTS / folder) for folder in ("device", "e2e", "fault", "interop", "unit"))]

# Tests run side by side on machines of two cores, where a single example may have to wait for its turn.
settings.register_profile("trigpoint", deadline=None)
settings.load_profile("trigpoint")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak", action="store_true", help="run the long versions of the tests, marked soak, too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--soak"):
        return
    for item in items:
        if item.get_closest_marker("soak"):
            item.add_marker(pytest.mark.skip(reason="long version: run with --soak"))
