# _onewire as on the ESP32: resets, bits and bytes on a 1-Wire pin, and the parts' checksum.

import _host


def reset(pin):
    return _host.call(_host.ONEWIRE_RESET, bytes((pin.id,)))[0] != 0


def readbit(pin):
    return _host.call(_host.ONEWIRE_READ, bytes((pin.id, 1)))[0]


def readbyte(pin):
    return _host.call(_host.ONEWIRE_READ, bytes((pin.id, 8)))[0]


def writebit(pin, value):
    _host.call(_host.ONEWIRE_WRITE, bytes((pin.id, 1, 1 if value else 0)))


def writebyte(pin, value):
    _host.call(_host.ONEWIRE_WRITE, bytes((pin.id, 8, value & 255)))


def crc8(data):
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x8C if crc & 1 else 0)
    return crc
