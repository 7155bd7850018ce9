"""`python -m trigpoint_tools.bench [NAME ...]`: measure figures, print a table, write build/bench/results.json.

Without a name all parts but the long ones are measured, with names these alone, and the other figures in the file stay
as they were.
Exit code 0 when every figure holds its limit (of all, or of the parts named), 1 otherwise, 2 for a name that is none.
Each ratio is measured against its peer in the same run; a figure without a limit is there to be watched.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from trigpoint_tools.bench import (
    api,
    battery,
    budget,
    crash,
    demo,
    fleet,
    gas,
    ingest,
    journal,
    log,
    serial,
    series,
    signing,
    stages,
    wear,
)

RESULTS = Path("build/bench/results.json")

# The most that a figure may be, and what it says.
LIMITS: dict[str, tuple[float, str]] = {
    "sign_vs_naive": (0.30, "comb signature / textbook double-and-add signature, same interpreter"),
    "sign_heap_peak_bytes": (12_288, "extra heap that a signature needs, by bisection over the heap's size"),
    "anchor_gas_1m": (60_000, "gas of an anchor with its proof, 2^20 to 2^21 leaves, mean of 20"),
    "register_gas": (220_000, "gas of one registration by permit, after the first"),
    "register_batch_gas_each": (180_000, "gas of each of 20 registrations in one batch"),
    "verify_statement_gas": (80_000, "gas of inclusion in 2^20 leaves + board signature + registry"),
    "powercut_failures": (0, "of them, runs that lost a statement, signed a seq twice or forked"),
    "heap_growth_bytes": (0, "heap that 100,000 readings leave in use, at a heap of 160k"),
    "app_mpy_bytes": (98_304, "compiled application"),
    "series_day_ms": (50, "one board, one day, 1,440 readings, 60 in a statement, over HTTP"),
    "proof_ms_10m": (5, "inclusion proof, log of 10 million leaves, tiles in no cache"),
    "ingest_cpu_vs_verify": (2.5, "processor time of a statement of 18 readings / of one bare P-256 verification"),
    "ingest_rss_mb": (200, "memory of all processes under full load of 1,000 boards, what they share counted for each"),
    "disk_bytes_per_statement_byte": (4, "bytes written / bytes of statements, full load"),
    "disk_mb_per_day_100_boards": (1_000, "MB written a day, 100 boards with a statement a minute each"),
    "kill9_lost": (0, "acked statements that were not there after 200 kills under load"),
    "kill9_duplicated": (0, "statements that were there twice, likewise"),
    "fleet200_lost": (0, "readings lost or doubled: 200 boards, a week of every kind of fault (bad-week)"),
    "fleet200_minutes": (15, "minutes that this week takes, from an empty folder to the audit, on two cores"),
    "demo_seconds": (120, "seconds that the whole demo takes, set-up apart"),
}

# The least that a figure may be, and what it says.
LEAST: dict[str, tuple[float, str]] = {
    "esptool_roundtrip_bytes": (1 << 20, "written, verified and read back equal by unmodified esptool"),
    "powercut_points": (500, "runs of the journal whose power was cut, each at another flash operation"),
    "ingest_scaling": (0.9, "statements per second with 1,000,000 stored / with 1,000"),
    "ingest_with_queries_ratio": (0.85, "statements per second while 10 questions a second are asked / without"),
}

# What a figure without a limit says.
MEANINGS: dict[str, str] = {
    "sign_ms": "milliseconds of a signature on this machine's MicroPython",
    "verify_heap_peak_bytes": "extra heap that a verification needs",
    "verify_ms_vs_sign": "time of a verification / of a signature",
    "heap_readings": "readings of the run in which the heap was watched",
    "heap_free_bytes": "heap that stays free meanwhile, of 163,840",
    "reading_vs_loop": "processor time per reading, sensor to ack / empty loop of 100,000 turns",
    "boot_vs_loop": "processor time, cold boot to first signed statement / the same loop",
    "battery_mah_per_day": "a sample each 10 min, connecting each hour: docs/battery.md",
    "journal_erased_bytes_per_statement": "flash erased to keep 600 bytes and then their ack",
    "mpremote_suite_passed": "of mpremote's own tests (make mpremote-suite), on an emulated board",
    "mpremote_suite_tests": "how many there are",
    "fleet200_readings": "readings stored in this week",
    "fleet200_in_ram": "readings that were in RAM, not signed yet, when power was cut in it",
    "fleet200_declared_lost": "readings in statements that boards declared lost in it",
    "fleet200_faults": "faults in it, of all 14 kinds",
    "fleet200_cpu_s": "processor time of all its programs",
    "fleet_board_rss_kb": "memory of an emulated board: its process, and its share of the emulator",
    "journal_wear_spread": "erases of the most worn block / mean of all",
    "stage_us_verify": "microseconds of a statement of 18 readings in this stage of ingest; likewise the others",
    "stage_us_parse_new": "the same, of a layout that was never seen before; in parse, of one that was",
    "ingest_statements_per_s": "full load, 18 readings each, broker and boards on the same machine",
    "ingest_pss_mb": "as ingest_rss_mb, but what n processes share counted as an n-th for each",
    "ack_ms_p50": "half load: from sending a statement to its ack, half of them",
    "ack_ms_p99": "the same, 99 of 100",
    "ingest_cpu_vs_verify_1": "as ingest_cpu_vs_verify with one reading in a statement",
    "ingest_cpu_vs_verify_60": "the same with 60",
    "ingest_readings_per_s": "full load, 60 readings in a statement",
    "log_append_per_s": "leaves appended a second of CPU time, 100 at once",
    "log_append_single_per_s": "the same one by one",
    "log_append_vs_hashes": "time of a leaf, 100 at once / time of the two hashes that it needs",
    "proof_warm_ms_10m": "as proof_ms_10m with the tiles in the system's cache",
    "proof_verified_ms_10m": "the same, each tile verified by the root first",
    "consistency_ms_10m": "consistency proof from a random size to 10 million leaves, tiles in no cache",
    "public_mb_per_day_100_boards": "public files of 100 boards, a statement a minute each: MB sent to the disk",
    "kill9_kills": "SIGKILLs of all processes, of the first, or of a worker, at random moments",
    "fsck_statements_per_s": "statements of two readings that fsck checks in a second of CPU time, signatures apart",
    "queries_per_s": "questions answered meanwhile; 10 are asked",
    "query_ms_p50": "half of them were answered within so many ms, while ingest took all it could get",
    "series_bytes_per_reading": "database / readings: 10 boards, a year, a reading a minute, 60 in a statement",
    "series_day_cpu_ms": "processor time of asking and answering it",
    "series_month_ms": "one board, a month, 720 buckets of an hour",
    "series_year_ms": "one board, a year, 365 buckets of a day",
    "series_single_bytes_per_reading": "database / readings: 100 boards, a day, one reading in a statement",
    "series_single_day_ms": "one board, one day, 1,440 statements of one reading",
    "series_tail_day_ms": "the same while 65,536 statements are not folded yet",
    "series_full_bytes_per_reading": "as series_bytes_per_reading with 100 boards: 52.6 million readings",
    "series_full_day_ms": "as series_day_ms, likewise",
    "series_full_day_cpu_ms": "as series_day_cpu_ms, likewise",
    "series_full_month_ms": "as series_month_ms, likewise",
    "series_full_year_ms": "as series_year_ms, likewise",
}

Figures = dict[str, int | float]
PARTS: dict[str, Callable[[Callable[[str], None]], Figures]] = {
    "signing": signing.figures,
    "journal": journal.figures,
    "budget": budget.figures,
    "battery": battery.figures,
    "gas": gas.figures,
    "serial": serial.figures,
    "series": series.figures,
    "api": api.figures,
    "ingest": ingest.figures,
    "scaling": ingest.scaling,
    "stages": stages.figures,
    "wear": wear.figures,
    "log": log.figures,
    "crash": crash.figures,
    "demo": demo.figures,
}

# Parts that take too long to be measured each time: by name alone.
LONG: dict[str, Callable[[Callable[[str], None]], Figures]] = {
    "series-full": series.full_year,
    "fleet": fleet.figures,
}

# How the figures begin that such parts, or other commands, have left in the file: a run of all other parts keeps them.
_KEPT = ("fleet", "series_full_", "mpremote_suite_")


def exceeded(results: Figures) -> list[str]:
    """Return the names of the figures that are beyond their limit."""
    return [name for name, value in results.items() if value > LIMITS.get(name, (value, ""))[0]] + [
        name for name, value in results.items() if value < LEAST.get(name, (value, ""))[0]
    ]


def table(results: Figures) -> Table:
    """Return the figures beside their limits."""
    bad = set(exceeded(results))
    view = Table(title="Figures", title_justify="left", box=box.SIMPLE_HEAD)
    view.add_column("figure", no_wrap=True)
    view.add_column("measured", justify="right", no_wrap=True)
    view.add_column("limit", justify="right", no_wrap=True)
    view.add_column("what it says")
    for name, value in results.items():
        limit, meaning = LIMITS.get(name) or LEAST.get(name) or (None, MEANINGS.get(name, "for information"))
        side = "at least " if name in LEAST else "at most "
        shown = f"{value:,}" if isinstance(value, int) else f"{value:,.3f}"
        style = "red" if name in bad else "green" if limit is not None else None
        view.add_row(name, shown, "" if limit is None else f"{side}{limit:,}", meaning, style=style)
    return view


def earlier() -> Figures:
    """Return the figures of the last run; none if there are none that can be read."""
    try:
        found: Figures = json.loads(RESULTS.read_text())
    except (OSError, ValueError):
        return {}
    return found


def main(names: Sequence[str]) -> int:
    """Measure the parts of these names, all if there are none, and return the exit code."""
    console = Console()
    known = {**PARTS, **LONG}
    unknown = [name for name in names if name not in known]
    if unknown:
        console.print(f"there is no part {', '.join(unknown)}; choose from {', '.join(known)}", highlight=False)
        return 2
    results: Figures = {}
    for position, name in enumerate(names or PARTS, 1):
        started = time.monotonic()
        console.print(f"[bold]\\[bench {position}/{len(names or PARTS)}][/bold] {name}")
        results.update(known[name](lambda line: console.print(f"    {line}", highlight=False)))
        console.print(f"    {name} took {time.monotonic() - started:.0f} s", highlight=False)
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    kept = {name: value for name, value in earlier().items() if names or name.startswith(_KEPT)}
    RESULTS.write_text(json.dumps({**kept, **results}, indent=2) + "\n")
    console.print(table(results))
    console.print(f"written to {RESULTS}")
    failed = exceeded(results)
    for name in failed:
        console.print(f"[red]{name} does not hold its limit of {(LIMITS.get(name) or LEAST[name])[0]:,}[/red]")
    wanted = [name for name in (*LIMITS, *LEAST) if not name.startswith(_KEPT)]
    missing = [] if names else [name for name in wanted if name not in results]
    for name in missing:
        console.print(f"[red]{name} was not measured[/red]")
    return 1 if failed or missing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
