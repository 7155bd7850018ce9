"""What a run is called in words: kinds of faults, lengths of time, moments, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from trigpoint_tools.fleet.result import FaultResult, Result
from trigpoint_tools.fleet.scenario import SITE_KINDS, FaultKind, Scenario

KINDS: Mapping[FaultKind, str] = {
    FaultKind.WIFI_LOSS: "Wi-Fi lost",
    FaultKind.LATENCY: "bytes late",
    FaultKind.PACKET_LOSS: "segments lost",
    FaultKind.TCP_RESET: "connection reset",
    FaultKind.BROKER_RESTART: "broker down",
    FaultKind.GATEWAY_RESTART: "gateway down",
    FaultKind.CLOCK_SKEW: "clock runs wrong",
    FaultKind.CLOCK_JUMP: "clock jumps",
    FaultKind.POWER_CUT: "power cut",
    FaultKind.FLASH_ROT: "flash rots",
    FaultKind.SENSOR_STUCK: "sensor stuck",
    FaultKind.SENSOR_LIES: "sensor lies",
    FaultKind.CLONED_KEY: "key cloned",
    FaultKind.FORGERIES: "forgeries",
}
"""What people call each kind of fault, in the order in which reports have them."""

_DAY_S = 86_400
_UNITS = ((_DAY_S, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


@dataclass(frozen=True)
class Verdict:
    """What came out, in words.

    Attributes:
        held: whether all is well.
        headline: a few words.
        sentence: where all readings went.
    """

    held: bool
    headline: str
    sentence: str


def verdict(result: Result) -> Verdict:
    """Return what came out of a run.

    A run is well if nothing was lost or duplicated, no forgery stored, and nothing else found wrong.
    """
    broken = [
        words
        for number, words in (
            (result.lost, f"{plural(result.lost, 'reading')} lost"),
            (result.duplicated, f"{plural(result.duplicated, 'reading')} duplicated"),
            (result.forged_stored, f"{plural(result.forged_stored, 'forgery', 'forgeries')} stored"),
        )
        if number
    ]
    held = not broken and not result.wrong
    if held:
        headline = f"Nothing lost{' in silence' if result.declared_lost else ''}, nothing doubled."
    else:
        headline = (joined(broken) or "Nothing lost, but something is wrong") + "."
    return Verdict(held, headline, _sentence(result))


def _sentence(result: Result) -> str:
    where = [f"{result.stored:,} are stored in {plural(result.statements, 'signed statement')}"]
    if result.in_ram:
        where.append(f"{result.in_ram:,} were in RAM, not signed yet, when a power cut came")
    if result.declared_lost:
        where.append(f"{result.declared_lost:,} were declared lost by their boards, under their signature")
    if result.lost:
        where.append(f"{result.lost:,} are lost")
    said = (
        f"{plural(result.boards, 'board')} measured {plural(result.measured, 'reading')} in {length(result.duration_s)}"
    )
    said += f", through {plural(len(result.faults), 'fault')}" if result.faults else ", with no fault on the way"
    forged = sum(result.forged_sent.values())
    if not forged:
        return f"{said}: {joined(where)}."
    stored = f"{result.forged_stored:,}" if result.forged_stored else "none"
    return f"{said}: {joined(where)}. Of {plural(forged, 'forged message')}, {stored} got in."


def whom(scenario: Scenario, fault: FaultResult) -> str:
    """Return whom a fault hit: the site's part, or the boards by name, or how many if they are many."""
    if fault.kind in SITE_KINDS:
        return "the broker" if fault.kind == FaultKind.BROKER_RESTART else "the gateway"
    if len(fault.boards) == scenario.count > 1:
        return f"all {scenario.count} boards"
    names = [scenario.name_of(board) for board in fault.boards[:4]]
    rest = len(fault.boards) - len(names)
    return ", ".join(names) + (f" and {plural(rest, 'other')}" if rest > 0 else "")


def amount(fault: FaultResult) -> str:
    """Return how much of it there was, with its unit; empty for kinds without an amount."""
    value = fault.amount
    match fault.kind:
        case FaultKind.LATENCY:
            return f"{value:.0f} ms each way"
        case FaultKind.PACKET_LOSS:
            return f"{100 * value:.0f} %"
        case FaultKind.CLOCK_SKEW:
            return f"{abs(value) / 10_000:.2g} % {'fast' if value >= 0 else 'slow'}"
        case FaultKind.CLOCK_JUMP:
            return f"{compact(abs(round(value)))} {'ahead' if value >= 0 else 'back'}"
        case FaultKind.FLASH_ROT:
            return plural(round(value), "bit")
        case FaultKind.SENSOR_LIES:
            return f"{value:+.1f} °C" if value else "stands still"
        case _:
            return ""


def moment(world_s: float) -> str:
    """Return a moment of a run: `day 2, 06:15`; the first day is day 1."""
    whole = int(world_s // 60)
    return f"day {whole // 1440 + 1}, {whole // 60 % 24:02}:{whole % 60:02}"


def length(seconds: float) -> str:
    """Return a length of time in its two largest units: `7 days`, `1 day 6 hours`."""
    left, parts = round(seconds), []
    for size, unit in _UNITS:
        if left >= size:
            parts.append(plural(left // size, unit))
            left %= size
    return " ".join(parts[:2]) or "no time"


def compact(seconds: float) -> str:
    """Return a length of time as a scenario writes it, in its two largest units: `7d`, `1d 6h`, `45m`."""
    left, parts = round(seconds), []
    for size, unit in _UNITS:
        if left >= size:
            parts.append(f"{left // size}{unit[0]}")
            left %= size
    return " ".join(parts[:2]) or "0s"


def plural(count: int, one: str, many: str = "") -> str:
    """Return a count with its noun: `1 board`, `1,200 boards`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def joined(parts: list[str]) -> str:
    """Return parts of a sentence as one: `a, b and c`."""
    return " and ".join(part for part in (", ".join(parts[:-1]), parts[-1] if parts else "") if part)
