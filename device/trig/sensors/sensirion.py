"""Sensirion's words on I2C: 16 bits and a CRC-8 each (polynomial 0x31, initial value 0xFF).

Source: SHT4x data sheet, version 6, section 4.4; SCD4x data sheet, version 1.6, section 3.12.
"""

from trig.sensors import SensorError


def crc8(buffer, start):
    """The checksum of the two bytes at ``start``."""
    crc = 0xFF
    for i in (start, start + 1):
        crc ^= buffer[i]
        for _ in range(8):
            crc = crc << 1 ^ 0x131 if crc & 0x80 else crc << 1
    return crc


def word(buffer, index, part):
    """The word at ``index``, 3 bytes each; raises SensorError in the name of ``part`` if its checksum is wrong."""
    start = 3 * index
    if crc8(buffer, start) != buffer[start + 2]:
        raise SensorError(part + ": checksum is wrong")
    return buffer[start] << 8 | buffer[start + 1]


def celsius(raw):
    """Hundredths of a degree: -45 + 175 * raw / 65535, rounded."""
    return (17500 * raw + 32767) // 65535 - 4500
