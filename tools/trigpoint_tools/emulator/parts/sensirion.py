"""What Sensirion's I2C parts have in common: 16-bit words, each followed by its CRC-8.

Source: SHT4x data sheet (version 6), section 4.4, and SCD4x data sheet (version 1.6), section 3.12: polynomial 0x31,
initial value 0xFF, no reflection, no final XOR; 0xBEEF gives 0x92.
"""

from __future__ import annotations


def crc8(data: bytes) -> int:
    """Return the checksum of one word."""
    crc = 0xFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1) ^ (0x131 if crc & 0x80 else 0)
    return crc


def words(*values: int) -> bytes:
    """Return words as they go over the wire, each with its checksum."""
    raw = (value.to_bytes(2, "big") for value in values)
    return b"".join(word + bytes((crc8(word),)) for word in raw)
