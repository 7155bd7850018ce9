"""What takes another's point of P-256: verification and ECDH (FIPS 186-5, SP 800-56A). See p256.py.

A board needs them when it starts and when a command comes, so this is loaded for as long as they take; only with a
secure element, whose signatures are verified, does it stay.
"""

from micropython import const

from trig.p256 import (
    _HALF,
    _N,
    _P,
    P256Error,
    _add,
    _affine,
    _blind,
    _double,
    _inverse,
    _multiply_generator,
    _number,
    _private,
)

_B = const(0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B)


def point(x, y):
    """The numbers (x, y) of a public key. Raises P256Error unless it is on the curve and each is 32 bytes."""
    x = _number(x, "x")
    y = _number(y, "y")
    if x >= _P or y >= _P or (y * y - (x * x - 3) * x - _B) % _P:
        raise P256Error("public key is not a point of the curve")
    return x, y


def on_curve(key):
    """Whether 64 bytes x || y are a public key."""
    try:
        point(key[:32], key[32:])
        return True
    except P256Error:
        return False


def _multiply(k, x, y):
    # k*Q for any point, in 64 windows of four digits, each +1 or -1: a window is one of -15, -13 ... 13, 15.
    b = ((k + (1 << 256) - 1) * _HALF % _N).to_bytes(32, "big")
    twice = _affine([_double(x, y, 1)])[0]
    # The odd multiples, in bytes and one by one: as integers all at once they took 5 KB of heap more.
    odd = bytearray(8 * 64)
    for at in range(0, 8 * 64, 64):
        odd[at : at + 32] = x.to_bytes(32, "big")
        odd[at + 32 : at + 64] = y.to_bytes(32, "big")
        x, y = _affine([_add(x, y, 1, *twice)])[0]
    p = _P
    rx = ry = rz = 0
    for i in range(64):
        window = b[i >> 1] & 15 if i & 1 else b[i >> 1] >> 4
        if rz:
            rx, ry, rz = _double(*_double(*_double(*_double(rx, ry, rz))))
        positive = window >> 3
        at = (window - 8 if positive else 7 - window) * 64
        px = int.from_bytes(odd[at : at + 32], "big")
        py = int.from_bytes(odd[at + 32 : at + 64], "big")
        py = (p - py, py)[positive]
        if rz:
            rx, ry, rz = _add(rx, ry, rz, px, py)
        else:
            rx, ry, rz = _blind(px, py)
    return rx, ry, rz


def verify(x, y, digest, signature):
    """Whether a signature r || s of a SHA-256 digest is the public key's. A malformed one and a high s are false.

    Raises P256Error if the public key is not on the curve or the digest is not 32 bytes.
    """
    x, y = point(x, y)
    message = _number(digest, "digest")
    if len(signature) != 64:
        return False
    r = int.from_bytes(signature[:32], "big")
    s = int.from_bytes(signature[32:], "big")
    if not 0 < r < _N or not 0 < s < _HALF:
        return False
    w = _inverse(s, _N)
    # Shamir's joint double-and-add was refused: this is no slower, and its two halves are there already.
    other = _affine([_multiply(r * w % _N, x, y)])[0]
    total = _add(*_multiply_generator(message * w % _N), *other)
    return total[2] != 0 and _affine([total])[0][0] % _N == r


def low_s(signature):
    """The same signature r || s with the lower s. Raises P256Error unless r and s are 1 to n - 1, 32 bytes each."""
    if len(signature) != 64:
        raise P256Error("signature is not 64 bytes")
    r = int.from_bytes(signature[:32], "big")
    s = int.from_bytes(signature[32:], "big")
    if not 0 < r < _N or not 0 < s < _N:
        raise P256Error("signature out of range")
    return signature[:32] + min(s, _N - s).to_bytes(32, "big")


def ecdh(d, x, y):
    """The shared secret: the x coordinate of d times the point (x, y), 32 bytes (SEC 1 section 3.3.1).

    Raises P256Error on a private key out of range or a point that is not on the curve.
    """
    x, y = point(x, y)
    return _affine([_multiply(_private(d), x, y)])[0][0].to_bytes(32, "big")
