"""The firmware's budgets in a short form; `make bench` has the figures."""

from __future__ import annotations

from pathlib import Path

import pytest
from trigpoint_tools.bench import budget


def test_compiled_application_fits() -> None:
    assert 40_000 < budget.app_mpy_bytes() <= 98_304


def _runs(directory: Path, readings: int, reconnects: int) -> tuple[int, ...]:
    done = budget.run_readings(directory, readings, reconnects)
    assert done.readings >= readings
    assert {name: done.health[name] for name in budget.TROUBLES if done.health[name]} == {}
    assert done.health["heap_low"] > 12_288
    return done.heap_free


def test_readings_leave_no_heap_in_use(tmp_path: Path) -> None:
    # So few looks do not always see the board at rest; a leak of half a byte a reading would be more.
    assert budget.growth(_runs(tmp_path, 6000, 0)) < 2048


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_100_000_readings_leave_no_heap_in_use(tmp_path: Path) -> None:
    assert budget.growth(_runs(tmp_path, budget.READINGS, budget.RECONNECTS)) == 0
