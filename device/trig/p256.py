"""ECDSA signatures on P-256 (FIPS 186-5) in Python integers: stock ESP32 MicroPython has none.

What others' points are needed for, which is seldom, is in p256_points.py.

Numbers are big-endian bytes at the interface, 32 bytes each; a signature is r || s with the lower s.

How it is fast. k*G is a signed comb: k is written as 264 digits of +1 or -1, read as six rows (teeth) of 44, and all
six digits of a column are one entry of a table of multiples of G. Two tables, one for each half of the columns, let
22 doublings and 44 additions do what double-and-add does with 256 and 128. A digit is never 0, so the steps are the
same for every k. Four kilobytes buy this; twice the table would save another tenth of a signature.

What it leaks. The sequence of point operations does not depend on the secret, and the secret is hidden from what does
take variable time: points by a random Z, the inverted nonce by a random factor. But Python's big integers take a
little longer for some values than for others, table entries are read at addresses that the secret chooses, and objects
that hold secrets stay in memory until they are overwritten. Someone who measures signing from across the network learns
nothing that we know how to use; against someone with probes on the board's power, use a secure element.
"""

from os import urandom

from micropython import const

from trig.hkdf import hmac_sha256
from trig.p256_table import POINTS

_P = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF
_N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_HALF = (_N + 1) // 2  # the inverse of 2 modulo N

_TEETH = const(6)
_COLUMNS = const(22)
_MASK = const(0x3FFFFF)  # one table's columns of one tooth
_SIGNS = const(32)  # entries of one table: all signs of the five lower teeth, the top one being +1


class P256Error(ValueError):
    """A private key out of range, a public key that is not on the curve, or an argument of the wrong length."""


def _number(data, name):
    if len(data) != 32:
        raise P256Error(name + " is not 32 bytes")
    return int.from_bytes(data, "big")


def _private(d):
    number = _number(d, "private key")
    if not 0 < number < _N:
        raise P256Error("private key out of range")
    return number


def _inverse(a, m):
    # Extended Euclid on the host: 65 us; pow(a, m - 2, m): 375 us. Its steps depend on a, so callers blind a.
    u, v = a % m, m
    x, y = 1, 0
    while u > 1:
        q, r = divmod(v, u)
        v = u
        u = r
        x, y = y - q * x, x
    return x % m


# Points are (x, y, z) in Jacobian coordinates: the point (x / z^2, y / z^3); z = 0 is the point at infinity.


def _double(x, y, z):
    p = _P
    zz = z * z % p
    m = 3 * (x - zz) * (x + zz) % p
    t = 2 * y * y % p
    s = 2 * x * t % p
    z = 2 * y * z % p
    x = (m * m - s - s) % p
    return x, (m * (s - x) - 2 * t * t) % p, z


def _add(x, y, z, x2, y2):
    # The sum with the affine point (x2, y2). Opposite points give z = 0 without a case of their own.
    if not z:
        return x2, y2, 1
    p = _P
    zz = z * z % p
    h = (x2 * zz - x) % p
    r = (y2 * (zz * z % p) - y) % p
    if not h and not r:
        return _double(x, y, z)
    hh = h * h % p
    v = x * hh % p
    hh = hh * h % p
    x = (r * r - hh - v - v) % p
    return x, (r * (v - x) - y * hh) % p, z * h % p


def _affine(points):
    # All at the price of one inversion (Montgomery): the product of all z is inverted, then taken apart from the end.
    p = _P
    products = [1]
    for point in points:
        products.append(products[-1] * point[2] % p)
    inverse = _inverse(products[-1], p)
    result = []
    for i in range(len(points) - 1, -1, -1):
        x, y, z = points[i]
        iz = inverse * products[i] % p
        inverse = inverse * z % p
        izz = iz * iz % p
        result.append((x * izz % p, y * izz * iz % p))
    result.reverse()
    return result


def _blind(x, y):
    # The same point with a z that nobody can guess; its top bit keeps it from being 0 or short.
    p = _P
    z = int.from_bytes(urandom(31), "big") | 1 << 254
    zz = z * z % p
    return x * zz % p, y * (zz * z % p) % p, z


def _multiply_generator(k):
    # k = 2 b - (2^264 - 1) modulo n: a 1 in b is the digit +1, a 0 the digit -1.
    b = (k + (1 << _TEETH * 2 * _COLUMNS) - 1) * _HALF % _N
    # Pieces of 22 bits are small integers on every board; the big one is not touched in the loop.
    pieces = [(b >> _COLUMNS * i) & _MASK for i in range(2 * _TEETH)]
    p = _P
    x = y = z = 0
    for column in range(_COLUMNS - 1, -1, -1):
        if z:
            x, y, z = _double(x, y, z)
        for table in (0, 1):
            index = 0
            for tooth in range(table + 10, -1, -2):
                index = index << 1 | (pieces[tooth] >> column & 1)
            # With the top tooth at -1 the entry is the opposite of the one with all signs turned.
            positive = index >> 5
            at = (table * _SIGNS + (index & 31 if positive else 31 - index)) * 64
            px = int.from_bytes(POINTS[at : at + 32], "big")
            py = int.from_bytes(POINTS[at + 32 : at + 64], "big")
            py = (p - py, py)[positive]
            if z:
                x, y, z = _add(x, y, z, px, py)
            else:
                x, y, z = _blind(px, py)
    return x, y, z


def public(d):
    """The public key of a private key: (x, y). Raises P256Error unless 0 < d < n."""
    x, y = _affine([_multiply_generator(_private(d))])[0]
    return x.to_bytes(32, "big"), y.to_bytes(32, "big")


def _nonces(d, digest):
    # RFC 6979 section 3.2 for SHA-256 and a 256-bit order, where bits2int takes the digest as it is.
    seed = d + (int.from_bytes(digest, "big") % _N).to_bytes(32, "big")
    v = b"\x01" * 32
    key = hmac_sha256(bytes(32), v, b"\x00", seed)
    v = hmac_sha256(key, v)
    key = hmac_sha256(key, v, b"\x01", seed)
    v = hmac_sha256(key, v)
    while True:
        v = hmac_sha256(key, v)
        k = int.from_bytes(v, "big")
        if 0 < k < _N:
            yield k
        key = hmac_sha256(key, v, b"\x00")
        v = hmac_sha256(key, v)


def sign(d, digest):
    """The signature of a SHA-256 digest: 64 bytes, r || s, s at most n/2.

    The nonce is RFC 6979's, so the same input gives the same signature. Raises P256Error on a bad key or digest length.
    """
    number = _private(d)
    message = _number(digest, "digest")
    for k in _nonces(bytes(d), digest):
        r = _affine([_multiply_generator(k)])[0][0] % _N
        blind = int.from_bytes(urandom(31), "big") + 1
        s = _inverse(k * blind % _N, _N) * ((message + r * number) * blind % _N) % _N
        if r and s:
            return r.to_bytes(32, "big") + min(s, _N - s).to_bytes(32, "big")
