"""The board's key: made once, kept, never shown, never replaced because of a fault."""

from collections.abc import Iterator

import pytest
from boardrunner import BoardError, BoardProcess
from cryptography.hazmat.primitives.asymmetric import ec

N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551

SETUP = """
from trig import key_store, keys

class Nvs:
    # A stand-in for esp32.NVS: what is set is there after commit.
    def __init__(self, blob=None, fault=None, forgets=False):
        self.blob, self.pending, self.fault, self.forgets = blob, None, fault, forgets
    def get_blob(self, name, buffer):
        if name != "key":
            raise OSError(-0x1102, "ESP_ERR_NVS_NOT_FOUND")
        if self.fault is not None:
            raise OSError(self.fault)
        if self.blob is None:
            raise OSError(-0x1102, "ESP_ERR_NVS_NOT_FOUND")
        buffer[:len(self.blob)] = self.blob
        return len(self.blob)
    def set_blob(self, name, value):
        self.pending = bytes(value)
    def commit(self):
        if not self.forgets:
            self.blob = self.pending

def draws(values):
    values = list(values)
    return lambda size: values.pop(0)

class Radio:
    on = False
    def active(self, on):
        self.on = on

nvs = None
radio = Radio()

def boot(random, *arguments):
    # A power-on: the flash is there, all else is new.
    global nvs, key
    if arguments:
        nvs = Nvs(*arguments)
    store = key_store.NvsKeys(nvs, draws(random), radio)
    key = store.load() or store.create()
    return (nvs.blob, key.x, key.y, key.kid)

def remake(random, *arguments):
    return key_store.NvsKeys(Nvs(*arguments), draws(random), radio).create().kid

def shown():
    attributes = [getattr(key, name) for name in dir(key)]
    return [str(key), repr(key), "%s" % key, str(keys.__dict__)] + [str(value) for value in attributes]

def secret(x, y):
    return key.secret(x, y)

def loaded():
    return key_store.NvsKeys(nvs, None, None).load() is not None

def stored():
    return nvs.blob
"""


@pytest.fixture
def board() -> Iterator[BoardProcess]:
    with BoardProcess(SETUP) as process:
        yield process


def test_made_once_and_kept(board: BoardProcess) -> None:
    d = bytes(range(1, 33))
    first = board.call("boot", [d], None)
    numbers = ec.derive_private_key(int.from_bytes(d, "big"), ec.SECP256R1()).public_key().public_numbers()
    assert isinstance(first, list)
    assert first[:3] == [d, numbers.x.to_bytes(32, "big"), numbers.y.to_bytes(32, "big")]
    assert board.call("boot", []) == first  # a second boot draws no randomness at all


def test_rejection_sampling(board: BoardProcess) -> None:
    # A draw reduced modulo n would favour small keys; one out of range is thrown away.
    drawn = [bytes(32), N.to_bytes(32, "big"), b"\xff" * 32, (N - 1).to_bytes(32, "big")]
    result = board.call("boot", drawn, None)
    assert isinstance(result, list)
    assert result[0] == drawn[-1]


@pytest.mark.parametrize("draw", [bytes(32), b"\xff" * 32, bytes(31), b""], ids=["zeros", "ones", "short", "none"])
def test_a_broken_random_source_ends_the_boot(board: BoardProcess, draw: bytes) -> None:
    with pytest.raises(BoardError, match="the random source gave no P-256 key") as error:
        board.call("boot", [draw] * 20, None)
    assert error.value.kind == "StoredKeyError"
    assert board.call("stored") is None


def test_never_shown(board: BoardProcess) -> None:
    d = bytes.fromhex("c0ffee" * 10 + "c0ff")
    board.call("boot", [d], None)
    shown = board.call("shown")
    assert isinstance(shown, list) and len(shown) > 3
    for text in shown:
        assert "c0ffee" not in text and r"\xc0\xff\xee" not in text and str(int.from_bytes(d, "big")) not in text


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ((None, -0x1101), "OSError", "-4353"),  # NVS is not initialised: not a reason to make a new key
        ((None, 5), "OSError", "5"),
        ((b"\x01" * 31,), "StoredKeyError", "not 32 bytes"),
        ((bytes(32),), "StoredKeyError", "no P-256 key"),
        ((N.to_bytes(32, "big"),), "StoredKeyError", "no P-256 key"),
        ((None, None, True), "StoredKeyError", "did not keep"),
    ],
)
def test_a_fault_does_not_replace_the_key(
    board: BoardProcess, arguments: tuple[object, ...], kind: str, message: str
) -> None:
    with pytest.raises(BoardError, match=message) as error:
        board.call("boot", [bytes(range(1, 33))], *arguments)
    assert error.value.kind == kind
    assert board.call("stored") == arguments[0]


def test_a_new_key_is_read_back(board: BoardProcess) -> None:
    old, new = bytes(range(1, 33)), bytes(range(2, 34))
    assert isinstance(board.call("remake", [new], old), bytes)
    with pytest.raises(BoardError, match="did not keep the new key"):
        board.call("remake", [new], old, None, True)


def test_shared_secret(board: BoardProcess) -> None:
    d = bytes(range(1, 33))
    board.call("boot", [d], None)
    link = ec.generate_private_key(ec.SECP256R1())
    numbers = link.public_key().public_numbers()
    mine = board.call("secret", numbers.x.to_bytes(32, "big"), numbers.y.to_bytes(32, "big"))
    theirs = ec.derive_private_key(int.from_bytes(d, "big"), ec.SECP256R1())
    assert mine == link.exchange(ec.ECDH(), theirs.public_key())
