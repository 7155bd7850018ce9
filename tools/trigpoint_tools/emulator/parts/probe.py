"""An analog voltage, such as a soil probe's or a current loop's over its resistor."""

from __future__ import annotations

from random import Random

from trigpoint_tools.emulator.parts.fault import Fault


class Probe:
    """A voltage at an ADC pin.

    Attributes:
        millivolts: what is there, set by the host.
        noise: how far single samples lie off it at most, in millivolts.
        fault: MISSING leaves the pin open (0 mV), STUCK ties it to the supply, GARBAGE gives anything.
        readings: not counted: to sample a voltage is not to take a reading.
    """

    def __init__(self, millivolts: int = 0, noise: int = 0) -> None:
        self.millivolts = millivolts
        self.noise = noise
        self.fault = Fault.NONE
        self.readings = 0
        # Repeatable noise, not a secret.
        self._random = Random(0)  # noqa: S311

    def power_on(self) -> None:
        """Nothing to forget."""

    def sample(self) -> int:
        """Return one sample in millivolts."""
        if self.fault == Fault.MISSING:
            return 0
        if self.fault == Fault.STUCK:
            return 3300
        if self.fault == Fault.GARBAGE:
            return self._random.randint(0, 3300)
        return self.millivolts + self._random.randint(-self.noise, self.noise)
