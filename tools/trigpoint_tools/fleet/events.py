"""What a run tells while it goes on: to a live view, to a log, to nobody.

The runner calls an `Observer` from its own thread, one call at a time, with plain data that nothing changes afterwards.
An observer must return at once; what it raises ends the run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from trigpoint_tools.fleet.scenario import FaultKind
from trigpoint_tools.fleet.schedule import FaultEvent


class Step(StrEnum):
    """The steps of a run, in their order.

    Attributes:
        SITE: a chain with the contracts, a broker, a gateway.
        BOARDS: boards are made, sign their permits, and are registered.
        START: boards are switched on, a few at a time. The world's time counts from the end of this step.
        RUN: boards measure, and faults come as scheduled.
        DRAIN: no faults any more; boards measure on until all that they hold is stored or declared lost. Then sensors
            fall silent, and what is still in RAM comes in.
        ANCHOR: the log's last head goes on the chain.
        AUDIT: what was measured is compared with what is stored.
    """

    SITE = "site"
    BOARDS = "boards"
    START = "start"
    RUN = "run"
    DRAIN = "drain"
    ANCHOR = "anchor"
    AUDIT = "audit"


TITLES: Mapping[Step, str] = {
    Step.SITE: "a chain with the contracts, a broker, a gateway",
    Step.BOARDS: "boards: flashed, keys made on them, enrolled on the chain",
    Step.START: "boards switched on",
    Step.RUN: "boards measure, faults come as scheduled",
    Step.DRAIN: "no more faults: what is still on the boards comes in",
    Step.ANCHOR: "the log's last head goes on the chain",
    Step.AUDIT: "what was measured against what is stored",
}
"""What to call each step."""


@dataclass(frozen=True)
class Snapshot:
    """How it stands, some times a second. Counts are of readings unless they say otherwise.

    Attributes:
        step: which step runs.
        done: how much of it is done, 0 to 1; None where nobody knows.
        real_s: seconds of ours since the run began.
        world_s: the world's seconds since RUN began; negative before.
        date: the world's moment, seconds since 1970; 0 before there is a world.
        boards_made: boards that exist.
        boards_on: boards that have power.
        boards_connected: boards that have a connection to the broker.
        measured: counted at the sensors.
        stored: in the gateway's database.
        statements: statements in the gateway's database.
        declared_lost: statements that boards have declared lost.
        in_ram_lost: readings that power cuts took out of RAM.
        refused: messages that the gateway refused or kept as evidence.
        flagged: boards that the gateway calls cloned.
        anchors: heads that are on the chain and final.
        gas: what they took.
        active: kinds of faults that go on now, and how many boards each has hit (1 for those of the site).
        faults_done: how many scheduled events have begun.
        ack_ms: median of the newest acks' latencies in ms of ours (see result.Latency); None before the first.
    """

    step: Step
    done: float | None
    real_s: float
    world_s: float
    date: int
    boards_made: int = 0
    boards_on: int = 0
    boards_connected: int = 0
    measured: int = 0
    stored: int = 0
    statements: int = 0
    declared_lost: int = 0
    in_ram_lost: int = 0
    refused: int = 0
    flagged: int = 0
    anchors: int = 0
    gas: int = 0
    active: Mapping[FaultKind, int] = field(default_factory=dict)
    faults_done: int = 0
    ack_ms: float | None = None


class Observer(Protocol):
    """Is told how a run goes."""

    def begun(self, step: Step, title: str) -> None:
        """A step begins; the one before is over."""

    def fault(self, event: FaultEvent, text: str, *, over: bool) -> None:
        """A fault happens, or (`over`) is over. `text` is one line for people, without the time."""

    def note(self, text: str) -> None:
        """Something else that people may want to know: one line."""

    def snapshot(self, snapshot: Snapshot) -> None:
        """How it stands now."""


class Silent:
    """An observer that tells nobody."""

    def begun(self, step: Step, title: str) -> None:
        """Say nothing."""

    def fault(self, event: FaultEvent, text: str, *, over: bool) -> None:
        """Say nothing."""

    def note(self, text: str) -> None:
        """Say nothing."""

    def snapshot(self, snapshot: Snapshot) -> None:
        """Say nothing."""
