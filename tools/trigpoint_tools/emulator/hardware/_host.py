# The board's side of the wire to the emulator: one request, one reply, over an inherited socket.
#
# request: kind (1 byte), length (2 bytes, little endian), payload
# reply:   length (2 bytes, little endian), status (1 byte: 0 well, 1 error, 2 Ctrl-C), payload

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
WLAN_ACTIVE = const(15)
WLAN_CONNECT = const(16)
WLAN_DISCONNECT = const(17)
WLAN_STATUS = const(18)
RESOLVE = const(19)
WLAN_RECONNECTS = const(20)

_ERROR = const(1)
_INTERRUPT = const(2)

FD = int(sys.argv[1])
_link = open(FD, "r+b")
_tx = bytearray(3)
_rx = bytearray(3)


def call(kind, head=b"", data=b""):
    # One request. Raises OSError if the hardware fails.
    size = len(head) + len(data)
    _tx[0] = kind
    _tx[1] = size & 255
    _tx[2] = size >> 8
    _link.write(_tx)
    _link.write(head)
    _link.write(data)
    _receive()
    interrupted = False
    while _rx[2] == _INTERRUPT:
        _receive()
        interrupted = True
    reply = _link.read(_rx[0] | _rx[1] << 8)
    if interrupted:
        raise KeyboardInterrupt
    if _rx[2] == _ERROR:
        code = unpack("<i", reply)[0]
        text = str(reply[4:], "utf-8")
        if not code:
            raise OSError(text)
        raise OSError(code, text) if text else OSError(code)
    return reply


def listen():
    # Takes what the emulator sent unasked, which is Ctrl-C. Called where the board's code waits, once FD is readable.
    _receive()
    raise KeyboardInterrupt


def _receive():
    if _link.readinto(_rx) != 3:
        # Without its emulator a board has no hardware left. Nothing less than a kill passes every except and finally.
        os.system("kill -9 $PPID")
