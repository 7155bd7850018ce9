"""What the gateway writes: bytes that its processes have sent to the storage layer, as the kernel accounts them.

The kernel counts whole pages of 4 KiB, each time that one is written to the disk; so SQLite's write-ahead log, its
checkpoints into the database, the folds and the public files are all in it. What the file system adds for its own
journal is not.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable
from pathlib import Path

from trigpoint_tools.bench.ingest import BOARDS, WARM, Figures
from trigpoint_tools.load import site
from trigpoint_tools.load.__main__ import CACHE
from trigpoint_tools.load.statements import Shape, supply

_FEW_BOARDS = 100
_MINUTES = 30
_SPEED = 30
_STATEMENTS_PER_DAY = _FEW_BOARDS * 24 * 60


def figures(report: Callable[[str], None]) -> Figures:
    """Measure full load, and half an hour of a hundred boards with a statement a minute each."""
    return _full_load(report) | _day(report)


def _full_load(report: Callable[[str], None]) -> Figures:
    """Measure a thousand boards at full speed, until the gateway has stopped and so folded all of it.

    One fold of the index falls on far fewer statements here than between two by default, so this is an upper bound.
    """
    rounds = 20
    loads = supply(CACHE, Shape(BOARDS, WARM + rounds, 18), report)
    with tempfile.TemporaryDirectory(prefix="trigpoint-bench-") as folder, site.make(Path(folder), loads) as gateway:
        gateway.start()
        publisher = gateway.publisher(loads)
        before = gateway.usage().written
        timing = publisher.run(0, rounds)
        publisher.close()
        written = gateway.stop() - before
    size = sum(len(raw) for turn in loads.rounds[:rounds] for raw in turn)
    report(f"{timing.statements:,} statements of {size:,} bytes: {written:,} bytes written")
    return {"disk_bytes_per_statement_byte": round(written / size, 2)}


def _day(report: Callable[[str], None]) -> Figures:
    """Measure half an hour in a world that runs so many times as fast, and all that waits for time with it.

    Each board has its own second of the minute. The index is folded once, at the end, which by default it is every
    hour: what that writes counts twice.
    """
    loads = supply(CACHE, Shape(_FEW_BOARDS, _MINUTES, 18), report)
    dice = random.Random(2)  # noqa: S311  (phases, not secrets)
    phases = sorted(dice.random() for _ in range(_FEW_BOARDS))
    report(f"{_MINUTES} minutes of {_FEW_BOARDS} boards, in {60 * _MINUTES // _SPEED} s")
    folder = tempfile.TemporaryDirectory(prefix="trigpoint-bench-")
    with folder, site.make(Path(folder.name), loads, speed=_SPEED) as gateway:
        gateway.start()
        publisher = gateway.publisher(loads)
        before = gateway.usage().written
        timing = publisher.run(0, _MINUTES, round_s=60 / _SPEED, phases=phases)
        publisher.close()
        written = gateway.stop() - before
    each = written / timing.statements
    report(
        f"{timing.statements:,} statements: {each:,.0f} bytes written for each, acks in {timing.delay_ms(0.5):.0f} ms"
    )
    return {"disk_mb_per_day_100_boards": round(each * _STATEMENTS_PER_DAY / 1e6)}
