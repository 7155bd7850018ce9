"""What the lines DTR and RTS of a serial port do to a board: the two transistors of every ESP32 board.

They pull EN (reset) down while RTS alone is asserted and GPIO0 while DTR alone is; both or neither do nothing. A
capacitor keeps EN low for a moment longer, and GPIO0 is looked at when EN has risen: so a host that asserts first RTS,
then DTR, then lets RTS go, finds the ROM's bootloader ("Boot Mode Selection", esptool documentation).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

UNDECIDED_S = 1.0
"""How long a board waits for the second line. On boards the capacitor bridges the time between the two, microseconds on
a cable. Over RFC 2217 a host sets one line, waits a tenth of a second and sets the other, and a busy machine makes
that longer; Espressif's own RFC 2217 server plays the whole sequence again at its end for that reason. Here a board
whose host holds both lines knows that the host is in the middle of it, and waits."""


class Pulse(Enum):
    """What a change of the lines does."""

    NOTHING = auto()
    HOLD = auto()  # EN is down
    RUN = auto()  # EN rises, GPIO0 is high: what is in the flash
    DOWNLOAD = auto()  # EN rises, GPIO0 is low: the bootloader
    UNDECIDED = auto()  # EN rises, GPIO0 may still be pulled down; after UNDECIDED_S it is high


@dataclass(frozen=True)
class ModemLines:
    """The state of both lines, as the host last set them; True is asserted."""

    dtr: bool = False
    rts: bool = False

    @property
    def held_in_reset(self) -> bool:
        """Whether EN is pulled down."""
        return self.rts and not self.dtr

    @property
    def boot_pressed(self) -> bool:
        """Whether GPIO0 is pulled down."""
        return self.dtr and not self.rts


@dataclass
class ResetCircuit:
    """The two transistors and the capacitor.

    Attributes:
        lines: their state.
        rising: whether EN has been let go and GPIO0 not yet been looked at.
    """

    lines: ModemLines = ModemLines()
    rising: bool = False

    def set(self, lines: ModemLines) -> Pulse:
        """Take a change of the lines; return what it does."""
        was_held = self.lines.held_in_reset
        self.lines = lines
        if lines.held_in_reset:
            self.rising = False
            return Pulse.NOTHING if was_held else Pulse.HOLD
        if not was_held and not self.rising:
            return Pulse.NOTHING
        self.rising = lines.dtr and lines.rts
        if self.rising:
            return Pulse.UNDECIDED if was_held else Pulse.NOTHING
        return Pulse.DOWNLOAD if lines.boot_pressed else Pulse.RUN

    def settle(self) -> bool:
        """Say that UNDECIDED_S are over; return whether the board now runs what is in the flash."""
        rising, self.rising = self.rising, False
        return rising
