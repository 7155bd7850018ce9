# The board's side of the wire to the emulator: one request, one reply, over an inherited socket.
#
# request: kind (1 byte), length (2 bytes, little endian), payload
# reply:   length (2 bytes, little endian), status, payload
# status:  1 byte: 0 well, 1 error, 2 Ctrl-C, 3 edge at a pin, 4 fault of the clock

import os
import sys
from struct import unpack

from micropython import const

BOOT = const(1)
RTC_SET = const(2)
RTC_MEMORY_GET = const(3)
RTC_MEMORY_SET = const(4)
RESET = const(5)
WATCHDOG_START = const(6)
WATCHDOG_FEED = const(7)
I2C_TRANSFER = const(8)
NVS_GET_I32 = const(9)
NVS_GET_BLOB = const(10)
NVS_SET_I32 = const(11)
NVS_SET_BLOB = const(12)
NVS_ERASE_KEY = const(13)
NVS_COMMIT = const(14)
RESOLVE = const(19)
RESOLVE_DATAGRAM = const(21)
PIN_SET = const(32)
PIN_GET = const(33)
PIN_IRQ = const(34)
I2C_INIT = const(35)
UART_INIT = const(36)
UART_WRITE = const(37)
UART_READ = const(38)
UART_ANY = const(39)
ONEWIRE_RESET = const(40)
ONEWIRE_READ = const(41)
ONEWIRE_WRITE = const(42)
ADC_READ = const(43)
COUNTER_INIT = const(44)
COUNTER_VALUE = const(45)
DEEP_SLEEP = const(46)

_ERROR = const(1)
_INTERRUPT = const(2)
_EDGE = const(3)
_CLOCK = const(4)

clock_fault = None  # called with the payload when the clock jumps or changes its rate
held = False  # a Ctrl-C came before boot.py: a chip hears it when that runs
edges = []  # numbers of the pins whose handlers are to run where the board's code next waits

FD = int(sys.argv[1])
_link = open(FD, "r+b")
_tx = bytearray(3)
_rx = bytearray(3)


def call(kind, head=b"", data=b""):
    # One request. Raises OSError if the hardware fails.
    global held
    size = len(head) + len(data)
    _tx[0] = kind
    _tx[1] = size & 255
    _tx[2] = size >> 8
    _link.write(_tx)
    _link.write(head)
    _link.write(data)
    _receive()
    interrupted, held = held, False
    while _rx[2] >= _INTERRUPT:
        if not _taken():
            interrupted = True
        _receive()
    reply = _link.read(_rx[0] | _rx[1] << 8)
    if interrupted:
        if kind != BOOT:
            raise KeyboardInterrupt
        held = True
    if _rx[2] == _ERROR:
        code = unpack("<i", reply)[0]
        text = str(reply[4:], "utf-8")
        if not code:
            raise OSError(text)
        raise OSError(code, text) if text else OSError(code)
    return reply


def listen():
    # Takes what the emulator sent unasked: an edge or Ctrl-C. Called where the board's code waits, once FD is readable.
    _receive()
    if not _taken():
        raise KeyboardInterrupt


def _taken():
    # Whether what came unasked was no Ctrl-C.
    if _rx[2] == _EDGE:
        edges.append(_link.read(1)[0])
    elif _rx[2] == _CLOCK:
        clock_fault(_link.read(20))
    else:
        return False
    return True


def _receive():
    if _link.readinto(_rx) != 3:
        # Without its emulator a board has no hardware left. Nothing less than a kill passes every except and finally.
        os.system("kill -9 $PPID")
