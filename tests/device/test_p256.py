"""P-256 on the board: its table, its refusals, and what a signature costs in memory."""

import hashlib
import hmac
from collections.abc import Iterator

import comb_table
import pytest
from boardrunner import DEVICE, BoardError, BoardProcess, run
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st
from trigpoint_tools.bench import p256_variants

N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
P = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF

SETUP = """
from trig import p256, p256_points

def generator_times(k):
    return p256._affine([p256._multiply_generator(k)])[0]

def times(k, x, y):
    return p256._affine([p256_points._multiply(k, x, y)])[0]

def add(x, y, z, x2, y2):
    # The first point is given by its affine x and y and the z that it shall have.
    p = p256._P
    x, y, z = p256._add(x * z * z % p, y * z * z * z % p, z, x2, y2)
    return p256._affine([(x, y, z)])[0] if z else None

def nonce_sequence(d, digest, count):
    nonces = p256._nonces(d, digest)
    return [next(nonces).to_bytes(32, "big") for _ in range(count)]
"""


@pytest.fixture(scope="module")
def board() -> Iterator[BoardProcess]:
    with BoardProcess(SETUP) as process:
        yield process


def point(k: int) -> tuple[int, int]:
    numbers = ec.derive_private_key(k, ec.SECP256R1()).public_key().public_numbers()
    return numbers.x, numbers.y


def test_table_is_what_its_maker_says() -> None:
    assert (DEVICE / "trig" / "p256_table.py").read_text() == comb_table.source()
    assert len(comb_table.entries()) == 4096


def test_table_entries_against_openssl() -> None:
    entries = comb_table.entries()
    for index in range(64):
        x, y = point(comb_table.multiple(index // 32, index % 32) % N)
        assert entries[index * 64 : index * 64 + 64] == x.to_bytes(32, "big") + y.to_bytes(32, "big")


# Factors at which a comb can go wrong: few digits, all digits, the ends of pieces of 22 and rows of 44 bits.
EDGES = sorted({k for bit in range(0, 256, 22) for k in (2**bit - 1, 2**bit, 2**bit + 1)} | set(range(1, 17)))
FACTORS = [k for k in [*EDGES, N - 1, N - 2, (N - 1) // 2, (N + 1) // 2, N // 3, 2**255, 2**256 - 2**224] if 0 < k < N]


@pytest.mark.parametrize("k", FACTORS, ids=hex)
def test_generator_multiples_at_edges(board: BoardProcess, k: int) -> None:
    assert board.call("generator_times", k) == list(point(k))


@pytest.mark.parametrize("k", FACTORS[::3], ids=hex)
def test_point_multiples_at_edges(board: BoardProcess, k: int) -> None:
    base = point(7)
    assert board.call("times", k, *base) == list(point(k * 7 % N))


@settings(max_examples=150, deadline=None)
@given(k=st.integers(1, N - 1), d=st.integers(1, N - 1))
def test_multiples(board: BoardProcess, k: int, d: int) -> None:
    assert board.call("generator_times", k) == list(point(k))
    assert board.call("times", k, *point(d)) == list(point(k * d % N))


@pytest.mark.parametrize("z", [1, 2, P - 1, 2**200 + 7])
def test_addition_of_equal_and_opposite_points(board: BoardProcess, z: int) -> None:
    x, y = point(5)
    assert board.call("add", x, y, z, x, y) == list(point(10))
    assert board.call("add", x, y, z, x, P - y) is None
    assert board.call("add", x, y, z, *point(6)) == list(point(11))


def test_nonces_go_on_as_rfc6979_says(board: BoardProcess) -> None:
    # A nonce out of range comes once in 2^32: what follows the first is checked here, against section 3.2 step h.
    d, digest = b"\x11" * 32, hashlib.sha256(b"again").digest()
    v, key = b"\x01" * 32, bytes(32)
    seed = d + (int.from_bytes(digest, "big") % N).to_bytes(32, "big")
    for mark in (b"\0", b"\1"):
        key = hmac.digest(key, v + mark + seed, "sha256")
        v = hmac.digest(key, v, "sha256")
    wanted = []
    for _ in range(3):
        v = hmac.digest(key, v, "sha256")
        wanted.append(v)
        key = hmac.digest(key, v + b"\0", "sha256")
        v = hmac.digest(key, v, "sha256")
    assert board.call("nonce_sequence", d, digest, 3) == wanted


D, DIGEST = (5).to_bytes(32, "big"), bytes(range(32))
X, Y = (coordinate.to_bytes(32, "big") for coordinate in point(9))


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        ("p256.public", [bytes(32)], "private key out of range"),
        ("p256.public", [N.to_bytes(32, "big")], "private key out of range"),
        ("p256.public", [b"\xff" * 32], "private key out of range"),
        ("p256.public", [D[1:]], "private key is not 32 bytes"),
        ("p256.sign", [bytes(32), DIGEST], "private key out of range"),
        ("p256.sign", [D, DIGEST[1:]], "digest is not 32 bytes"),
        ("p256.sign", [D, DIGEST + b"\0"], "digest is not 32 bytes"),
        ("p256_points.verify", [X, X, DIGEST, bytes(64)], "public key is not a point of the curve"),
        ("p256_points.verify", [X[1:], Y, DIGEST, bytes(64)], "x is not 32 bytes"),
        ("p256_points.verify", [X, Y + b"\0", DIGEST, bytes(64)], "y is not 32 bytes"),
        ("p256_points.verify", [X, Y, b"", bytes(64)], "digest is not 32 bytes"),
        ("p256_points.ecdh", [D, bytes(32), bytes(32)], "public key is not a point of the curve"),
        ("p256_points.ecdh", [D, X, ((int.from_bytes(Y, "big") + 1) % P).to_bytes(32, "big")], "is not a point of the"),
        ("p256_points.ecdh", [N.to_bytes(32, "big"), X, Y], "private key out of range"),
    ],
)
def test_refusals(board: BoardProcess, function: str, arguments: list[bytes], message: str) -> None:
    with pytest.raises(BoardError, match=message) as error:
        board.call(f"trig.{function}", *arguments)
    assert error.value.kind == "P256Error"


def test_the_experiments_follow_the_code() -> None:
    source = (DEVICE / "trig" / "p256.py").read_text()
    assert p256_variants.comb_bytes(*p256_variants.SHIPPED) == comb_table.entries()
    for comb in p256_variants.COMBS:
        assert p256_variants.comb_source(source, *comb) != source
    assert p256_variants.native_source(source).count("@micropython.native") == 4


def test_signs_in_a_small_heap() -> None:
    # A board has 90 to 130 KB free, in objects half the size of the host's.
    code = """
import gc
from trig import p256, p256_points
d, digest = bytes(31) + b"\\5", bytes(32)
signature = p256.sign(d, digest)
x, y = p256.public(d)
assert p256_points.verify(x, y, digest, signature)
assert p256.sign(d, digest) == signature
gc.collect()
print(gc.mem_alloc())
"""
    assert int(run(code, heap="64k")) < 40_000
