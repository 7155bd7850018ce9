"""Commands and manifests on the board: taken when they are the owner's, new and for us; else an error and no more."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from boardrunner import BoardError, BoardProcess
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import mutated
from trigpoint.wire import cbor, command, keys
from trigpoint.wire.command import Command, Kind
from trigpoint.wire.errors import WireError
from trigpoint.wire.keys import ORDER, PublicKey
from trigpoint.wire.manifest import Manifest
from trigpoint.wire.statement import sig_structure
from trigpoint_tools.owner import describe

OWNER = ec.derive_private_key(99, ec.SECP256R1())
PUBLIC = PublicKey.of(OWNER)
STRANGER = ec.derive_private_key(98, ec.SECP256R1())
BOARD = bytes(range(32))
SEALED = command.seal(OWNER, Command(BOARD, 5, Kind.CONFIGURATION, b'{"version":1}'))
FILES = {"trig/start.py": b"", "trig/sensors/bme280.mpy": b"1"}
MANIFEST = describe(FILES, version=3, family="linux-x64", micropython=(1, 24, 0), follows=1)

_SETUP = """
from trig.command import open_command
from trig import change, manifest

def read(data):
    found = manifest.Manifest(data)
    return [found.version, found.family, found.micropython, found.follows, list(found.files())]

def check(data, version):
    manifest.Manifest(data).check(version, change.family())
"""


@pytest.fixture(scope="module")
def board() -> Iterator[BoardProcess]:
    with BoardProcess(_SETUP) as process:
        yield process


def opened(board: BoardProcess, data: bytes, last: int = 4, me: bytes = BOARD) -> object:
    return board.call("open_command", data, PUBLIC.x + PUBLIC.y, PUBLIC.kid, me, last)


@given(st.integers(1, 2**32 - 1), st.sampled_from(Kind), st.binary(max_size=3900))
@settings(max_examples=25)
def test_a_genuine_command_is_taken(board: BoardProcess, counter: int, kind: Kind, body: bytes) -> None:
    data = command.seal(OWNER, Command(BOARD, counter, kind, body))
    assert opened(board, data, counter - 1) == [counter, kind, body]


def _with(header: dict[int, object], payload: object, private: ec.EllipticCurvePrivateKey = OWNER) -> bytes:
    protected, body = cbor.encode(header), cbor.encode(payload)
    signature = keys.sign(private, sig_structure(protected, body))
    return cbor.encode(cbor.Tag(18, [protected, {}, body, signature]))


GOOD: dict[int, object] = {1: -7, 4: PUBLIC.kid, -65542: BOARD, -65543: 5}
HIGH_S = SEALED[:-32] + (ORDER - int.from_bytes(SEALED[-32:], "big")).to_bytes(32, "big")


@pytest.mark.parametrize(
    ("data", "last", "reason"),
    [
        (SEALED, 5, "counter 5 is not above 5"),
        (SEALED, 6, "counter 5 is not above 6"),
        (HIGH_S, 4, "signature is bad"),
        (SEALED + b"\0", 4, "too many"),
        (bytes(4097), 4, "longer than 4096"),
        (_with(GOOD, {1: 1, 2: b""}, STRANGER), 4, "signature is bad"),
        (command.seal(STRANGER, Command(BOARD, 5, Kind.UPDATE, b"")), 4, "kid"),
        (_with({**GOOD, -65542: bytes(32)}, {1: 1, 2: b""}), 4, "board: not this one"),
        (_with({**GOOD, -65543: 2**32}, {1: 1, 2: b""}), 4, "beyond 32 bits"),
        (_with({**GOOD, 3: 112}, {1: 1, 2: b""}), 4, "protected header"),
        (_with(GOOD, {1: 3, 2: b""}), 4, "kind"),
        (_with(GOOD, {1: 1, 2: b"", 3: 0}), 4, "payload"),
        (_with(GOOD, {1: 1, 2: "text"}), 4, "byte string"),
    ],
)
def test_what_is_wrong_is_said(board: BoardProcess, data: bytes, last: int, reason: str) -> None:
    with pytest.raises(BoardError, match=reason) as found:
        opened(board, data, last)
    assert found.value.kind == "CommandError"


@given(mutated(st.just(SEALED)) | st.binary(max_size=600))
@settings(max_examples=150)
def test_no_other_bytes_are_a_command(board: BoardProcess, data: bytes) -> None:
    if data == SEALED:
        return
    with pytest.raises(BoardError) as found:
        opened(board, data)
    assert found.value.kind == "CommandError"


@given(mutated(st.just(MANIFEST.encode())) | st.binary(max_size=300))
@settings(max_examples=300)
def test_board_and_host_read_the_same_manifests(board: BoardProcess, data: bytes) -> None:
    try:
        found = Manifest.parse(data)
    except WireError:
        found = None
    try:
        read = board.call("read", data)
    except BoardError as error:
        assert error.kind == "ManifestError"
        # A board does not look into a family that is not its own.
        assert found is None
        return
    if found is not None:
        files = [[file.path, file.size, file.digest] for file in found.files]
        assert read == [found.version, found.family, list(found.micropython), found.follows, files]
    else:
        assert isinstance(read, list) and read[1] != MANIFEST.family


@pytest.mark.parametrize(
    ("changes", "confirmed", "reason"),
    [
        ({}, 3, "version: 3 is not above 3"),
        ({}, 4, "version: 3 is not above 4"),
        ({"follows": 2}, 1, "follows: needs version 2"),
        ({"family": "esp32-rv32imc"}, 1, "family: this board is linux-"),
        ({"micropython": (99, 0, 0)}, 1, "micropython: 99.0.0 is needed"),
    ],
)
def test_a_manifest_for_others_is_refused(
    board: BoardProcess, changes: dict[str, object], confirmed: int, reason: str
) -> None:
    ours = board.call("trig.change.family")
    fields = {name: getattr(MANIFEST, name) for name in ("version", "micropython", "follows", "files")}
    made = Manifest(**{"family": ours, **fields, **changes})  # type: ignore[arg-type]
    with pytest.raises(BoardError, match=reason):
        board.call("check", made.encode(), confirmed)
    board.call("check", Manifest(**{"family": ours, **fields}).encode(), 1)  # type: ignore[arg-type]
