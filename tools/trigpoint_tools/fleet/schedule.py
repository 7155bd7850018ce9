"""When each fault comes, on which boards, for how long: a pure function of the scenario.

Every draw is a hash of the seed, the fault's place in the file, the occurrence's number and what is drawn. So the same
seed gives the same schedule on every machine and every version of Python, and to change one fault of a scenario leaves
the others where they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256

from trigpoint_tools.fleet.scenario import SITE_KINDS, Fault, FaultKind, Scenario


@dataclass(frozen=True)
class FaultEvent:
    """One fault, once.

    Attributes:
        number: its place in the schedule, from 0.
        kind: what happens.
        at_s: when, in the world's seconds from the run's start.
        lasts_s: for how long; 0 for what happens at once. The end of the run's duration ends it too.
        boards: numbers of the boards that it hits, ascending; none for the kinds that hit the site.
        amount: how much, for kinds that have an amount; else 0.
        seed: 64 bits for whatever the fault draws when it happens.
    """

    number: int
    kind: FaultKind
    at_s: int
    lasts_s: int
    boards: tuple[int, ...]
    amount: float
    seed: int


class Draw:
    """Numbers that follow from a label. The n-th draw of the same label is the same for ever."""

    def __init__(self, *label: object) -> None:
        self._label = "/".join(str(part) for part in label)
        self._count = 0

    def bits(self) -> int:
        """Return 64 bits."""
        self._count += 1
        return int.from_bytes(sha256(f"{self._label}/{self._count}".encode()).digest()[:8], "big")

    def fraction(self) -> float:
        """Return a number from 0 to below 1."""
        return (self.bits() >> 11) / (1 << 53)

    def between(self, low: int, high: int) -> int:
        """Return a whole number from `low` to `high`, both of them possible."""
        return low + int(self.fraction() * (high - low + 1))

    def sample(self, population: Sequence[int], count: int) -> tuple[int, ...]:
        """Return `count` different members, ascending."""
        left = list(population)
        for place in range(count):  # Fisher and Yates, as far as needed
            other = self.between(place, len(left) - 1)
            left[place], left[other] = left[other], left[place]
        return tuple(sorted(left[:count]))


def schedule(scenario: Scenario) -> tuple[FaultEvent, ...]:
    """Return all events of a run, in order of time.

    What would begin while the same kind is still going on, on a board or for the site, is left out there: a board
    without power cannot lose it again.
    """
    drawn = [
        (moment, place, number, lasts, boards, amount, seed)
        for place, fault in enumerate(scenario.faults)
        for number, (moment, lasts, boards, amount, seed) in enumerate(_occurrences(scenario, place, fault))
    ]
    until: dict[tuple[FaultKind, int], int] = {}
    events: list[FaultEvent] = []
    for moment, place, _, lasts, boards, amount, seed in sorted(drawn):
        kind = scenario.faults[place].kind
        targets = boards or (-1,)
        free = tuple(target for target in targets if until.get((kind, target), 0) <= moment)
        if not free:
            continue
        until.update({(kind, target): moment + max(lasts, 1) for target in free})
        hit = () if kind in SITE_KINDS else free
        events.append(FaultEvent(len(events), kind, moment, lasts, hit, amount, seed))
    return tuple(events)


def reach(scenario: Scenario, fault: Fault) -> tuple[int, ...]:
    """Return the numbers of the boards that a fault may hit, ascending; none for a fault of the site."""
    if fault.kind in SITE_KINDS:
        return ()
    found: list[int] = []
    first = 0
    for group in scenario.boards:
        named = not fault.groups or group.name in fault.groups
        # A key in a secure element cannot be read out.
        if named and not (fault.kind == FaultKind.CLONED_KEY and group.secure_element):
            found.extend(range(first, first + group.count))
        first += group.count
    return tuple(found)


def _occurrences(
    scenario: Scenario, place: int, fault: Fault
) -> Iterator[tuple[int, int, tuple[int, ...], float, int]]:
    boards = reach(scenario, fault)
    count = min(len(boards), fault.boards) if fault.boards else max(1, round(len(boards) * (fault.share or 1.0)))
    low, high = fault.amounts
    for number, moment in enumerate(_moments(scenario, place, fault)):
        draw = Draw(scenario.seed, place, number)
        yield (
            moment,
            draw.between(*fault.lasts),
            draw.sample(boards, count) if boards else (),
            low + draw.fraction() * (high - low),
            draw.bits(),
        )


def _moments(scenario: Scenario, place: int, fault: Fault) -> list[int]:
    if fault.every is None:
        return sorted(fault.at)
    draw = Draw(scenario.seed, place, "when")
    stretches = scenario.duration_s // fault.every
    return [number * fault.every + draw.between(0, fault.every - 1) for number in range(stretches)]
