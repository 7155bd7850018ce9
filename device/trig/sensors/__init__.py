"""Sensors. Each is one file with one class of one shape, made from its entry in config.json.

part                what it is and where, for error messages and health
channels            tuple of (reading name, unit, exponent), fixed
limit_ms            the longest that ``measure`` may take; then it is cancelled
async measure(out)  put one mantissa for each channel into the list ``out``; raises SensorError, OSError or
                    asyncio.TimeoutError and leaves the part ready for the next try
close()             the board is about to stop: keep what must not be lost

Units are primary ones of the SenML registry, made fine by the exponent: a statement's records have no version field,
and without one RFC 9100 section 4 does not allow secondary units such as ppm or ug/m3.
"""

import sys

TYPES = ("analog", "bme280", "ds18b20", "pms5003", "pulse", "scd4x", "sht4x")


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
        names = {"sensors." + entry["type"] for entry in entries if entry["type"] in TYPES}
        if any("i2c" in entry or "scl" in entry for entry in entries):
            names.add("i2c")
        return sorted(names)
    except (OSError, ValueError, KeyError, TypeError):
        return []  # what is wrong with it trig.config will say


def open_sensors(entries, machine):
    """Return the sensors for the checked entries of ``config.json``'s ``sensors``.

    Only the types in use are imported, each by its own function ``open_sensor(entry, machine, bus)``. Nothing is read
    from a part yet: a board starts with a sensor unplugged, and takes it in when it is there.
    """
    buses = {}
    sensors = []
    for entry in entries:
        number = entry.get("i2c")
        if number is not None and number not in buses:
            from trig.i2c import Bus

            buses[number] = Bus(machine, number, entry["scl"], entry["sda"])
        name = "trig.sensors." + entry["type"]
        __import__(name)
        sensors.append(sys.modules[name].open_sensor(entry, machine, buses.get(number)))
    return sensors
