"""HMAC and HKDF on the board at the lengths where they change their ways, against the standard library and OpenSSL."""

import hmac
from collections.abc import Iterator

import pytest
from boardrunner import BoardError, BoardProcess
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given, settings
from hypothesis import strategies as st


@pytest.fixture(scope="module")
def board() -> Iterator[BoardProcess]:
    with BoardProcess() as process:
        yield process


@pytest.mark.parametrize("size", [0, 1, 31, 32, 33, 63, 64, 65, 128, 200])
def test_hmac_key_sizes(board: BoardProcess, size: int) -> None:
    key = bytes(range(1, size + 1))
    for data in (b"", b"a", bytes(55), bytes(64), bytes(1000)):
        assert board.call("trig.hkdf.hmac_sha256", key, data) == hmac.digest(key, data, "sha256")


@settings(max_examples=100, deadline=None)
@given(
    salt=st.binary(max_size=80),
    secret=st.binary(min_size=1, max_size=80),
    info=st.binary(max_size=80),
    length=st.integers(1, 300),
)
def test_hkdf(board: BoardProcess, salt: bytes, secret: bytes, info: bytes, length: int) -> None:
    expected = HKDF(hashes.SHA256(), length, salt, info).derive(secret)
    assert board.call("trig.hkdf.hkdf", salt, secret, info, length) == expected


def test_hkdf_lengths(board: BoardProcess) -> None:
    longest = board.call("trig.hkdf.hkdf", b"", b"secret", b"", 8160)
    assert longest == HKDF(hashes.SHA256(), 8160, b"", b"").derive(b"secret")
    for length in (0, -1, 8161):
        with pytest.raises(BoardError, match="hkdf length") as error:
            board.call("trig.hkdf.hkdf", b"", b"secret", b"", length)
        assert error.value.kind == "ValueError"
