"""What the gateway takes in, and what that costs: the real program under full load from a thousand boards.

The processor time is that of all its processes, user and system, from the first statement of a stretch to its last
ack, all else that it does meanwhile included: folds, public files, its look at the chain. It is set against one bare
P-256 verification through `cryptography`, timed beside it, under the same load.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

from trigpoint_tools.load import site
from trigpoint_tools.load.__main__ import CACHE
from trigpoint_tools.load.fill import fill
from trigpoint_tools.load.peer import Peer
from trigpoint_tools.load.publisher import Publisher, Timing
from trigpoint_tools.load.statements import Shape, supply

BOARDS = 1_000
WARM = 5
"""Rounds before anything is timed: workers start, and each board's keys are made."""

_STORED = (1_000, 1_000_000)
_STRETCHES = 4

Figures = dict[str, int | float]


def figures(report: Callable[[str], None]) -> Figures:
    """Measure full load with 18, 1 and 60 readings in a statement, and half load with 18."""
    results: Figures = {}
    with tempfile.TemporaryDirectory(prefix="trigpoint-bench-") as folder:
        for readings, rounds in ((18, 15), (1, 10), (60, 10)):
            directory = Path(folder) / str(readings)
            directory.mkdir()
            results |= _full_load(directory, readings, rounds, report)
    return results


def scaling(report: Callable[[str], None]) -> Figures:
    """Measure throughput with a thousand and with a million statements stored, in turns."""
    loads = supply(CACHE, Shape(BOARDS, WARM + 2 * _STRETCHES, 3), report)
    rates: list[list[float]] = [[], []]
    with tempfile.TemporaryDirectory(prefix="trigpoint-bench-") as folder:
        few, many = (Path(folder) / name for name in ("few", "many"))
        for directory, stored in zip((few, many), _STORED, strict=True):
            (directory / "gateway" / "data").mkdir(parents=True)
            fill(directory / "gateway" / "data" / "trigpoint.db", stored, 3, report)
        with site.make(few, loads) as one, site.make(many, loads) as other:
            publishers = []
            for gateway in (one, other):
                gateway.start()
                publishers.append(gateway.publisher(loads))
                publishers[-1].run(0, WARM)
            for stretch in range(_STRETCHES):
                for publisher, found in zip(publishers, rates, strict=True):
                    timing = publisher.run(WARM + 2 * stretch, 2)
                    found.append(timing.statements / timing.seconds)
    with_few, with_many = map(statistics.median, rates)
    report(f"{with_few:,.0f} statements/s with {_STORED[0]:,} stored, {with_many:,.0f} with {_STORED[1]:,}")
    return {"ingest_scaling": round(with_many / with_few, 3)}


def _full_load(directory: Path, readings: int, rounds: int, report: Callable[[str], None]) -> Figures:
    half_load = 5 if readings == 18 else 0
    loads = supply(CACHE, Shape(BOARDS, WARM + rounds + half_load, readings), report)
    with site.make(directory, loads) as gateway:
        gateway.start()
        publisher = gateway.publisher(loads)
        publisher.run(0, WARM)
        with Peer() as peer:
            before = gateway.usage()
            timing = publisher.run(WARM, rounds)
            after = gateway.usage()
        verification = peer.verification_s
        cost = (after.cpu_s - before.cpu_s) / timing.statements
        rate = timing.statements / timing.seconds
        report(
            f"{readings} readings: {rate:,.0f} statements/s, {1e6 * cost:.0f} us of processor time each, "
            f"a verification takes {1e6 * verification:.0f} us; {after.pss_mb:.0f} MB (sum of RSS {after.rss_mb:.0f})"
        )
        if readings != 18:
            found: Figures = {f"ingest_cpu_vs_verify_{readings}": round(cost / verification, 2)}
            return found | ({"ingest_readings_per_s": round(rate * readings)} if readings == 60 else {})
        half = _half_load(publisher, rounds, half_load, rate)
        return {
            "ingest_cpu_vs_verify": round(cost / verification, 2),
            "ingest_statements_per_s": round(rate),
            "ingest_rss_mb": round(after.rss_mb, 1),
            "ingest_pss_mb": round(after.pss_mb, 1),
            "ack_ms_p50": round(half.delay_ms(0.5), 1),
            "ack_ms_p99": round(half.delay_ms(0.99), 1),
        }


def _half_load(publisher: Publisher, before: int, rounds: int, full_rate: float) -> Timing:
    return publisher.run(WARM + before, rounds, round_s=2 * BOARDS / full_rate)
