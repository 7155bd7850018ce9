"""Commands, manifests and requests for pieces: what is read is what was written, and nothing else is read."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from samples import mutated
from trigpoint.wire import cbor, command, keys, manifest
from trigpoint.wire.command import Command, Kind
from trigpoint.wire.errors import WireError
from trigpoint.wire.keys import PublicKey
from trigpoint.wire.manifest import File, Manifest, Request
from trigpoint.wire.statement import sig_structure
from trigpoint_tools.owner import Shelf, describe

OWNER = ec.derive_private_key(99, ec.SECP256R1())
PUBLIC = PublicKey.of(OWNER)
BOARD = bytes(range(32))
SEALED = command.seal(OWNER, Command(BOARD, 5, Kind.CONFIGURATION, b"{}"))
FILES = {"trig/start.py": b"def start(): pass\n", "trig/sensors/bme280.mpy": bytes(5000)}
MANIFEST = describe(FILES, version=3, family="esp32-xtensawin", micropython=(1, 24, 0), follows=1)


@given(st.binary(min_size=32, max_size=32), st.integers(1, 2**32 - 1), st.sampled_from(Kind), st.binary(max_size=3900))
def test_commands_come_back(board: bytes, counter: int, kind: Kind, body: bytes) -> None:
    made = Command(board, counter, kind, body)
    assert command.open_command(PUBLIC, command.seal(OWNER, made)) == made


def test_command_bounds() -> None:
    with pytest.raises(WireError, match="counter"):
        Command(BOARD, 0, Kind.UPDATE, b"")
    with pytest.raises(WireError, match="board"):
        Command(b"", 1, Kind.UPDATE, b"")
    with pytest.raises(WireError, match="at most 4096"):
        command.seal(OWNER, Command(BOARD, 1, Kind.UPDATE, bytes(4000)))
    with pytest.raises(WireError, match="kid"):
        command.open_command(PublicKey.of(ec.derive_private_key(98, ec.SECP256R1())), SEALED)


@pytest.mark.parametrize(
    ("header", "payload", "reason"),
    [
        ({1: -7, 4: PUBLIC.kid, -65542: BOARD, -65543: True}, {1: 1, 2: b""}, "shape"),
        ({1: -7, 4: PUBLIC.kid, -65542: BOARD, -65543: 1}, {1: True, 2: b""}, "shape"),
        ({1: -7, 4: PUBLIC.kid, -65542: BOARD, -65543: 1}, {1: 3, 2: b""}, "shape"),
        ({1: -7, 4: PUBLIC.kid, -65542: BOARD, -65543: 1, 3: 0}, {1: 1, 2: b""}, "shape"),
        ({1: -7, 4: PUBLIC.kid, -65542: BOARD, -65543: 1}, {1: 1, 2: b"", 3: 1}, "shape"),
    ],
)
def test_signed_but_not_a_command(header: object, payload: object, reason: str) -> None:
    protected, body = cbor.encode(header), cbor.encode(payload)
    signature = keys.sign(OWNER, sig_structure(protected, body))
    with pytest.raises(WireError) as found:
        command.open_command(PUBLIC, cbor.encode(cbor.Tag(18, [protected, {}, body, signature])))
    assert found.value.reason == reason


@given(mutated(st.just(SEALED)) | st.binary(max_size=5000))
def test_no_other_bytes_are_a_command(data: bytes) -> None:
    if data == SEALED:
        return
    with pytest.raises(WireError):
        command.open_command(PUBLIC, data)


@given(mutated(st.just(MANIFEST.encode())) | st.binary(max_size=200))
def test_manifest_is_read_as_it_is_written_or_not_at_all(data: bytes) -> None:
    try:
        found = Manifest.parse(data)
    except WireError:
        return
    assert found.encode() == data


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"version": 0}, "version"),
        ({"family": "esp32"}, "family"),
        ({"micropython": (1, 256, 0)}, "micropython"),
        ({"follows": 3}, "follows"),
        ({"files": ()}, "files"),
        ({"files": (File.of("trig/app.py", b""),)}, "files"),
        ({"files": (File.of("trig/../boot.py", b""),)}, "path"),
        ({"files": (File.of("trig/start.py", b""), File.of("trig/start.py", b""))}, "path"),
        ({"files": (File("trig/start.py", 200_000, bytes(32)),)}, "size"),
        ({"files": (File("trig/start.py", 2, bytes(31)),)}, "sha256"),
    ],
)
def test_manifest_names_the_field(changes: dict[str, object], field: str) -> None:
    fields = {name: getattr(MANIFEST, name) for name in ("version", "family", "micropython", "follows", "files")}
    with pytest.raises(WireError) as found:
        Manifest(**{**fields, **changes})  # type: ignore[arg-type]
    assert field in found.value.field


def test_shelf_gives_every_byte_once() -> None:
    shelf = Shelf(FILES)
    content = FILES["trig/sensors/bme280.mpy"]
    digest = hashlib.sha256(content).digest()
    got = b""
    while len(got) < len(content):
        answer = shelf.answer(cbor.encode({1: digest, 2: len(got), 3: manifest.MAX_PIECE}))
        assert answer is not None
        match cbor.decode(answer):
            case {1: found, 2: offset, 3: bytes(piece)}:
                assert (found, offset) == (digest, len(got))
                got += piece
    assert got == content


@given(mutated(st.just(cbor.encode({1: hashlib.sha256(b"").digest(), 2: 0, 3: 2048}))) | st.binary(max_size=100))
def test_any_request_has_an_answer_or_none(data: bytes) -> None:
    answer = Shelf(FILES).answer(data)
    if answer is not None:
        assert Request.parse(data).digest in answer
