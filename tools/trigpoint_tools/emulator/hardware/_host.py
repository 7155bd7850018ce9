# The board's side of the wire to the emulator: one request, one reply, over an inherited socket.
#
# request: kind (1 byte), length (2 bytes, little endian), payload
# reply:   length (2 bytes, little endian), status (1 byte, 0 is well, 1 an OSError), payload

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

FD = int(sys.argv[1])
_link = open(FD, "r+b")
_tx = bytearray(3)
_rx = bytearray(3)
_owed = False


def lost():
    # Without its emulator a board has no hardware left. Nothing less than a kill passes every except and finally.
    os.system("kill -9 $PPID")


def call(kind, head=b"", data=b""):
    # From the first write to the last read there is no jump, and only at a jump or in a read that waits can
    # MicroPython raise KeyboardInterrupt. So if it comes, exactly one whole reply is still to be read.
    global _owed
    if _owed:
        _receive()
    size = len(head) + len(data)
    _tx[0] = kind
    _tx[1] = size & 255
    _tx[2] = size >> 8
    _owed = True
    _link.write(_tx)
    _link.write(head)
    _link.write(data)
    reply = _receive()
    if _rx[2]:
        code = unpack("<i", reply)[0]
        text = str(reply[4:], "utf-8")
        if not code:
            raise OSError(text)
        raise OSError(code, text) if text else OSError(code)
    return reply


def _receive():
    global _owed
    got = _link.readinto(_rx)
    reply = _link.read(_rx[0] | _rx[1] << 8)
    _owed = False
    if got != 3:
        lost()
    return reply
