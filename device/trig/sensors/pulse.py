"""A pulse counter: rain gauge, S0 energy meter, water meter.

Two readings. ``count`` is every pulse since the counter was first used, and the one to build on: it is there again in
the next statement if one is lost. The quantity is what came since the reading before: a total in joules would outgrow
the 31 bits of a reading within weeks.

The totals are in NVS: saved with each reading and, while pulses come, once a minute. A power cut or a reset loses what
came since, a minute's pulses at most. NVS spreads its writes over 24 KiB of flash: one a minute makes some 1,700 erases
of each block in a year, of the 100,000 that it stands. RTC memory would have saved writes, and lost the total with the
power.
"""

import asyncio
import time

from micropython import const

from trig.sensors import Sensor, SensorError, prefixed

_SAVE_MS = const(60000)
_ROLL_OVER = const(0x7FFFFFFF)  # like a mechanical meter's, to 0
_UNITS = const(4)  # an ESP32 has eight
_FILTER_NS = const(12000)  # the longest that the chip's filter has


def open_sensor(entry, machine, bus):
    """Return the sensor for its checked entry in config.json."""
    import esp32

    return PulseCounter(source(machine, entry["pin"], entry["debounce_ms"]), esp32.NVS("pulse"), entry)


class HardwareSource:
    """Counts in the chip's pulse counter, which loses nothing however busy the board is, but does not debounce."""

    used = 0

    def __init__(self, counter, pin):
        """Take ``machine.Counter`` and the pin; the units are given out one after the other."""
        self._counter = counter(HardwareSource.used, pin, edge=counter.FALLING, filter_ns=_FILTER_NS)
        HardwareSource.used += 1

    def count(self):
        """Pulses since start."""
        return self._counter.value()


class InterruptSource:
    """Counts in an interrupt. A falling edge counts if none came in the ``debounce_ms`` before it."""

    def __init__(self, pin, falling, debounce_ms):
        """Take a pin, the constant for falling edges, and milliseconds.

        They must be more than the contact stays closed, for it bounces when it opens too, and less than lies between
        two pulses.
        """
        self._debounce_ms = debounce_ms
        self._count = 0
        self._last = time.ticks_add(time.ticks_ms(), -debounce_ms)
        pin.irq(self._edge, falling)

    def _edge(self, _):
        now = time.ticks_ms()
        if time.ticks_diff(now, self._last) >= self._debounce_ms:
            self._count += 1
        self._last = now

    def count(self):
        """Pulses since start."""
        return self._count


def source(machine, number, debounce_ms):
    """Return what counts the pulses on a pin, with its pull-up on."""
    pin = machine.Pin(number, machine.Pin.IN, machine.Pin.PULL_UP)
    # A C3 has no pulse counters, and the filter of the others is too short for a contact that bounces.
    if not debounce_ms and HardwareSource.used < _UNITS and hasattr(machine, "Counter"):
        return HardwareSource(machine.Counter, pin)
    return InterruptSource(pin, machine.Pin.IRQ_FALLING, debounce_ms)


class PulseCounter(Sensor):
    """One counter; the shape is that of ``trig.sensors``."""

    limit_ms = 1000

    def __init__(self, source, nvs, settings):
        """Take a source, an ``esp32.NVS`` and the sensor's checked entry in config.json."""
        name = settings["name"]
        pin = settings["pin"]
        self.part = "pulse " + (name or "pin {}".format(pin))
        channels = [("count", "count", 0)]
        if settings["quantity"]:
            channels.append((settings["quantity"], settings["unit"], settings["exponent"]))
        self.channels = prefixed(name, channels)
        self._source = source
        self._nvs = nvs
        # By pin, not by name: the keys of NVS are 15 characters at most.
        self._total_key = "total{}".format(pin)
        self._read_key = "read{}".format(pin)
        self._saved = self._base = self._stored(self._total_key)
        self._read = self._stored(self._read_key)
        self._per_pulse = settings["per_pulse"]
        self._keeper = None

    def _stored(self, key):
        try:
            return self._nvs.get_i32(key)
        except OSError:
            return 0

    def _total(self):
        return self._base + self._source.count() & _ROLL_OVER

    async def measure(self, out):
        """Read the counter; ``out`` gets the count and, if there is a quantity, how much came since the last time."""
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._keep())
        total = self._total()
        amount = (total - self._read & _ROLL_OVER) * self._per_pulse
        # Saved before it is reported: after a power cut the count must not run back. The total first: ESP-IDF may write
        # each value at once, and what was read must never be ahead of it.
        self._nvs.set_i32(self._total_key, total)
        self._nvs.set_i32(self._read_key, total)
        self._nvs.commit()
        self._saved = self._read = total
        if amount > _ROLL_OVER:
            raise SensorError(self.part + ": more came than a reading can hold")
        out[0] = total
        if len(self.channels) > 1:
            out[1] = amount

    async def _keep(self):
        while True:
            await asyncio.sleep_ms(_SAVE_MS)
            try:
                self.close()
            except OSError:
                pass  # the next reading tries again, and says so

    def close(self):
        """Save the total."""
        total = self._total()
        if total != self._saved:
            self._nvs.set_i32(self._total_key, total)
            self._nvs.commit()
            self._saved = total
