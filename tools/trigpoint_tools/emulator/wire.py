"""The wire between a board's process and the emulator: requests and replies as bytes, no I/O.

    request: kind (1 byte), length (2 bytes, little endian), payload
    reply:   length (2 bytes, little endian), status (1 byte: 0 well, 1 error, 2 Ctrl-C, 3 edge, 4 clock), payload

The board asks, the emulator answers each request with one reply, in order. Three things come unasked, between replies:
an edge at a pin that the board watches, with the pin's number as payload; Ctrl-C, without one; and what a fault does to
its clock, in 20 bytes: the jump in microseconds, and the crystal's rate as a fraction. Ctrl-C is not sent as SIGINT,
because the Unix port raises KeyboardInterrupt in the signal handler: at any machine instruction, even with the heap's
lock held, where an ESP32 raises it between two bytecodes.

The board's side is `hardware/_host.py`.
"""

from __future__ import annotations

import struct
from enum import IntEnum

_HEAD = struct.Struct("<BH")
MAX_PAYLOAD = 0xFFFF
INTERRUPT = struct.pack("<HB", 0, 2)
_EDGE = 3
_CLOCK = 4


class Kind(IntEnum):
    """What a board may ask of its hardware."""

    BOOT = 1
    RTC_SET = 2
    RTC_MEMORY_GET = 3
    RTC_MEMORY_SET = 4
    RESET = 5
    WATCHDOG_START = 6
    WATCHDOG_FEED = 7
    I2C_TRANSFER = 8
    NVS_GET_I32 = 9
    NVS_GET_BLOB = 10
    NVS_SET_I32 = 11
    NVS_SET_BLOB = 12
    NVS_ERASE_KEY = 13
    NVS_COMMIT = 14
    WLAN_ACTIVE = 15
    WLAN_CONNECT = 16
    WLAN_DISCONNECT = 17
    WLAN_STATUS = 18
    RESOLVE = 19
    WLAN_RECONNECTS = 20
    RESOLVE_DATAGRAM = 21
    PIN_SET = 32
    PIN_GET = 33
    PIN_IRQ = 34
    I2C_INIT = 35
    UART_INIT = 36
    UART_WRITE = 37
    UART_READ = 38
    UART_ANY = 39
    ONEWIRE_RESET = 40
    ONEWIRE_READ = 41
    ONEWIRE_WRITE = 42
    ADC_READ = 43
    COUNTER_INIT = 44
    COUNTER_VALUE = 45
    DEEP_SLEEP = 46
    WLAN_SCAN = 47


class WireFormatError(ValueError):
    """A request is not one that the board's modules send."""


class RequestReader:
    """Cuts a stream of bytes into requests."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[tuple[Kind, bytes]]:
        """Return the requests that `data` completes, as pairs of kind and payload.

        Raises:
            WireFormatError: a kind is unknown.
        """
        self._buffer += data
        requests = []
        while len(self._buffer) >= _HEAD.size:
            number, length = _HEAD.unpack_from(self._buffer)
            try:
                kind = Kind(number)
            except ValueError:
                raise WireFormatError(f"request kind {number} is unknown") from None
            end = _HEAD.size + length
            if len(self._buffer) < end:
                break
            requests.append((kind, bytes(self._buffer[_HEAD.size : end])))
            del self._buffer[:end]
        return requests


def reply(payload: bytes = b"") -> bytes:
    """Return the reply to a request that went well."""
    if len(payload) > MAX_PAYLOAD:
        raise WireFormatError(f"a reply of {len(payload)} bytes does not fit; at most {MAX_PAYLOAD} do")
    return struct.pack("<HB", len(payload), 0) + payload


def edge(pin: int) -> bytes:
    """Return what tells the board of an edge at a pin."""
    return struct.pack("<HBB", 1, _EDGE, pin)


def clock_fault(told: bytes) -> bytes:
    """Return what tells the board of a fault of its clock: 20 bytes from `Soc.skew`."""
    return struct.pack("<HB", len(told), _CLOCK) + told


def error(code: int, text: str = "") -> bytes:
    """Return the reply that makes the board raise OSError(code, text); with code 0, OSError(text)."""
    payload = struct.pack("<i", code) + text.encode()
    return struct.pack("<HB", len(payload), 1) + payload
