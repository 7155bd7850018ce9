"""Tile paths, entry bundles and checkpoints: one spelling each."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st
from samples import LOG_KEY, LOG_PRIVATE, TRUST
from trigpoint.log import checkpoint, tiles
from trigpoint.log.checkpoint import CheckpointError
from trigpoint.log.merkle import EMPTY_ROOT, MAX_SIZE, ProofError

INDEXES = st.integers(0, 2**40 - 1) | st.sampled_from([0, 999, 1_000, 999_999, 1_000_000, 2**40 - 1])


@given(st.none() | st.integers(0, 63), INDEXES, st.integers(1, 256))
def test_paths_are_read_as_they_are_written(level: int | None, index: int, width: int) -> None:
    path = tiles.entries_path(index, width) if level is None else tiles.tile_path(level, index, width)
    assert tiles.parse_path(path) == tiles.TilePath(level, index, width)


@given(st.text("tile/x0123459.pntrs", max_size=40).map(lambda tail: "tile/" + tail) | st.text(max_size=20))
def test_random_paths(path: str) -> None:
    try:
        parsed = tiles.parse_path(path)
    except ProofError:
        return
    level, index, width = parsed.level, parsed.index, parsed.width
    assert path == (tiles.entries_path(index, width) if level is None else tiles.tile_path(level, index, width))


@pytest.mark.parametrize(
    "path",
    [
        "tile/0/0", "tile/0/00", "tile/0/0000", "tile/00/000", "tile/64/000", "tile/-1/000", "tile/0/x000/001",
        "tile/0/001/002", "tile/0/x001/x002", "tile/0/000.p/0", "tile/0/000.p/256", "tile/0/000.p/01", "tile/0/000.p",
        "tile/0/000.p/", "/tile/0/000", "tile/0/000/", "tile/0/../000", "tile/data/000", "tile/8/0/000", "tile/0/٠٠٠",
        "tile/0/x999/x999/x999/x999/999", "tile/0/000\n", "",
    ],
)  # fmt: skip
def test_other_paths(path: str) -> None:
    with pytest.raises(ProofError):
        tiles.parse_path(path)


@pytest.mark.parametrize(
    ("level", "index", "width"), [(-1, 0, 1), (64, 0, 1), (0, -1, 1), (0, 2**40, 1), (0, 0, 0), (0, 0, 257)]
)
def test_numbers_out_of_range(level: int, index: int, width: int) -> None:
    with pytest.raises(ProofError):
        tiles.tile_path(level, index, width)


def test_entry_bundles() -> None:
    one, two = b"\x01" * 32, b"\x02" * 32
    assert tiles.entry_bundle([one, two]) == b"\x00\x20" + one + b"\x00\x20" + two
    assert len(tiles.entry_bundle([one] * 256)) == 256 * 34
    for entries in ([], [one] * 257, [one, b""]):
        with pytest.raises(ProofError):
            tiles.entry_bundle(entries)


@given(st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=256), st.data())
def test_bundles_are_read_as_they_are_written(entries: list[bytes], data: st.DataObject) -> None:
    bundle = tiles.entry_bundle(entries)
    assert tiles.parse_entry_bundle(bundle, len(entries)) == entries
    at = data.draw(st.integers(0, len(entries) - 1)) * 34
    for other, count in (
        (bundle[:-1], len(entries)),
        (bundle + b"\x00", len(entries)),
        (bundle, len(entries) - 1),
        (bundle[:at] + b"\x00\x1f" + bundle[at + 2 :], len(entries)),
        (bundle[:at] + b"\x01" + bundle[at + 1 :], len(entries)),
    ):
        with pytest.raises(ProofError):
            tiles.parse_entry_bundle(other, count)


def test_widths_of_tiles() -> None:
    assert [tiles.tile_width(70_000, 0, index) for index in (0, 272, 273, 274)] == [256, 256, 112, 0]
    assert [tiles.tile_width(70_000, level, 0) for level in (1, 2, 3)] == [256, 1, 0]
    assert tiles.tile_width(70_000, 1, 1) == 17


ROOT = b"\x07" * 32
NOTE = checkpoint.sign(TRUST.log_id, LOG_PRIVATE, 300, ROOT)


@given(st.integers(1, MAX_SIZE), st.binary(min_size=32, max_size=32))
def test_checkpoints_are_read_as_they_are_signed(size: int, root: bytes) -> None:
    text = checkpoint.sign(TRUST.log_id, LOG_PRIVATE, size, root)
    read = checkpoint.verify(text, TRUST.log_id, LOG_KEY)
    assert (read.log_id, read.size, read.root) == (TRUST.log_id, size, root)


def test_lines_of_a_checkpoint() -> None:
    origin = "trigpoint/" + TRUST.log_id.hex()
    assert NOTE.split("\n")[:4] == [origin, "300", base64.b64encode(ROOT).decode(), ""]
    assert NOTE.split("\n")[4].startswith(f"— {origin} ") and NOTE.split("\n")[5:] == [""]


def test_the_empty_log() -> None:
    assert checkpoint.verify(checkpoint.sign(TRUST.log_id, LOG_PRIVATE, 0, EMPTY_ROOT), TRUST.log_id, LOG_KEY).size == 0
    with pytest.raises(CheckpointError):
        checkpoint.parse(checkpoint.sign(TRUST.log_id, LOG_PRIVATE, 0, ROOT))


def test_no_character_can_change() -> None:
    for at in range(len(NOTE)):
        for other in {"0", "1", "A", "a", "=", "\n", " ", "é", "-", chr(ord(NOTE[at]) ^ 1)} - {NOTE[at]}:
            with pytest.raises(CheckpointError):
                checkpoint.verify(NOTE[:at] + other + NOTE[at + 1 :], TRUST.log_id, LOG_KEY)


def test_of_another_log_or_key() -> None:
    other = Ed25519PrivateKey.from_private_bytes(bytes(32))
    for text in (
        checkpoint.sign(bytes(32), LOG_PRIVATE, 300, ROOT),
        checkpoint.sign(TRUST.log_id, other, 300, ROOT),
    ):
        checkpoint.parse(text)
        with pytest.raises(CheckpointError):
            checkpoint.verify(text, TRUST.log_id, LOG_KEY)


@pytest.mark.parametrize(
    "text",
    [
        "",
        NOTE[:-1],
        NOTE + "\n",
        NOTE + NOTE.split("\n")[4],
        NOTE + "\n" + NOTE.split("\n")[4] + "\n",
        NOTE + "— name QUJDRA==\n",  # a key id and no signature
        NOTE + "— name QUJDRE\n",
        NOTE + "— na+me QUJDREVGRw==\n",
        NOTE + "—  QUJDREVGRw==\n",
        NOTE + "— na\x1fme QUJDREVGRw==\n",
        NOTE + "— na\u2003me QUJDREVGRw==\n",
        NOTE + "— name QUJDREVGRw== \n",
        NOTE + "— name QUJDREVGRw==\n" * 32,
        NOTE + f"— name {'A' * 131_072}\n",
        NOTE.replace("\n300\n", "\n0300\n"),
        NOTE.replace("\n300\n", "\n٣٠٠\n"),
        NOTE.replace("\n300\n", "\n-300\n"),
        NOTE.replace("\n300\n", f"\n{2**48}\n"),
        NOTE.replace("\n300\n", "\n" + "3" * 400 + "\n"),
        NOTE.replace("\n\n", "\nextension\n\n"),
        NOTE.replace("\n\n", "\n"),
        NOTE.replace("\n", "\r\n"),
        NOTE.replace("— ", "- "),
        NOTE.replace("trigpoint/", "trigpoint/" + "0"),
        NOTE.replace("Bwc=", "Bwd="),
        NOTE.replace("— trigpoint", "— trig\npoint"),
        "x" * 200_000,
    ],
)
def test_other_notes(text: str) -> None:
    with pytest.raises(CheckpointError):
        checkpoint.parse(text)


WITNESSED = NOTE + f"— witness.example/w1 {base64.b64encode(bytes(4 + 8 + 64)).decode()}\n"


def test_signatures_of_others_are_passed_over() -> None:
    """C2SP signed-note: signatures by unknown keys are ignored; one by a known key must verify."""
    ours, line = NOTE.rsplit("\n\n", 1)
    many = "".join(f"— witness.example/{n} {base64.b64encode(bytes([n]) * 76).decode()}\n" for n in range(16))
    large = f"— pq.example/x {base64.b64encode(bytes(5_000)).decode()}\n" * 16
    same_name = f"— trigpoint/{TRUST.log_id.hex()} {base64.b64encode(bytes(76)).decode()}\n"
    for text in (WITNESSED, NOTE + many, f"{ours}\n\n{many}{line}", NOTE + large, NOTE + same_name, NOTE + line):
        assert checkpoint.verify(text, TRUST.log_id, LOG_KEY).root == ROOT
    signed = checkpoint.parse(WITNESSED).signatures
    assert [line.name for line in signed] == [f"trigpoint/{TRUST.log_id.hex()}", "witness.example/w1"]
    forged = base64.b64encode(signed[0].key_id + bytes(64)).decode()
    for text in (
        f"{ours}\n\n{many}",
        NOTE + f"— trigpoint/{TRUST.log_id.hex()} {forged}\n",
        f"{ours}\n\n— trigpoint/{TRUST.log_id.hex()} {forged}\n{line}",
        NOTE.replace("— trigpoint", "— trigpoin"),
    ):
        checkpoint.parse(text)
        with pytest.raises(CheckpointError):
            checkpoint.verify(text, TRUST.log_id, LOG_KEY)


@given(st.integers(0, len(WITNESSED)), st.text(max_size=3), st.integers(0, 3))
def test_whatever_a_note_is_made_into_the_log_signed_what_is_read(at: int, inserted: str, removed: int) -> None:
    try:
        read = checkpoint.verify(WITNESSED[:at] + inserted + WITNESSED[at + removed :], TRUST.log_id, LOG_KEY)
    except CheckpointError:
        return
    assert (read.size, read.root) == (300, ROOT)


# RFC 8032 section 5.1: p, and the points of order 1, 2, 4 and 8 by their y, in each encoding.
P = 2**255 - 19
ORDER_8 = 0x5FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
SMALL = [y | sign << 255 for y in (0, 1, P - 1, P, P + 1, ORDER_8, P - ORDER_8) for sign in (0, 1)]


@pytest.mark.parametrize("y", SMALL)
def test_a_key_under_which_anybody_can_sign_is_refused(y: int) -> None:
    """With s = 0 and R = -hA the equation holds; for the neutral point that is one signature for every message."""
    weak = y.to_bytes(32, "little")
    assert checkpoint.is_weak(weak)
    name = f"trigpoint/{TRUST.log_id.hex()}"
    neutral = (1).to_bytes(32, "little")
    signed = base64.b64encode(checkpoint._key_id(name, weak) + neutral + bytes(32)).decode()
    text = NOTE.partition("\n\n")[0] + f"\n\n— {name} {signed}\n"
    if weak == neutral:  # what we guard against: OpenSSL takes it
        Ed25519PublicKey.from_public_bytes(weak).verify(neutral + bytes(32), b"whatever")
    with pytest.raises(CheckpointError, match="small order"):
        checkpoint.verify(text, TRUST.log_id, weak)
    assert not checkpoint.is_weak(LOG_KEY)


@given(st.text(max_size=300))
def test_random_notes(text: str) -> None:
    with pytest.raises(CheckpointError):
        checkpoint.verify(text, TRUST.log_id, LOG_KEY)


@pytest.mark.parametrize(("size", "root"), [(-1, ROOT), (MAX_SIZE + 1, ROOT), (1, b"")])
def test_what_cannot_be_signed(size: int, root: bytes) -> None:
    with pytest.raises(CheckpointError):
        checkpoint.sign(TRUST.log_id, LOG_PRIVATE, size, root)


def test_log_id_binds_opener_and_key() -> None:
    assert (
        len(
            {
                checkpoint.log_id(bytes(20), LOG_KEY),
                checkpoint.log_id(b"\x01" * 20, LOG_KEY),
                checkpoint.log_id(bytes(20), ROOT),
            }
        )
        == 3
    )
    for opener, key in ((bytes(19), LOG_KEY), (bytes(20), b"")):
        with pytest.raises(CheckpointError):
            checkpoint.log_id(opener, key)
