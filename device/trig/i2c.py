"""An I2C bus that several parts share and that is freed when one of them hangs.

A part that was cut off in the middle of an answer (by a reset of the board, or a disturbance on the wire) goes on
holding SDA until it has been clocked through the rest of its byte: NXP UM10204 section 3.1.16 says to send nine clocks.
A clock that is held low has no remedy but the part's power; then each transfer ends after its time-out.
"""

import time

from micropython import const

_FREQUENCY = const(100000)
_TIMEOUT_US = const(25000)  # the longest that any part here stretches the clock, ten times over
_HALF_CLOCK_US = const(5)
_CLOCKS = const(9)
_ETIMEDOUT = const(116)  # the ESP32's number


class Bus:
    """One bus. Its transfers are those of ``machine.I2C`` and raise OSError as it does.

    Attributes:
        recoveries: how often the bus was freed, or tried to be.
    """

    def __init__(self, machine, number, scl, sda):
        """Take the ``machine`` module, the I2C unit's number and the pins' numbers."""
        self._machine = machine
        self._number = number
        self._scl = scl
        self._sda = sda
        self.recoveries = 0
        self._open()

    def _open(self):
        machine = self._machine
        self._i2c = machine.I2C(
            self._number,
            scl=machine.Pin(self._scl),
            sda=machine.Pin(self._sda),
            freq=_FREQUENCY,
            timeout=_TIMEOUT_US,
        )

    def writeto(self, address, data):
        try:
            self._i2c.writeto(address, data)
        except OSError as error:
            self._failed(error)
            raise

    def readfrom_into(self, address, buffer):
        try:
            self._i2c.readfrom_into(address, buffer)
        except OSError as error:
            self._failed(error)
            raise

    def writeto_mem(self, address, register, data):
        try:
            self._i2c.writeto_mem(address, register, data)
        except OSError as error:
            self._failed(error)
            raise

    def readfrom_mem_into(self, address, register, buffer):
        try:
            self._i2c.readfrom_mem_into(address, register, buffer)
        except OSError as error:
            self._failed(error)
            raise

    def readfrom_mem(self, address, register, size):
        try:
            return self._i2c.readfrom_mem(address, register, size)
        except OSError as error:
            self._failed(error)
            raise

    def _failed(self, error):
        # A part that is not there leaves both wires high. The error's number alone does not tell: drivers differ.
        pin = self._machine.Pin
        if error.errno == _ETIMEDOUT or not pin(self._sda).value() or not pin(self._scl).value():
            self.recover()

    def recover(self):
        """Clock a part that holds SDA through the rest of its byte, send a STOP and set the bus up anew."""
        self.recoveries += 1
        pin = self._machine.Pin
        scl = pin(self._scl, pin.OPEN_DRAIN, value=1)
        sda = pin(self._sda, pin.OPEN_DRAIN, value=1)
        for _ in range(_CLOCKS):
            _step(scl, 0)
            _step(scl, 1)
        _step(scl, 0)
        _step(sda, 0)
        _step(scl, 1)
        _step(sda, 1)
        self._open()


def _step(pin, level):
    pin.value(level)
    time.sleep_us(_HALF_CLOCK_US)
