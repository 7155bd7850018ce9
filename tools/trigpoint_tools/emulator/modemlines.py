"""What the lines DTR and RTS of a serial port do to a board: the two transistors of every ESP32 board.

They pull EN (reset) down while RTS alone is asserted and GPIO0 while DTR alone is; both or neither do nothing. A
capacitor keeps EN low for some milliseconds more, and GPIO0 is looked at when EN has risen: so a host that asserts
first RTS, then DTR, then lets RTS go, finds the ROM's bootloader ("Boot Mode Selection", esptool documentation).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

EN_RISES_S = 0.18
"""How long EN takes to rise. On boards it is milliseconds (10 kOhm and 0.1 to 1 uF). Over RFC 2217 a host sets one line
after the other and waits a tenth of a second for each, so that GPIO0 would come too late; Espressif's own RFC 2217
server plays the whole sequence again at its end for that reason, and here the capacitor is larger."""


class Pulse(Enum):
    """What a change of the lines begins."""

    NOTHING = auto()
    HELD = auto()  # in reset
    RELEASED = auto()  # EN begins to rise: look at GPIO0 in EN_RISES_S


@dataclass(frozen=True)
class ModemLines:
    """The state of both lines, as the host last set them."""

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

    def changed(self, after: ModemLines) -> Pulse:
        """Return what the change from this state to another begins."""
        if self.held_in_reset == after.held_in_reset:
            return Pulse.NOTHING
        return Pulse.HELD if after.held_in_reset else Pulse.RELEASED
