"""Sensors. Each is one file with one class of one shape, made by ``open_sensors`` from its entry in config.json.

part                what it is and where, for error messages and health
channels            tuple of (reading name, unit, exponent), fixed
limit_ms            the longest that ``measure`` may take; then it is cancelled
async measure(out)  put one mantissa for each channel into the list ``out``; raises SensorError, OSError or
                    asyncio.TimeoutError and leaves the part ready for the next try
close()             the board is about to stop: keep what must not be lost

Units are primary ones of the SenML registry, made fine by the exponent: a statement's records have no version field,
and without one RFC 9100 section 4 does not allow secondary units such as ppm or ug/m3.
"""


class SensorError(Exception):
    """The part is missing, is another one, or gave no usable value; the message names the part and says which."""


class Sensor:
    """What all have in common."""

    limit_ms = 5000

    def close(self):
        """Nothing to keep."""


def prefixed(name, channels):
    """Return channels with the sensor's name before each reading's."""
    return tuple((name + "/" + reading if name else reading, unit, exponent) for reading, unit, exponent in channels)


def drivers(path):
    """Return the names of the modules that a configuration file's sensors need; none if it cannot be read."""
    import json
    import os

    try:
        with open(path) as file:
            entries = json.load(file)["sensors"] if os.stat(path)[6] <= 8192 else ()
        return sorted({"sensors." + entry["type"] for entry in entries if entry["type"] in _OPEN})
    except (OSError, ValueError, KeyError, TypeError):
        return []  # what is wrong with it trig.config will say


def open_sensors(entries, machine):
    """Return the sensors for the checked entries of ``config.json``'s ``sensors``.

    Only the types in use are imported. Nothing is read from a part yet: a board starts with a sensor unplugged, and
    takes it in when it is there.
    """
    buses = {}
    sensors = []
    for entry in entries:
        if "i2c" in entry and entry["i2c"] not in buses:
            from trig.i2c import Bus

            buses[entry["i2c"]] = Bus(machine, entry["i2c"], entry["scl"], entry["sda"])
        sensors.append(_OPEN[entry["type"]](entry, machine, buses.get(entry.get("i2c"))))
    return sensors


def _bme280(entry, machine, bus):
    from trig.sensors.bme280 import Bme280

    return Bme280(bus, entry["address"], entry["name"])


def _sht4x(entry, machine, bus):
    from trig.sensors.sht4x import Sht4x

    return Sht4x(bus, entry["address"], entry["name"])


def _scd4x(entry, machine, bus):
    from trig.sensors.scd4x import Scd4x

    return Scd4x(bus, entry["name"], entry["low_power"], entry["altitude_m"])


def _pms5003(entry, machine, bus):
    from trig.sensors.pms5003 import BAUD, Pms5003

    tx = machine.Pin(entry["tx"]) if entry["tx"] >= 0 else None
    pins = {"rx": machine.Pin(entry["rx"])} if tx is None else {"rx": machine.Pin(entry["rx"]), "tx": tx}
    uart = machine.UART(entry["uart"], BAUD, rxbuf=256, timeout=0, **pins)
    return Pms5003(uart, entry["name"], entry["rx"], entry["warm_up_s"] if tx else 0)


def _ds18b20(entry, machine, bus):
    from onewire import OneWire

    from trig.sensors.ds18b20 import Ds18b20

    return Ds18b20(OneWire(machine.Pin(entry["pin"])), bytes.fromhex(entry["rom"]), entry["name"], entry["pin"])


def _analog(entry, machine, bus):
    from trig.sensors.analog import Analog

    return Analog(machine.ADC(machine.Pin(entry["pin"]), atten=machine.ADC.ATTN_11DB), entry)


def _pulse(entry, machine, bus):
    import esp32

    from trig.sensors.pulse import PulseCounter, source

    return PulseCounter(source(machine, entry["pin"], entry["debounce_ms"]), esp32.NVS("pulse"), entry)


_OPEN = {
    "bme280": _bme280,
    "sht4x": _sht4x,
    "scd4x": _scd4x,
    "pms5003": _pms5003,
    "ds18b20": _ds18b20,
    "analog": _analog,
    "pulse": _pulse,
}
