"""`python -m trigpoint_tools.bench.p256_variants`: what else the board's P-256 could be, measured beside what it is.

Three experiments on the board's interpreter, each against the shipped code in the same process: other tables, the
native emitter on the hot functions, and a field multiplication in viper. Every variant has to come to the same
signature. What they showed and what was chosen is in docs/signing.md.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from cryptography.hazmat.primitives.asymmetric import ec
from rich.console import Console
from rich.table import Table

from trigpoint_tools.boardfiles import device_directory
from trigpoint_tools.emulator.interpreter import find_micropython

ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
ROUNDS = 40

# Teeth, tables and columns of signed combs: the product is the number of digits, at least 257.
COMBS = ((5, 1, 52), (6, 1, 44), (5, 2, 26), (6, 2, 22), (7, 1, 37), (6, 4, 11), (7, 2, 19), (8, 2, 17), (7, 4, 10))
SHIPPED = (6, 2, 22)

_NATIVE = ("_double", "_add", "_inverse", "_multiply_generator")

_SIGNING = """
import json, time
from hashlib import sha256
import p256_variant as variant
from trig import p256
d = sha256(b"a board's key").digest()
rounds = []
for number in range(ROUNDS):
    digest = sha256(b"reading %d" % number).digest()
    times = []
    signatures = []
    for module in (variant, p256):
        start = time.ticks_us()
        signatures.append(module.sign(d, digest))
        times.append(time.ticks_diff(time.ticks_us(), start))
    if signatures[0] != signatures[1]:
        raise ValueError("the signers disagree")
    rounds.append(times)
print(json.dumps(rounds))
"""

# Montgomery multiplication modulo p with R = 2^256, in 16 limbs of 16 bits. Products are taken apart into halves of 16
# bits before they are added up, so that no sum leaves 23 bits, and nothing is ever negative: what viper reads from
# memory has a sign on a board, where its integers have 32 bits, and none on a PC with its 64. p is -1 modulo 2^16, so
# the factor m of each reduction step is the lowest limb itself; m p = m 2^256 - m 2^224 + m 2^192 + m 2^96 - m, where
# the first two together are m (2^16 - 1) (2^16 + 1) 2^224.
_VIPER = """
import json, time, micropython

@micropython.viper
def multiply(a: ptr16, b: ptr16, t: ptr32, out: ptr16):
    for i in range(34):
        t[i] = 0
    for i in range(16):
        x = uint(a[i])
        for j in range(16):
            product = uint(x * uint(b[j]))
            t[i + j] = int(uint(t[i + j]) + (product & uint(0xFFFF)))
            t[i + j + 1] = int(uint(t[i + j + 1]) + (product >> uint(16)))
    for i in range(16):
        m = int(t[i]) & 0xFFFF
        low = (0x10000 - m) & 0xFFFF
        high = 0
        if m:
            high = m - 1
        t[i + 6] = int(t[i + 6]) + m
        t[i + 12] = int(t[i + 12]) + m
        t[i + 14] = int(t[i + 14]) + low
        t[i + 15] = int(t[i + 15]) + low + high
        t[i + 16] = int(t[i + 16]) + high
        t[i + 1] = int(t[i + 1]) + ((int(t[i]) - m) >> 16)
    carry = 0
    for i in range(16):
        carry += int(t[i + 16])
        out[i] = carry & 0xFFFF
        carry = carry >> 16
    t[32] = carry

P = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF
R = 1 << 256
x = 0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296
y = 0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5
from array import array
out, t = bytearray(32), array("I", [0] * 40)
for _ in range(100):
    a, b = bytearray(x.to_bytes(32, "little")), bytearray(y.to_bytes(32, "little"))
    multiply(a, b, t, out)
    if (int.from_bytes(out, "little") + t[32] * R) * R % P != x * y % P:
        raise ValueError("viper multiplies wrongly")
    x, y = y, (x * y + 1) % P
rounds = []
for number in range(ROUNDS):
    start = time.ticks_us()
    for i in range(500):
        multiply(a, b, t, out)
    viper = time.ticks_diff(time.ticks_us(), start)
    start = time.ticks_us()
    for i in range(500):
        z = x * y % P
    rounds.append((viper, time.ticks_diff(time.ticks_us(), start)))
print(json.dumps(rounds))
"""


def comb_bytes(teeth: int, tables: int, columns: int) -> bytes:
    """Return the table of a comb: what tests/device/comb_table.py makes for the shipped one."""
    spacing = tables * columns
    entries = bytearray()
    for table in range(tables):
        for signs in range(1 << (teeth - 1)):
            factor = 1 << ((teeth - 1) * spacing)
            factor += sum((1 if signs >> tooth & 1 else -1) << (tooth * spacing) for tooth in range(teeth - 1))
            point = ec.derive_private_key((factor << (table * columns)) % ORDER, ec.SECP256R1()).public_key()
            numbers = point.public_numbers()
            entries += numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")
    return bytes(entries)


def comb_source(source: str, teeth: int, tables: int, columns: int) -> str:
    """Return p256.py for another comb.

    Raises:
        ValueError: p256.py has changed, so that the numbers of the comb are no longer where they were.
    """
    top = (1 << (teeth - 1)) - 1
    for old, new in (
        ("_TEETH = const(6)", f"_TEETH = const({teeth})"),
        ("_COLUMNS = const(22)", f"_COLUMNS = const({columns})"),
        ("_MASK = const(0x3FFFFF)", f"_MASK = const({(1 << columns) - 1})"),
        ("_SIGNS = const(32)", f"_SIGNS = const({top + 1})"),
        ("_TEETH * 2 * _COLUMNS", f"_TEETH * {tables} * _COLUMNS"),
        ("range(2 * _TEETH)", f"range({tables} * _TEETH)"),
        ("for table in (0, 1):", f"for table in range({tables}):"),
        ("range(table + 10, -1, -2)", f"range(table + {tables * (teeth - 1)}, -1, -{tables})"),
        ("positive = index >> 5", f"positive = index >> {teeth - 1}"),
        ("index & 31 if positive else 31 - index", f"index & {top} if positive else {top} - index"),
        ("from trig.p256_table import POINTS", "from p256_variant_table import POINTS"),
    ):
        if source.count(old) != 1:
            raise ValueError(f"p256.py has no {old!r} any more: this experiment has to follow it")
        source = source.replace(old, new)
    return source


def native_source(source: str) -> str:
    """Return p256.py with its hot functions compiled to machine code."""
    for name in _NATIVE:
        source = source.replace(f"\ndef {name}(", f"\n@micropython.native\ndef {name}(")
    return source.replace("from micropython import const", "import micropython\nfrom micropython import const")


def ratio(code: str, files: dict[str, str]) -> float:
    """Run code on the board's interpreter; return the median of first over second time of its rounds."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            (Path(folder) / name).write_text(text)
        output = subprocess.run(
            [find_micropython(), "-X", "heapsize=600k", "-c", f"ROUNDS = {ROUNDS}\n{code}"],
            stdout=subprocess.PIPE,
            check=True,
            timeout=120,
            env={**os.environ, "MICROPYPATH": f"{folder}:{device_directory()}:.frozen"},
        ).stdout
    rounds: Sequence[tuple[int, int]] = json.loads(output)
    return median(first / second for first, second in rounds)


def main() -> None:
    """Measure all variants and print a table."""
    source = (device_directory() / "trig" / "p256.py").read_text()
    view = Table(title="P-256 on the board's interpreter", title_justify="left")
    view.add_column("variant")
    view.add_column("time / shipped", justify="right")
    for comb in COMBS:
        teeth, tables, _ = comb
        table = comb_bytes(*comb)
        changed = source if comb == SHIPPED else comb_source(source, *comb)
        files = {"p256_variant.py": changed, "p256_variant_table.py": f"POINTS = {table!r}\n"}
        shipped = ", shipped" if comb == SHIPPED else ""
        view.add_row(
            f"signature, {teeth} teeth x {tables} tables, {len(table):,} bytes{shipped}",
            f"{ratio(_SIGNING, files):.2f}",
        )
    native = {"p256_variant.py": native_source(source)}
    view.add_row("signature, hot functions in native code", f"{ratio(_SIGNING, native):.2f}")
    view.add_row("one product modulo p in viper / in Python integers", f"{ratio(_VIPER, {}):.2f}")
    Console().print(view)


if __name__ == "__main__":
    main()
