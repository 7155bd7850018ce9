"""What a signature costs on the board's interpreter, against textbook elliptic-curve arithmetic in the same process.

How much heap it needs is found by bisection over ``-X heapsize``: the least heap in which a program still signs, less
the least in which it runs that does all but sign. Both hold a ballast, larger than what was needed for a while to
compile the modules, so that a signature finds nothing free but what the heap's size leaves. Objects take about twice
the bytes that they take on an ESP32.

The peer is the faster of the two textbook ways: Jacobian coordinates, left-to-right double-and-add over the nonce's 256
bits, mixed addition of the affine generator, a reduction after each product. (In affine coordinates each step would
take an inversion more.) Nonce, inversion and the final arithmetic are the board's own on both sides, so that the figure
compares the curve alone, and the peer has to come to the same signature, byte for byte. It is no part of a board.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from trigpoint_tools.boardfiles import device_directory
from trigpoint_tools.emulator.interpreter import find_micropython

ROUNDS = 15
EACH = 10
HEAP = "160k"

_PEER = """
_P = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF
_N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_GX = 0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296
_GY = 0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5


def _double(x, y, z):
    # The formulas for a curve with a = -3.
    p = _P
    delta = z * z % p
    gamma = y * y % p
    beta = x * gamma % p
    alpha = 3 * (x - delta) * (x + delta) % p
    x3 = (alpha * alpha - 8 * beta) % p
    z3 = 2 * y * z % p
    y3 = (alpha * (4 * beta - x3) % p - 8 * gamma * gamma % p) % p
    return x3, y3, z3


def _add(x1, y1, z1, x2, y2):
    if z1 == 0:
        return x2, y2, 1
    p = _P
    zz = z1 * z1 % p
    u2 = x2 * zz % p
    s2 = y2 * z1 % p * zz % p
    h = (u2 - x1) % p
    r = (s2 - y1) % p
    if h == 0:
        return _double(x1, y1, z1) if r == 0 else (0, 1, 0)
    hh = h * h % p
    hhh = h * hh % p
    v = x1 * hh % p
    x3 = (r * r - hhh - 2 * v) % p
    y3 = (r * (v - x3) % p - y1 * hhh % p) % p
    z3 = z1 * h % p
    return x3, y3, z3


def multiply(k):
    x, y, z = 0, 1, 0
    for bit in range(255, -1, -1):
        x, y, z = _double(x, y, z)
        if k >> bit & 1:
            x, y, z = _add(x, y, z, _GX, _GY)
    inverse = p256._inverse(z, _P)
    return x * inverse * inverse % _P


def naive_sign(d, digest):
    k = next(p256._nonces(d, digest))
    r = multiply(k) % _N
    s = p256._inverse(k, _N) * (int.from_bytes(digest, "big") + r * int.from_bytes(d, "big")) % _N
    return r.to_bytes(32, "big") + min(s, _N - s).to_bytes(32, "big")
"""

# Processor time, for others may run meanwhile; MicroPython tells it in milliseconds, so each is done EACH times over.
# A round measures all three one after the other: a slow moment of the machine meets them alike.
_MEASUREMENT = """
import json, time
from hashlib import sha256

def timed(function, *arguments):
    start = time.clock()
    for _ in range(EACH):
        result = function(*arguments)
    return time.clock() - start, result

d = sha256(b"a board's key").digest()
x, y = p256.public(d)
rounds = []
for number in range(ROUNDS):
    digest = sha256(b"reading %d" % number).digest()
    comb, signature = timed(p256.sign, d, digest)
    naive, peer = timed(naive_sign, d, digest)
    verify, valid = timed(p256_points.verify, x, y, digest, signature)
    if signature != peer or not valid:
        raise ValueError("the signers disagree")
    rounds.append((comb, naive, verify))
print(json.dumps(rounds))
"""


_BALLAST = 1 << 17
_HEAP = """
import gc
from trig import p256, p256_points
d, digest = bytes(31) + b"\\5", bytes(32)
x, y = p256.public(d)
signature = p256.sign(d, digest)
gc.collect()
ballast = [None] * BLOCKS
for i in range(BLOCKS):
    ballast[i] = bytearray(96)
gc.collect()
"""


def least_heap(statement: str) -> int:
    """Return the least heap, in bytes, within 64, in which the board's interpreter runs a statement with p256 loaded.

    Raises:
        RuntimeError: it does not run in any heap.
    """
    code = f"BLOCKS = {_BALLAST // 128}\n{_HEAP}\n{statement}\n"
    low, high = 0, 4 * _BALLAST
    if not _runs(code, high):
        raise RuntimeError(f"{statement} fails on the board's interpreter")
    while high - low > 64:
        middle = (low + high) // 2
        low, high = (low, middle) if _runs(code, middle) else (middle, high)
    return high


def _runs(code: str, heap: int) -> bool:
    command: list[str | Path] = [find_micropython(), "-X", f"heapsize={heap}", "-c", code]
    environment = {**os.environ, "MICROPYPATH": f"{device_directory()}:.frozen"}
    return subprocess.run(command, capture_output=True, check=False, timeout=60, env=environment).returncode == 0


def figures(report: Callable[[str], None]) -> dict[str, int | float]:
    """Measure the board's signer; `report` is told what goes on.

    Returns:
        sign_vs_naive: time of a signature over that of the textbook peer.
        sign_ms: milliseconds of processor time of a signature on this machine's MicroPython.
        sign_heap_peak_bytes: the extra heap that a signature needs, in bytes.
        verify_heap_peak_bytes: the same of a verification.
        verify_ms_vs_sign: time of a verification over that of a signature.

    Raises:
        EmulatorError: MicroPython or the board's files are missing.
        subprocess.CalledProcessError: the board's code failed; its output is on standard error.
    """
    report(f"signing {ROUNDS} digests in two ways and verifying, {EACH} times each, on MicroPython, heap {HEAP}")
    code = f"ROUNDS, EACH = {ROUNDS}, {EACH}\nfrom trig import p256, p256_points\n{_PEER}\n{_MEASUREMENT}"
    output = subprocess.run(
        [find_micropython(), "-X", f"heapsize={HEAP}", "-c", code],
        stdout=subprocess.PIPE,
        check=True,
        timeout=120,
        env={**os.environ, "MICROPYPATH": f"{device_directory()}:.frozen"},
    ).stdout
    comb, naive, verify = (sum(seconds) for seconds in zip(*json.loads(output), strict=True))
    report("looking for the least heap in which it signs and verifies")
    idle = least_heap("pass")
    return {
        "sign_vs_naive": round(comb / naive, 3),
        "sign_ms": round(1000 * comb / (ROUNDS * EACH), 2),
        "sign_heap_peak_bytes": least_heap("p256.sign(d, digest)") - idle,
        "verify_heap_peak_bytes": least_heap("p256_points.verify(x, y, digest, signature)") - idle,
        "verify_ms_vs_sign": round(verify / comb, 2),
    }
