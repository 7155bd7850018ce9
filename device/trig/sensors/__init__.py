"""Sensors. Each is one file with one class of one shape, made by ``open_sensor`` from its entry in config.json.

channels            tuple of (reading name, unit, exponent), fixed
async measure(out)  put one mantissa for each channel into the list ``out``; raises SensorError, OSError or
                    asyncio.TimeoutError and leaves the part ready for the next try
"""


class SensorError(Exception):
    """The part is missing, is another one, or gave no usable value; the message names the part and says which."""


def open_sensor(settings, machine):
    """Return the sensor for one checked entry of ``config.json``'s ``sensors``.

    Nothing is read from the part yet: a board starts with a sensor unplugged, and takes it in when it is there.
    """
    # One type so far; the schema in trig.config refuses all others.
    from trig.sensors.bme280 import Bme280

    bus = machine.I2C(settings["i2c"], scl=machine.Pin(settings["scl"]), sda=machine.Pin(settings["sda"]), freq=100_000)
    return Bme280(bus, settings["address"], settings["name"])
