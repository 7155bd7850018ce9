# onewire with the interface that the ESP32's frozen module has.

import _onewire


class OneWireError(Exception):
    pass


class OneWire:
    SEARCH_ROM = 0xF0
    MATCH_ROM = 0x55
    SKIP_ROM = 0xCC

    def __init__(self, pin):
        self.pin = pin
        pin.init(pin.OPEN_DRAIN, pin.PULL_UP)

    def reset(self, required=False):
        there = _onewire.reset(self.pin)
        if required and not there:
            raise OneWireError
        return there

    def readbit(self):
        return _onewire.readbit(self.pin)

    def readbyte(self):
        return _onewire.readbyte(self.pin)

    def readinto(self, buffer):
        for i in range(len(buffer)):
            buffer[i] = _onewire.readbyte(self.pin)

    def writebit(self, value):
        _onewire.writebit(self.pin, value)

    def writebyte(self, value):
        _onewire.writebyte(self.pin, value)

    def write(self, data):
        for byte in data:
            _onewire.writebyte(self.pin, byte)

    def select_rom(self, rom):
        self.reset()
        self.writebyte(self.MATCH_ROM)
        self.write(rom)

    def scan(self):
        # The search of the data sheet: where two parts differ, the last such place is taken the other way next time.
        found = []
        last = -1
        rom = bytearray(8)
        while len(found) < 255 and self.reset():
            self.writebyte(self.SEARCH_ROM)
            split = -1
            for place in range(64):
                one, zero = self.readbit(), self.readbit()
                if one and zero:
                    return found
                bit = one
                if not one and not zero:
                    bit = rom[place >> 3] >> (place & 7) & 1 if place < last else place == last
                    if not bit:
                        split = place
                rom[place >> 3] = rom[place >> 3] & ~(1 << (place & 7)) | bit << (place & 7)
                self.writebit(bit)
            found.append(bytes(rom))
            if split < 0:
                return found
            last = split
        return found

    def crc8(self, data):
        return _onewire.crc8(data)
