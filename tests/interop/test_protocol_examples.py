"""Every worked example of docs/protocol.md is made again by the gateway's code and the board's, and compared."""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import protocol_examples as examples
import pytest
import stranger
from boardrunner import BoardProcess
from trigpoint.log import checkpoint
from trigpoint.log.merkle import leaf_hash, node_hash, root_from_inclusion, verify_consistency
from trigpoint.verify import verify_offline
from trigpoint.wire import ack, cbor, command, permit, statement
from trigpoint.wire.command import Command, Kind
from trigpoint.wire.keys import PublicKey
from trigpoint.wire.manifest import Manifest, Request
from trigpoint.wire.permit import Permit
from trigpoint.wire.statement import Statement
from trigpoint.wire.trust import Trust

SECTION = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8").partition("\n## 13 ")[2]
BLOCKS = dict(re.findall(r"<!-- example: (\S+) -->\n```(?:text|json)\n(.*?)```\n", SECTION, re.DOTALL))


def on_page(name: str) -> bytes:
    """Return the bytes of an example: its hexadecimal digits without remarks and white space."""
    return bytes.fromhex(re.sub(r";.*", "", BLOCKS[name]))


def hashes_on_page(name: str) -> list[bytes]:
    data = on_page(name)
    return [data[at : at + 32] for at in range(0, len(data), 32)]


def test_no_example_is_without_code() -> None:
    assert set(BLOCKS) == set(examples.hexadecimal()) | set(examples.texts())
    assert SECTION.count("<!-- example:") == SECTION.count("\n```\n") == len(BLOCKS)


@pytest.mark.parametrize("name", examples.hexadecimal())
def test_bytes_on_the_page(name: str) -> None:
    assert on_page(name) == examples.hexadecimal()[name]


@pytest.mark.parametrize("name", examples.texts())
def test_texts_on_the_page(name: str) -> None:
    assert BLOCKS[name] == examples.texts()[name]


def test_inputs_on_the_page() -> None:
    for secret in (examples.BOARD_SECRET, examples.LINK_SECRET, examples.LOG_SECRET):
        assert f"| `{secret.hex()}` |" in SECTION
    for address in (examples.REGISTRY, examples.OWNER, examples.OPENER):
        assert f"`0x{address.hex()}`" in SECTION
    assert f"| chainId | {examples.CHAIN_ID} |" in SECTION
    assert f"| deadline | {examples.DEADLINE} |" in SECTION
    assert f"anchored in block {examples.BLOCK} of chain {examples.CHAIN_ID}." in SECTION
    assert f"up to seq {examples.ACK_SEQ}, sent at {examples.ACK_TIME_MS} ms" in SECTION


# What a reader does with the page's bytes.


def test_statements_hold_together() -> None:
    previous: Statement | None = None
    for seq, name in enumerate(("statement-0", "statement-1", "statement-2")):
        parsed = statement.parse(on_page(name))
        assert parsed.seq == seq and parsed.kid == on_page("board-id")
        assert parsed.prev == (previous.entry if previous else bytes(32))
        assert examples.BOARD.verify(parsed.signature, parsed.to_be_signed())
        assert (seq, parsed.oldest, parsed.base_time, parsed.readings) == examples.STATEMENTS[seq]
        assert parsed.entry == hashes_on_page("entries")[seq]
        previous = parsed


def test_ack_opens() -> None:
    assert ack.open_ack(on_page("ack-key"), on_page("ack")) == (examples.ACK_SEQ, examples.ACK_TIME_MS)


def test_permit_verifies() -> None:
    signature = on_page("permit-signature")
    signed = Permit(
        owner=examples.OWNER, x=examples.BOARD.x, y=examples.BOARD.y, metadata_hash=hashlib.sha256(b"{}").digest(),
        deadline=examples.DEADLINE, r=signature[:32], s=signature[32:],
    )  # fmt: skip
    assert permit.verify(examples.CHAIN_ID, examples.REGISTRY, signed)
    assert not permit.verify(examples.CHAIN_ID, examples.REGISTRY, replace(signed, deadline=0))


def test_log_holds_together() -> None:
    leaves, root = hashes_on_page("leaves"), on_page("root")
    assert leaves == [leaf_hash(entry) for entry in hashes_on_page("entries")]
    assert root == node_hash(node_hash(leaves[0], leaves[1]), leaves[2])
    assert hashes_on_page("inclusion-path") == [leaves[0], leaves[2]]
    assert root_from_inclusion(leaves[1], 1, 3, hashes_on_page("inclusion-path")) == root
    assert hashes_on_page("consistency-proof") == leaves[1:]
    assert verify_consistency(1, leaves[0], 3, root, hashes_on_page("consistency-proof"))
    head = checkpoint.verify(BLOCKS["checkpoint"], on_page("log-id"), on_page("log-key"))
    assert (head.size, head.root) == (3, root)
    opener = bytes(12) + examples.OPENER
    assert on_page("log-id") == hashlib.sha256(opener + on_page("log-key")).digest()


def test_receipt_verifies() -> None:
    verdict = verify_offline(on_page("receipt"), Trust.from_json(BLOCKS["trust.json"]))
    assert verdict.verified
    assert verdict.receipt is not None
    assert verdict.receipt.statement.raw == on_page("statement-1")
    assert verdict.receipt.to_be_signed(on_page("root")) == on_page("receipt-signed")


def test_receipt_verifies_for_a_stranger() -> None:
    checks, readings = stranger.verify(on_page("receipt"), json.loads(BLOCKS["trust.json"]))
    assert all(checks.values())
    assert readings[2] == "pressure 1013250e-1 Pa at 1767225600"


def test_command_opens() -> None:
    key = on_page("owner-key")
    opened = command.open_command(PublicKey(key[:32], key[32:]), on_page("command"))
    assert opened == Command(on_page("board-id"), examples.COUNTER, Kind.CONFIGURATION, examples.CONFIGURATION)


def test_manifest_and_pieces_hold_together() -> None:
    manifest = Manifest.parse(on_page("manifest"))
    assert (manifest.version, manifest.family, manifest.follows) == (examples.VERSION, examples.FAMILY, 1)
    start = manifest.files[1]
    assert (start.path, start.digest) == ("trig/start.py", hashlib.sha256(examples.START).digest())
    request = Request.parse(on_page("request"))
    assert request.digest == start.digest
    wanted = examples.START[request.offset : request.offset + request.length]
    assert cbor.decode(on_page("piece")) == {1: start.digest, 2: request.offset, 3: wanted}


# The board's side.

SETUP = """
from trig import keys, permit, senml, statement, uplink
from trig.signer import Signer

pair = None

def make_key(d):
    global pair
    pair = keys.KeyPair(d)
    return pair.kid

def build(seq, prev, oldest, base_time, now, readings):
    pack = senml.Pack()
    for reading in readings:
        pack.add(*reading)
    return statement.build(bytearray(4096), kid=pair.kid, seq=seq, prev=prev, oldest=oldest, pack=pack,
        base_time=base_time, now=now, sign=pair.sign)

def ack_secret(x, y):
    return pair.secret(x, y)

def ack_key(link_key):
    return Signer(pair, None, None, None).ack_key(link_key)

def sign_permit(*fields):
    return Signer(pair, None, None, None).permit(*fields)
"""


@pytest.fixture(scope="module")
def board() -> Iterator[BoardProcess]:
    with BoardProcess(SETUP) as process:
        assert process.call("make_key", examples.BOARD_SECRET) == on_page("board-id")
        yield process


@pytest.mark.parametrize("seq", [0, 1, 2])
def test_board_makes_the_statements(board: BoardProcess, seq: int) -> None:
    _, oldest, base_time, readings = examples.STATEMENTS[seq]
    prev = hashlib.sha256(on_page(f"statement-{seq - 1}")).digest() if seq else bytes(32)
    rows = [[r.name, r.unit, r.mantissa, r.exponent, 100 + r.t] for r in readings]
    assert board.call("build", seq, prev, oldest, base_time, 100, rows) == on_page(f"statement-{seq}")


def test_board_opens_the_ack(board: BoardProcess) -> None:
    link = on_page("link-key")
    assert board.call("ack_secret", link[:32], link[32:]) == on_page("ack-secret")
    assert board.call("ack_key", link) == on_page("ack-key")
    opened = board.call("trig.uplink.open_ack", on_page("ack-key"), on_page("ack"))
    assert opened == [examples.ACK_SEQ, examples.ACK_TIME_MS]


def test_board_signs_the_permit(board: BoardProcess) -> None:
    fields = (examples.CHAIN_ID, examples.REGISTRY, examples.OWNER)
    rest = (examples.METADATA_HASH, examples.DEADLINE)
    key = (examples.BOARD.x, examples.BOARD.y)
    assert board.call("trig.permit.digest", *fields, *key, *rest) == on_page("permit-digest")
    assert board.call("sign_permit", *fields, *rest) == on_page("permit-signature")


def test_board_opens_the_command(board: BoardProcess) -> None:
    key = on_page("owner-key")
    owner_kid = board.call("trig.keys.thumbprint", key[:32], key[32:])
    opened = board.call("trig.command.open_command", on_page("command"), key, owner_kid, on_page("board-id"), 6)
    assert opened == [examples.COUNTER, 1, examples.CONFIGURATION]


def test_board_reads_the_manifest(board: BoardProcess) -> None:
    board.exec("from trig.manifest import Manifest\ndef files(data): return list(Manifest(data).files())")
    files = [[file.path, file.size, file.digest] for file in examples.UPDATE.files]
    assert board.call("files", on_page("manifest")) == files
