"""Everything that the pins of an emulated board lead to, and the requests by which the board's modules reach it.

Requests are those of `hardware/machine.py` and `hardware/_onewire.py`; numbers in them are little endian.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence

from trigpoint_tools.emulator import i2c
from trigpoint_tools.emulator.errors import HardwareError
from trigpoint_tools.emulator.i2c import I2CBus
from trigpoint_tools.emulator.onewire import OneWireNet
from trigpoint_tools.emulator.parts.probe import Probe
from trigpoint_tools.emulator.pins import Pins
from trigpoint_tools.emulator.uart import SerialLine, Uarts

_EINVAL = 22
# Full scale of the ADC in millivolts at an attenuation of 0, 2.5, 6 and 11 dB (ESP32 data sheet, section 4.3, and the
# ADC chapter of ESP-IDF's guide): above it the reading stays where it is.
_FULL_SCALE_MV = (950, 1250, 1750, 3100)


class Pads:
    """What the chip's pins lead to.

    Args:
        buses: I2C buses.
        lines: serial lines.
        nets: 1-Wire nets.
        probes: analog voltages, by pin.
        interrupt: called with a pin's number at each edge that the board watches.

    Attributes:
        pins: the pins as plain inputs and outputs.
    """

    def __init__(
        self,
        *,
        buses: Sequence[I2CBus] = (),
        lines: Sequence[SerialLine] = (),
        nets: Sequence[OneWireNet] = (),
        probes: Mapping[int, Probe] | None = None,
        interrupt: Callable[[int], None] = lambda pin: None,
    ) -> None:
        self.pins = Pins(buses, interrupt)
        self._buses = buses
        self._uarts = Uarts(lines)
        self._nets = {net.pin: net for net in nets}
        self._probes = probes or {}

    def power_on(self) -> None:
        """Start as after the supply voltage has come."""
        for bus in self._buses:
            bus.power_on()

    def reset(self) -> None:
        """Start as after any reset of the chip; the parts have not noticed it."""
        self.pins.reset()

    def i2c_init(self, payload: bytes) -> None:
        """Scl, sda: the wires go to the I2C unit."""
        self.pins.attach(*struct.unpack("<BB", payload))

    def i2c_transfer(self, payload: bytes) -> bytes:
        """See `i2c.transfer`."""
        return i2c.transfer(self._buses, payload)

    def pin_set(self, payload: bytes) -> None:
        """Pin, mode, pull, value; each of the last three 255 to leave it as it is."""
        self.pins.set(*struct.unpack("<BBBB", payload))

    def pin_get(self, payload: bytes) -> bytes:
        """Pin; the reply is its level."""
        return bytes((self.pins.level(_first(payload)),))

    def pin_irq(self, payload: bytes) -> None:
        """Pin, trigger."""
        self.pins.watch(*struct.unpack("<BB", payload))

    def counter_init(self, payload: bytes) -> None:
        """Unit, pin, edge."""
        self.pins.count(*struct.unpack("<BBB", payload))

    def counter_value(self, payload: bytes) -> bytes:
        """Unit; the reply is its count."""
        try:
            return struct.pack("<q", self.pins.counted(_first(payload)))
        except KeyError:
            raise HardwareError(_EINVAL) from None

    def adc_read(self, payload: bytes) -> bytes:
        """Pin, attenuation; the reply is microvolts, in whole millivolts as the ESP32's calibration gives them."""
        pin, attenuation = struct.unpack("<BB", payload)
        probe = self._probes.get(pin)
        millivolts = 0 if probe is None else probe.sample()
        return struct.pack("<i", min(max(millivolts, 0), _FULL_SCALE_MV[attenuation & 3]) * 1000)

    def uart_init(self, payload: bytes) -> None:
        """Unit, tx, rx (each -1 for none), baud, size of the receive buffer."""
        self._uarts.init(*struct.unpack("<BbbIH", payload))

    def uart_write(self, payload: bytes) -> None:
        """Unit, bytes."""
        self._uarts.unit(_first(payload)).write(payload[1:])

    def uart_read(self, payload: bytes) -> bytes:
        """Unit, size; the reply is as many received bytes or fewer."""
        unit, size = struct.unpack("<BH", payload)
        return self._uarts.unit(unit).read(size)

    def uart_any(self, payload: bytes) -> bytes:
        """Unit; the reply is how many received bytes wait."""
        return struct.pack("<H", self._uarts.unit(_first(payload)).any())

    def onewire_reset(self, payload: bytes) -> bytes:
        """Pin; the reply says whether the wire was low after the reset pulse."""
        net = self._nets.get(_first(payload))
        return bytes((net is not None and net.reset(),))

    def onewire_write(self, payload: bytes) -> None:
        """Pin, bits, value."""
        pin, bits, value = struct.unpack("<BBB", payload)
        if pin in self._nets:
            self._nets[pin].write(value, bits)

    def onewire_read(self, payload: bytes) -> bytes:
        """Pin, bits; the reply is the value, all ones where nobody is."""
        pin, bits = struct.unpack("<BB", payload)
        ones = (1 << min(bits, 8)) - 1
        return bytes((self._nets[pin].read(min(bits, 8)) if pin in self._nets else ones,))


def _first(payload: bytes) -> int:
    if not payload:
        raise HardwareError(_EINVAL)
    return payload[0]
