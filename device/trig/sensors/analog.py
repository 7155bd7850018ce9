"""An analog probe on an ADC pin, calibrated at two points, in integers.

The ADC's own errors are taken out by the chip's factory calibration (``read_uv``), the probe's by the two points: at
``low_mv`` the quantity is ``low``, at ``high_mv`` it is ``high``, both in units of 10^exponent, and between and beyond
them it runs in a straight line.
"""

from micropython import const

from trig.sensors import Sensor, SensorError, prefixed

_SAMPLES = const(32)


def open_sensor(entry, machine, bus):
    """Return the sensor for its checked entry in config.json."""
    return Analog(machine.ADC(machine.Pin(entry["pin"]), atten=machine.ADC.ATTN_11DB), entry)


class Line:
    """The straight line through two points."""

    def __init__(self, low_mv, low, high_mv, high):
        """Take the points; ``high_mv`` is above ``low_mv``."""
        self._start = low_mv * 1000
        self._low = low
        self._run = (high_mv - low_mv) * 1000
        self._rise = high - low

    def at(self, microvolts):
        """The quantity at a voltage, rounded to the nearest whole number."""
        return self._low + (2 * (microvolts - self._start) * self._rise + self._run) // (2 * self._run)


class Analog(Sensor):
    """One probe; the shape is that of ``trig.sensors``."""

    limit_ms = 1000

    def __init__(self, adc, settings):
        """Take a ``machine.ADC`` and the sensor's checked entry in config.json."""
        name = settings["name"]
        self.part = "analog " + (name or "pin {}".format(settings["pin"]))
        self.channels = prefixed(name, ((settings["quantity"], settings["unit"], settings["exponent"]),))
        self._adc = adc
        self._line = Line(settings["low_mv"], settings["low"], settings["high_mv"], settings["high"])
        self._bounds = (settings["min_mv"], settings["max_mv"])

    async def measure(self, out):
        """Take the mean of 32 samples; ``out`` gets the quantity in units of 10^exponent."""
        microvolts = 0
        for _ in range(_SAMPLES):
            microvolts += self._adc.read_uv()
        microvolts //= _SAMPLES
        low, high = self._bounds
        if not low * 1000 <= microvolts <= high * 1000:
            raise SensorError(
                "{}: {} mV is not {} to {} mV, look at its wires".format(self.part, microvolts // 1000, low, high)
            )
        out[0] = self._line.at(microvolts)
