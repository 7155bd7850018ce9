"""Makes the board's table of multiples of P-256's generator, with the `ecdsa` package as the judge of every point.

    python tests/device/comb_table.py > device/trig/p256_table.py

The layout is explained in device/trig/p256.py. test_p256.py holds the file to what this module says.
"""

from ecdsa.curves import NIST256p
from ecdsa.ellipticcurve import PointJacobi

TEETH, TABLES, COLUMNS = 6, 2, 22
SPACING = TABLES * COLUMNS


def multiple(table: int, signs: int) -> int:
    """The factor of the generator at entry `signs` of a table: bit t says whether tooth t counts +1 or -1."""
    top = 1 << ((TEETH - 1) * SPACING)
    teeth = sum((1 if signs >> tooth & 1 else -1) << (tooth * SPACING) for tooth in range(TEETH - 1))
    return (top + teeth) << (table * COLUMNS)


def entries() -> bytes:
    """All entries in order, each x || y, 32 bytes big-endian each."""
    generator = NIST256p.generator
    out = bytearray()
    for table in range(TABLES):
        for signs in range(1 << (TEETH - 1)):
            point: PointJacobi = generator * (multiple(table, signs) % NIST256p.order)
            out += int(point.x()).to_bytes(32, "big") + int(point.y()).to_bytes(32, "big")
    return bytes(out)


def source() -> str:
    """The text of device/trig/p256_table.py."""
    data = entries()
    lines = []
    for at in range(0, len(data), 28):
        escaped = "".join(rf"\x{byte:02x}" for byte in data[at : at + 28])
        lines.append(f'    b"{escaped}"')
    return (
        f'"""Multiples of P-256\'s generator for p256.py: {len(data)} bytes. '
        'Made by tests/device/comb_table.py, which says how."""\n\n'
        "POINTS = (\n" + "\n".join(lines) + "\n)\n"
    )


if __name__ == "__main__":
    print(source(), end="")
