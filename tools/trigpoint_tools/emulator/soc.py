"""What is inside an emulated ESP32 apart from its processor: clock, NVS, radio, watchdog and pins.

Answers the requests of the board's hardware modules. No I/O but NVS's file; what reaches outside (resets, network)
is left to the caller.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from fractions import Fraction

from trigpoint.clock import WorldClock

from trigpoint_tools.emulator.errors import HardwareError
from trigpoint_tools.emulator.nvs import Nvs
from trigpoint_tools.emulator.pads import Pads
from trigpoint_tools.emulator.power import PowerMeter
from trigpoint_tools.emulator.wifi import Station, Status
from trigpoint_tools.emulator.wire import Kind

_RTC_MEMORY = 2048
_FINEST = 1_000_000  # denominator of a rate: the board counts with it in machine words
_WPA2 = 3  # authmode of a network with a key, 0 of an open one


class ResetCause(IntEnum):
    """Values of machine.reset_cause() on the ESP32."""

    POWER_ON = 1
    HARD = 2
    WATCHDOG = 3
    DEEP_SLEEP = 4
    SOFT = 5


@dataclass
class Watchdog:
    """The watchdog timer, in real time: it looks for code that hangs, not for weather that is slow.

    Attributes:
        timeout: seconds, None until the board starts it; then nothing but a reset stops it.
        deadline: the machine's monotonic second at which it bites.
    """

    timeout: float | None = None
    deadline: float = 0.0

    def start(self, timeout: float, now: float) -> None:
        """Start it, or set another time-out."""
        self.timeout = timeout
        self.feed(now)

    def feed(self, now: float) -> None:
        """Put the deadline off."""
        if self.timeout is not None:
            self.deadline = now + self.timeout


class Soc:
    """One chip's state.

    Args:
        mac: six bytes, the unique id.
        clock: the world's clock.
        real_ns: the machine's nanoseconds since 1970, the clock that the board's process reads too.
        monotonic: the machine's seconds.
        nvs: the chip's NVS.
        station: its radio.
        pads: what its pins lead to.

    Attributes:
        rtc_sets: how often the board has set its RTC.
    """

    def __init__(
        self,
        *,
        mac: bytes,
        clock: WorldClock,
        real_ns: Callable[[], int],
        monotonic: Callable[[], float],
        nvs: Nvs,
        station: Station,
        pads: Pads,
    ) -> None:
        self.mac = mac
        self.nvs = nvs
        self.station = station
        self.watchdog = Watchdog()
        self.power = PowerMeter()
        self._real_ns = real_ns
        self._monotonic = monotonic
        self.pads = pads
        self._speed = Fraction(clock.speed).limit_denominator(_FINEST)
        self._rate = self._speed  # of the crystal: microseconds by it in one of this machine
        self._rate_since_us = int(clock.real_origin * 1_000_000)
        self._crystal_us = clock.origin * 1_000_000  # what the crystal had counted then
        self.rtc_sets = 0
        self._cause = ResetCause.POWER_ON
        self._code: str | None = None
        self._rtc_zero_us = 0
        self._rtc_memory = b""
        self.reset(ResetCause.POWER_ON)

    def reset(self, cause: ResetCause, code: str | None = None) -> None:
        """Begin a boot.

        Args:
            cause: why; power-on forgets the RTC, and each forgets what NVS had not committed.
            code: what to run instead of main.py.
        """
        self._cause = cause
        self._code = code
        self.watchdog = Watchdog()
        self.station.power_on()
        self.nvs.power_on()
        self.pads.reset()
        if cause == ResetCause.POWER_ON:
            self._rtc_zero_us = self._counted_us()
            self._rtc_memory = b""
            self.pads.power_on()

    def deep_sleep(self, payload: bytes) -> float | None:
        """Begin deep sleep, which stops the watchdog; return its length in seconds of the world, None for ever."""
        ms, cpu_us = struct.unpack("<QQ", payload)
        self.watchdog = Watchdog()
        self.power.slept(ms / 1000, self._monotonic(), cpu_us / 1_000_000)
        return ms / 1000 if ms else None

    def connected(self) -> bool:
        """Return whether the station has an address."""
        return self.station.status(self._monotonic()) == Status.GOT_IP

    def answer(self, kind: Kind, payload: bytes) -> bytes:
        """Return the reply's payload.

        Raises:
            HardwareError: the board gets it as OSError.
            struct.error, ValueError: the payload is not what the board's modules send.
        """
        name = kind.name.lower()
        handler = getattr(self, f"_{name}", None) or getattr(self.pads, name)
        return bytes(handler(payload) or b"")

    def skew(self, ppm: float, jump_s: int = 0) -> bytes:
        """Let the crystal run fast by so many parts per million, and move the RTC; return what to tell the board."""
        self._crystal_us = self._counted_us()
        self._rate_since_us = self._real_ns() // 1000
        self._rate = (self._speed * (1_000_000 + Fraction(ppm)) / 1_000_000).limit_denominator(_FINEST)
        self._rtc_zero_us -= jump_s * 1_000_000
        return struct.pack("<qQI", jump_s * 1_000_000, self._rate.numerator, self._rate.denominator)

    def _counted_us(self) -> int:
        elapsed_us = self._real_ns() // 1000 - self._rate_since_us
        return self._crystal_us + elapsed_us * self._rate.numerator // self._rate.denominator

    def _boot(self, payload: bytes) -> bytes:
        (cpu_us,) = struct.unpack("<Q", payload)
        self.power.booted(self._monotonic(), cpu_us / 1_000_000)
        real_ns = self._real_ns()
        head = struct.pack(
            "<qqQIB",
            self._counted_us() - self._rtc_zero_us,
            real_ns,
            self._rate.numerator,
            self._rate.denominator,
            self._cause,
        )
        code = b"\0" if self._code is None else b"\1" + self._code.encode()
        return head + self.mac + code

    def _rtc_set(self, payload: bytes) -> None:
        (us,) = struct.unpack("<q", payload)
        self._rtc_zero_us = self._counted_us() - us
        self.rtc_sets += 1

    def _rtc_memory_get(self, _: bytes) -> bytes:
        return self._rtc_memory

    def _rtc_memory_set(self, payload: bytes) -> None:
        if len(payload) > _RTC_MEMORY:
            raise HardwareError(0, "buffer too long")
        self._rtc_memory = payload

    def _watchdog_start(self, payload: bytes) -> None:
        (ms,) = struct.unpack("<I", payload)
        self.watchdog.start(ms / 1000, self._monotonic())

    def _watchdog_feed(self, _: bytes) -> None:
        self.watchdog.feed(self._monotonic())

    def _nvs_get_i32(self, payload: bytes) -> bytes:
        return struct.pack("<i", self.nvs.get_i32(_nvs_key(payload)[0]))

    def _nvs_get_blob(self, payload: bytes) -> bytes:
        return self.nvs.get_blob(_nvs_key(payload)[0])

    def _nvs_set_i32(self, payload: bytes) -> None:
        key, value = _nvs_key(payload)
        self.nvs.set(key, struct.unpack("<i", value)[0])

    def _nvs_set_blob(self, payload: bytes) -> None:
        self.nvs.set(*_nvs_key(payload))

    def _nvs_erase_key(self, payload: bytes) -> None:
        self.nvs.erase_key(_nvs_key(payload)[0])

    def _nvs_commit(self, _: bytes) -> None:
        self.nvs.commit()

    def _wlan_active(self, payload: bytes) -> None:
        on, cpu_us = struct.unpack("<BQ", payload)
        self.station.set_active(on == 1)
        self.power.radio(on == 1, self._monotonic(), cpu_us / 1_000_000)

    def _wlan_connect(self, payload: bytes) -> None:
        ssid, _, password = payload.decode().partition("\0")
        self.station.connect(ssid, password, self._monotonic())

    def _wlan_disconnect(self, _: bytes) -> None:
        self.station.disconnect()

    def _wlan_reconnects(self, payload: bytes) -> None:
        (self.station.reconnects,) = struct.unpack("<h", payload)

    def _wlan_scan(self, _: bytes) -> bytes:
        found = ((one.ssid.encode(), one.rssi, bool(one.password)) for one in self.station.scan(self._monotonic()))
        return b"".join(struct.pack("<BbB", len(ssid), rssi, _WPA2 * secured) + ssid for ssid, rssi, secured in found)

    def _wlan_status(self, _: bytes) -> bytes:
        status = self.station.status(self._monotonic())
        return struct.pack("<HbB", status, self.station.rssi, self.station.active)


def _nvs_key(payload: bytes) -> tuple[str, bytes]:
    """Split namespace NUL key NUL value into one name and the value."""
    namespace, key, value = payload.split(b"\0", 2)
    return f"{namespace.decode()}/{key.decode()}", value
