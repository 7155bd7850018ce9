"""What the demo runs, for how long, and what goes wrong when. Plain numbers, no acts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Act = Literal[
    "attack",
    "cut power",
    "restore power",
    "broker down",
    "broker up",
    "kill gateway",
    "forge acks",
    "restart gateway",
]


@dataclass(frozen=True)
class Plan:
    """One run. Hours are the world's; with the defaults one lasts a quarter of a second.

    Attributes:
        stations: whose weather each board measures; as many boards as names.
        start: the world's first second, since 1970.
        speed: seconds of the world in one second of ours.
        sample_s: seconds of the world between two samples of a board.
        batch_samples: samples in one statement.
        resend_s: seconds of ours after which a board sends again what was not acked.
        anchor_every_s: seconds of ours between two anchors.
        hours: how long the boards measure.
        least_readings: how many they measure at least, unless that takes more than twice as long.
        acts: what is done to the system, and at which hour; in order of time.
        batch_values: the most values in one statement, from the above.
        clock_tolerance_s: how far a board's time may be off, in the world's seconds.
    """

    stations: tuple[str, ...] = ("EWR", "EWR", "JFK", "JFK", "LGA", "LGA")
    start: int = 1_360_249_200  # 2013-02-07T15:00Z: the next days bring a blizzard to New York
    speed: float = 14_400.0
    sample_s: int = 3600
    batch_samples: int = 6
    resend_s: int = 2
    anchor_every_s: int = 4
    hours: int = 132
    least_readings: int = 2000
    acts: tuple[tuple[int, Act], ...] = (
        (20, "attack"),
        (28, "cut power"),
        (40, "restore power"),
        (52, "broker down"),
        (64, "broker up"),
        (68, "forge acks"),
        (82, "attack"),
        (92, "kill gateway"),
        (96, "forge acks"),
        (102, "restart gateway"),
        (116, "attack"),
    )

    @property
    def batch_values(self) -> int:
        """How many values a board may hold in RAM: one batch of temperature, humidity and pressure."""
        return 3 * self.batch_samples

    @property
    def clock_tolerance_s(self) -> float:
        """Two seconds of ours: messages and processes take real time, which the world multiplies by its speed."""
        return 2 * self.speed
