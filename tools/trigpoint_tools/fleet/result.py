"""What came out of a run, as plain data that reports are made from."""

from __future__ import annotations

import dataclasses
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trigpoint_tools.fleet.scenario import FaultKind

VERSION = 1
"""Of the JSON that `Result.to_json` writes; one more when a field goes or changes its meaning."""


@dataclass(frozen=True)
class Latency:
    """A distribution.

    Attributes:
        count: how many values.
        p50, p90, p99, most: percentiles and the highest; 0 if there are none.
        bins: (from, to, how many) for each tenth of a decade that has any, rising; 0.1 stands for all below it.
    """

    count: int
    p50: float
    p90: float
    p99: float
    most: float
    bins: tuple[tuple[float, float, int], ...] = ()

    @classmethod
    def of(cls, values: Sequence[float]) -> Latency:
        """Return the distribution of some values; the percentile is the value at that rank (nearest rank)."""
        if not values:
            return cls(0, 0.0, 0.0, 0.0, 0.0)
        ordered = sorted(values)

        def rank(percent: int) -> float:
            return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]

        tenths = Counter(math.floor(10 * math.log10(max(value, 0.1)) + 1e-9) for value in ordered)
        bins = tuple((10 ** (tenth / 10), 10 ** ((tenth + 1) / 10), tenths[tenth]) for tenth in sorted(tenths))
        return cls(len(ordered), rank(50), rank(90), rank(99), ordered[-1], bins)


@dataclass(frozen=True)
class BoardResult:
    """One board. Counts are of readings unless they say otherwise.

    Attributes:
        number: from 0.
        group: its group's name.
        kid: its id, 64 hexadecimal digits.
        measured, stored, lost, duplicated: as in Result.
        in_ram: taken out of RAM by power cuts.
        declared_lost: readings in statements that it has declared lost.
        lied: measured while its sensors lied; they are stored like any others.
        statements: of it in the gateway's database.
        boots: how often it has started.
        resent: statements that it sent to the broker more than once, counted each time.
        flagged: whether the gateway calls its key cloned.
        cloned: whether somebody has used its key.
        clock_error_s: the worst error of a time that it gave a stored reading, in the world's seconds.
        rss_kb: memory of its process, at the end of RUN; 0 if it was off.
    """

    number: int
    group: str
    kid: str
    measured: int
    stored: int
    lost: int
    duplicated: int
    in_ram: int
    declared_lost: int
    lied: int
    statements: int
    boots: int
    resent: int
    flagged: bool
    cloned: bool
    clock_error_s: float
    rss_kb: int


@dataclass(frozen=True)
class FaultResult:
    """One event of the schedule, and what was seen of it.

    Attributes:
        number, kind, at_s, lasts_s, boards, amount: as in schedule.FaultEvent.
        seen: its effect, counted outside the code that caused it; 0 if it came to nothing.
        effect: what `seen` counts, such as "connections reset".
    """

    number: int
    kind: FaultKind
    at_s: int
    lasts_s: int
    boards: tuple[int, ...]
    amount: float
    seen: int
    effect: str


@dataclass(frozen=True)
class Point:
    """How it stood at one moment of RUN or DRAIN, for plots. Counts as in events.Snapshot.

    Attributes:
        world_s: the world's seconds since RUN began.
        measured, stored, declared_lost, in_ram_lost, boards_on, boards_connected: counts.
        ack_ms: median latency of the acks since the point before; None if there were none.
    """

    world_s: float
    measured: int
    stored: int
    declared_lost: int
    in_ram_lost: int
    boards_on: int
    boards_connected: int
    ack_ms: float | None


@dataclass(frozen=True)
class Head:
    """One head of the log on the chain.

    Attributes:
        world_s: the world's seconds since RUN began, when the chain had it.
        size: leaves under it.
        gas: what it took.
    """

    world_s: float
    size: int
    gas: int


@dataclass(frozen=True)
class GasUsed:
    """Gas.

    Attributes:
        deploy: of both contracts.
        register: of all registrations.
        register_each: of one of them.
        anchor: of all anchors.
        anchor_each: of one of them, on average; 0 if there were none.
    """

    deploy: int
    register: int
    register_each: int
    anchor: int
    anchor_each: int


@dataclass(frozen=True)
class Result:
    """One run. Counts are of readings unless they say otherwise.

    measured = stored + lost + declared_lost + in_ram, unless something was duplicated.

    Attributes:
        scenario: its name.
        about: its sentence.
        seed: its seed.
        duration_s: the world's seconds of RUN as the scenario wants them.
        speed: seconds of the world in one of ours.
        started: the world's first second of RUN, since 1970.
        seconds: seconds of ours that all of it took.
        cpu_s: seconds of processor time that all of it took, this program and its children.
        step_seconds: seconds of ours that each step took, by events.Step.
        boards: how many.
        expected: what the sensors would have measured in RUN, had no board ever been off, late or its sensor stuck.
        measured: counted at the sensors, in all steps.
        stored: in the gateway's database.
        lost: signed and neither stored nor declared lost, or measured and gone without a power cut. The target is 0.
        duplicated: stored readings that were never measured, or are there twice. The target is 0.
        declared_lost: readings in statements that boards have declared lost under their signature.
        declared_lost_statements: these statements.
        in_ram: measured and not yet signed when a power cut came: nobody has ever promised them.
        lied: measured while sensors lied.
        statements: in the gateway's log.
        resent: statements that boards sent more than once, counted each time.
        refused: messages that the gateway refused, by reason; evidence of clones among them.
        forged_sent: forged messages to the gateway, by kind.
        forged_stored: of them, those that are in the log. The target is 0.
        acks_forged: forged and replayed acks sent to boards.
        clones: boards whose key somebody has used.
        clones_flagged: of them, those that the gateway has flagged.
        wrongly_flagged: boards that it has flagged though nobody has used their key.
        ack_ms: from when a board first sends a statement to when its ack is back, in ms of ours.
        stored_after_s: from a statement's last reading to its arrival at the gateway, in the world's seconds.
        anchors: heads on the chain.
        anchored_size: leaves of the newest.
        gas: what the chain took.
        board_rss_kb: memory of a board, on average over those on at the end of RUN: process, and share of what
            the emulator has grown.
        board_results: each board.
        faults: each event of the schedule, and its effect.
        points: some hundreds of moments, in order of time.
        wrong: what is wrong, one line each; nothing if all is well.
        heads: each head on the chain, in order of time.
    """

    scenario: str
    about: str
    seed: int
    duration_s: int
    speed: float
    started: int
    seconds: float
    cpu_s: float
    step_seconds: Mapping[str, float]
    boards: int
    expected: int
    measured: int
    stored: int
    lost: int
    duplicated: int
    declared_lost: int
    declared_lost_statements: int
    in_ram: int
    lied: int
    statements: int
    resent: int
    refused: Mapping[str, int]
    forged_sent: Mapping[str, int]
    forged_stored: int
    acks_forged: int
    clones: int
    clones_flagged: int
    wrongly_flagged: int
    ack_ms: Latency
    stored_after_s: Latency
    anchors: int
    anchored_size: int
    gas: GasUsed
    board_rss_kb: int
    board_results: tuple[BoardResult, ...]
    faults: tuple[FaultResult, ...]
    points: tuple[Point, ...]
    wrong: tuple[str, ...]
    heads: tuple[Head, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether all is well."""
        return not self.wrong

    def to_json(self) -> str:
        """Return it as JSON, with `version` and `ok`."""
        fields: dict[str, Any] = {"version": VERSION, "ok": self.ok, **dataclasses.asdict(self)}
        return json.dumps(fields, indent=1) + "\n"
