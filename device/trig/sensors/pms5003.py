"""Plantower PMS5003: fine dust over a UART.

Source: PMS5003 series data manual, version 2.3, appendix I (frames) and appendix II (commands). The values are those
under atmospheric conditions. Micrograms per cubic meter are 10^-9 kg/m3, the unit that SenML has.
"""

import asyncio
import time

from micropython import const

from trig.sensors import Sensor, SensorError, prefixed

_BAUD = const(9600)
_FRAME = const(32)
_WAKE = const(b"BM\xe4\0\1\1\x74")
_SLEEP = const(b"BM\xe4\0\0\1\x73")
_FRAME_MS = const(5000)  # it sends every 200 to 2,300 ms
_POLL_MS = const(50)


def open_sensor(entry, machine, bus):
    """Return the sensor for its checked entry in config.json."""
    pins = {"rx": machine.Pin(entry["rx"])}
    if entry["tx"] >= 0:
        pins["tx"] = machine.Pin(entry["tx"])
    uart = machine.UART(entry["uart"], _BAUD, rxbuf=256, timeout=0, **pins)
    return Pms5003(uart, entry["name"], entry["rx"], entry["warm_up_s"] if "tx" in pins else 0)


class FrameReader:
    """Finds frames in a stream of bytes: "BM", length 28, words, and the sum of all bytes before.

    Attributes:
        frame: the newest frame that was whole.
        damaged: frames whose length or sum was wrong since ``clear``.
    """

    def __init__(self):
        self.frame = bytearray(_FRAME)
        self.clear()

    def clear(self):
        """Forget what has been read."""
        self._have = 0
        self.damaged = 0

    def feed(self, byte):
        """Take one byte; return whether ``frame`` is whole with it."""
        frame = self.frame
        have = self._have
        if have == 1 and byte != 0x4D:
            have = 0
        if have == 0 and byte != 0x42:
            self._have = 0
            return False
        frame[have] = byte
        self._have = have = have + 1
        if have == 4 and (frame[2] or frame[3] != _FRAME - 4):
            self._have = 0
            self.damaged += 1
        if have < _FRAME:
            return False
        self._have = 0
        if sum(memoryview(frame)[: _FRAME - 2]) != frame[_FRAME - 2] << 8 | frame[_FRAME - 1]:
            self.damaged += 1
            return False
        return True

    def word(self, index):
        """The data word at ``index``, from 1 as in the manual."""
        return self.frame[2 + 2 * index] << 8 | self.frame[3 + 2 * index]


class Pms5003(Sensor):
    """One PMS5003 on a UART; the shape is that of ``trig.sensors``."""

    def __init__(self, uart, name, rx, warm_up_s):
        """Take a ``machine.UART``, a prefix for the readings' names and the number of the receiving pin.

        Args:
            warm_up_s: with a wire to the part, seconds from waking its fan until it is read, 30 by the manual; it
                sleeps between measurements, for its laser lasts three years of work. 0 leaves it running.
        """
        self.part = "PMS5003 " + (name or "rx {}".format(rx))
        self.channels = prefixed(name, (("pm1", "kg/m3", -9), ("pm2.5", "kg/m3", -9), ("pm10", "kg/m3", -9)))
        self.limit_ms = warm_up_s * 1000 + _FRAME_MS + 1000
        self._uart = uart
        self._warm_up_s = warm_up_s
        self._reader = FrameReader()
        self._buffer = bytearray(_FRAME)

    async def measure(self, out):
        """Take one frame that comes from now on; ``out`` gets PM1, PM2.5 and PM10 in micrograms per cubic meter."""
        try:
            if self._warm_up_s:
                self._uart.write(_WAKE)
                await asyncio.sleep_ms(self._warm_up_s * 1000)
            self._drain()
            await self._frame()
        finally:
            if self._warm_up_s:
                self._uart.write(_SLEEP)
        pm1, pm25, pm10 = [self._reader.word(i) for i in (4, 5, 6)]
        # Each counts what the one before counts, and more.
        if not pm1 <= pm25 <= pm10:
            raise SensorError("{}: PM {}, {}, {} cannot be".format(self.part, pm1, pm25, pm10))
        out[0] = pm1
        out[1] = pm25
        out[2] = pm10

    def _drain(self):
        # The buffer holds 256 bytes at most; a part that floods the line must not hold us here.
        for _ in range(16):
            if not self._uart.readinto(self._buffer):
                break
        self._reader.clear()

    async def _frame(self):
        began = time.ticks_ms()
        heard = False
        while time.ticks_diff(time.ticks_ms(), began) < _FRAME_MS:
            for i in range(self._uart.readinto(self._buffer) or 0):
                heard = True
                if self._reader.feed(self._buffer[i]):
                    return
            await asyncio.sleep_ms(_POLL_MS)
        if not heard:
            raise SensorError(self.part + ": sends nothing")
        raise SensorError("{}: no whole frame, {} damaged".format(self.part, self._reader.damaged))
