"""The gateway's wire and log code against the vectors of the standards, each file of which names its source."""

import base64
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from samples import BOARD, LOG_PRIVATE, TRUST, SampleLog, build_receipt, build_statement
from trigpoint.log import checkpoint, tiles, tree
from trigpoint.log.merkle import EMPTY_ROOT, leaf_hash, root_from_inclusion, verify_consistency
from trigpoint.wire import ack, cbor, keys, receipt, statement
from trigpoint.wire.errors import WireError
from trigpoint.wire.keys import PublicKey
from trigpoint.wire.statement import Reading


def vectors(name: str) -> Any:
    return json.loads((Path(__file__).parent / "vectors" / name).read_text(encoding="utf-8"))


def h(text: str) -> bytes:
    return bytes.fromhex(text)


# RFC 8949


@pytest.mark.parametrize("example", vectors("rfc8949_appendix_a.json")["examples"], ids=lambda e: e["encoded"][:24])
def test_cbor_appendix_a(example: dict[str, Any]) -> None:
    """What is deterministic and of a type that the wire has is read and written again; all else is refused."""
    data = h(example["encoded"])
    try:
        item = cbor.decode(data)
    except WireError:
        features = set(example["features"])
        assert not example["deterministic"] or features & {"bignum", "float", "tag", "undefined", "simple"}, features
        return
    assert example["deterministic"]
    assert cbor.encode(item) == data


def test_what_the_wire_has_of_cbor_appendix_a_is_read() -> None:
    read = 0
    for example in vectors("rfc8949_appendix_a.json")["examples"]:
        try:
            cbor.decode(h(example["encoded"]))
            read += 1
        except WireError:
            pass
    assert read == 37


# RFC 6979, RFC 9679, P-256


@pytest.mark.parametrize("case", vectors("rfc6979_p256_sha256.json")["signatures"], ids=lambda c: c["message"])
def test_rfc_6979(case: dict[str, str]) -> None:
    vector = vectors("rfc6979_p256_sha256.json")
    private = ec.derive_private_key(int(vector["d"], 16), ec.SECP256R1())
    public = PublicKey.of(private)
    assert (public.x.hex(), public.y.hex()) == (vector["x"], vector["y"])
    message = case["message"].encode()
    low = h(case["r"] + case["s_low"])
    assert keys.sign(private, message) == low
    assert public.verify(low, message)
    assert public.verify(h(case["r"] + case["s"]), message) == (case["s"] == case["s_low"])


@pytest.mark.parametrize("case", vectors("p256_edge_cases.json")["signatures"], ids=lambda c: c["notes"])
def test_signature_edge_cases(case: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    # The messages behind these digests are unknown, so hashing is left out.
    monkeypatch.setattr(keys, "_ECDSA", ec.ECDSA(Prehashed(hashes.SHA256())))
    public = PublicKey(h(case["x"]), h(case["y"]))
    assert public.verify(h(case["signature"]), h(case["digest"])) == case["valid"]


def test_point_edge_cases() -> None:
    vector = vectors("p256_edge_cases.json")
    for point in vector["points_accepted"]:
        PublicKey(h(point["x"]), h(point["y"]))
    for point in vector["points_refused"]:
        with pytest.raises(WireError):
            PublicKey(h(point["x"]), h(point["y"]))


def test_thumbprint() -> None:
    vector = vectors("rfc9679_thumbprint.json")
    public = PublicKey(h(vector["x"]), h(vector["y"]))
    assert cbor.encode(public.to_cose()).hex() == vector["hashed"]
    assert public.kid.hex() == vector["thumbprint"]


# COSE working group


@pytest.mark.parametrize("case", vectors("cose_es256_sign1.json")["messages"], ids=lambda c: c["file"])
def test_sign1(case: dict[str, Any]) -> None:
    key = vectors("cose_es256_sign1.json")["key"]
    message = cbor.decode(h(case["message"]))
    assert isinstance(message, cbor.Tag) and isinstance(message.value, list)
    protected, _, payload, signature = message.value
    public = PublicKey(h(key["x"]), h(key["y"]))
    structure = statement.sig_structure(protected, payload)
    assert public.verify(signature, structure) == (case["valid"] and case["low_s"])


@pytest.mark.parametrize("case", vectors("cose_hmac_mac0.json")["messages"], ids=lambda c: c["file"])
def test_mac0(case: dict[str, Any]) -> None:
    """The examples' payload is a text, so none is an ack; but the MAC is of the same structure."""
    key, message = h(vectors("cose_hmac_mac0.json")["key"]), h(case["message"])
    with pytest.raises(WireError) as caught:
        ack.open_ack(key, message)
    if case["accepted"]:
        assert "payload" in str(caught.value) or caught.value.field == "cbor"
        item = cbor.decode(message)
        assert isinstance(item, cbor.Tag) and isinstance(item.value, list)
        assert ack._mac(key, item.value[2]) == item.value[3]
        assert (
            hmac.digest(key, cbor.encode(["MAC0", b"\xa1\x01\x04", b"", item.value[2]]), "sha256")[:8] == item.value[3]
        )


# RFC 8428


def in_statement(payload: bytes) -> bytes:
    return (
        build_statement()[:2]
        + cbor.encode(statement.parse(build_statement()).protected)
        + b"\xa0"
        + cbor.encode(payload)
        + cbor.encode(bytes(64))
    )


@pytest.mark.parametrize("example", vectors("senml_profile.json")["accepted"], ids=lambda e: e["name"])
def test_senml_accepted(example: dict[str, Any]) -> None:
    parsed = statement.parse(in_statement(h(example["encoded"])))
    readings = tuple(Reading(r["name"], r["unit"], r["mantissa"], r["exponent"], r["t"]) for r in example["readings"])
    assert (parsed.base_time, parsed.readings) == (example["base_time"], readings)
    built = statement.parse(build_statement(base_time=example["base_time"], readings=readings))
    assert built.payload == h(example["encoded"])


@pytest.mark.parametrize("example", vectors("senml_profile.json")["rejected"], ids=lambda e: e["encoded"][:24])
def test_senml_refused(example: dict[str, Any]) -> None:
    with pytest.raises(WireError):
        statement.parse(in_statement(h(example["encoded"])))


# RFC 6962 and RFC 9162

MERKLE = vectors("rfc6962_merkle_tree.json")
LEAVES = [leaf_hash(h(entry)) for entry in MERKLE["leaf_inputs"]]
ROOTS = [h(root) for root in MERKLE["roots"]]


def test_roots() -> None:
    log = SampleLog()
    assert ROOTS[0] == EMPTY_ROOT
    for size, leaf in enumerate(LEAVES, 1):
        log.append([leaf])
        assert log.root == tree.root(log.tiles, size) == ROOTS[size]


@pytest.mark.parametrize("case", MERKLE["inclusion"], ids=lambda c: f"{c['index']} of {c['size']}")
def test_inclusion(case: dict[str, Any]) -> None:
    log = SampleLog()
    log.append(LEAVES)
    path = [h(node) for node in case["path"]]
    assert tree.inclusion_proof(log.tiles, case["index"], case["size"]) == path
    assert root_from_inclusion(LEAVES[case["index"]], case["index"], case["size"], path) == ROOTS[case["size"]]


@pytest.mark.parametrize("case", MERKLE["consistency"], ids=lambda c: f"{c['from']} to {c['to']}")
def test_consistency(case: dict[str, Any]) -> None:
    log = SampleLog()
    log.append(LEAVES)
    m, n, proof = case["from"], case["to"], [h(node) for node in case["proof"]]
    assert tree.consistency_proof(log.tiles, m, n) == proof
    assert verify_consistency(m, ROOTS[m], n, ROOTS[n], proof)


# C2SP


@pytest.mark.parametrize("case", vectors("c2sp_tiles.json")["paths"], ids=lambda c: c["path"])
def test_tile_paths(case: dict[str, Any]) -> None:
    level, index, width = case["level"], case["index"], case["width"]
    path = tiles.entries_path(index, width) if level is None else tiles.tile_path(level, index, width)
    assert path == case["path"]
    assert tiles.parse_path(path) == tiles.TilePath(level, index, width)


@pytest.mark.parametrize("case", vectors("c2sp_tiles.json")["trees"], ids=lambda c: str(c["size"]))
def test_tiles_of_a_tree(case: dict[str, Any]) -> None:
    log = SampleLog()
    log.append([leaf_hash(b"%d" % number) for number in range(case["size"])])
    levels = range(len(case["full"]))
    widths = {level: [len(tile) // 32 for (at, _), tile in log.tiles.items() if at == level] for level in levels}
    assert [widths[level].count(256) for level in levels] == case["full"]
    assert [sum(width for width in widths[level] if width != 256) for level in levels] == case["partial"]
    assert {level for level, _ in log.tiles} == set(levels)


def test_signed_note() -> None:
    """Key id and signature of a note that another program signed, computed as our checkpoints have them."""
    vector = vectors("c2sp_signed_note.json")
    name, key_id, encoded = vector["verifier_key"].split("+")
    public = base64.b64decode(encoded)
    assert public[:1] == checkpoint._ALG_ED25519
    assert checkpoint._key_id(name, public[1:]).hex() == key_id
    body, _, line = vector["note"].partition("\n\n")
    dash, signer, signed = line.split(" ")
    assert (dash, signer) == ("—", name)
    assert base64.b64decode(signed)[:4].hex() == key_id
    Ed25519PublicKey.from_public_bytes(public[1:]).verify(base64.b64decode(signed)[4:], (body + "\n").encode())
    with pytest.raises(InvalidSignature):
        Ed25519PublicKey.from_public_bytes(public[1:]).verify(base64.b64decode(signed)[4:], body.encode())


def test_checkpoint_lines() -> None:
    """The body of the specification's example, but for our origin."""
    vector = vectors("c2sp_signed_note.json")["checkpoint"]
    text = checkpoint.sign(TRUST.log_id, LOG_PRIVATE, vector["size"], h(vector["root"]))
    ours, theirs = text.split("\n"), vector["body"].split("\n")
    assert ours[1:4] == theirs[1:4]
    assert ours[4].startswith(f"— {ours[0]} ")


# RFC 9942


def test_receipt_labels() -> None:
    labels = vectors("rfc9942_labels.json")
    file = cbor.decode(build_receipt(build_statement()))
    assert isinstance(file, cbor.Tag) and file.number == labels["sign1_tag"]
    encoded = file.value[1][labels["receipts"]][0]  # type: ignore[index]
    inner: Any = cbor.decode(encoded)
    header = cbor.decode(inner.value[0])
    assert inner.number == labels["sign1_tag"] and inner.value[2] is None
    assert header[1] == labels["eddsa"] and header[labels["vds"]] == labels["rfc9162_sha256"]  # type: ignore[index]
    size, index, path = cbor.decode(inner.value[1][labels["vdp"]][labels["inclusion"]][0])  # type: ignore[misc]
    assert (size, index, len(path)) == (3, 1, 2)
    assert receipt.parse(build_receipt(build_statement())).board_key == BOARD
    assert hashlib.sha256(cbor.encode(file.value[1][-65540])).digest() == BOARD.kid  # type: ignore[index]
