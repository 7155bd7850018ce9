"""Receipt files: what each part may hold, and that nothing else is read."""

import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import BOARD, LOG_PRIVATE, TRUST, build_receipt, build_statement, mutated, statement_fields
from trigpoint.wire import cbor, receipt, statement
from trigpoint.wire.errors import WireError
from trigpoint.wire.receipt import Anchor

STATEMENT = build_statement()
ANCHOR = Anchor(31337, b"\x02" * 20, 3, b"\x05" * 32, b"\x04" * 32, 1_000)
ITEM = cbor.decode(build_receipt(STATEMENT))
RECEIPT = cbor.decode(ITEM.value[1][394][0])


def rebuilt(
    *, outer: dict[object, object] | None = None, header: object = None, proof: object = None, **parts: object
) -> bytes:
    """Encode the sample file with parts exchanged; signatures do not matter to its form."""
    protected, proofs, payload, signature = RECEIPT.value
    if header is not None:
        protected = cbor.encode(header)
    if proof is not None:
        proofs = {396: {-1: [cbor.encode(proof)]}}
    message = [parts.get("protected", protected), parts.get("proofs", proofs), parts.get("payload", payload)]
    encoded = cbor.encode(cbor.Tag(parts.get("tag", 18), [*message, parts.get("signature", signature)]))
    unprotected = {394: parts.get("receipts", [encoded]), -65540: BOARD.to_cose()} if outer is None else outer
    return cbor.encode(cbor.Tag(18, [ITEM.value[0], unprotected, *ITEM.value[2:]]))


HEADER = cbor.decode(RECEIPT.value[0])
PROOF = cbor.decode(RECEIPT.value[1][396][-1][0])


def with_anchor(**changes: object) -> bytes:
    return rebuilt(header={**HEADER, -65541: {**HEADER[-65541], **{int(key[1:]): changes[key] for key in changes}}})


def refused(data: bytes, field: str) -> None:
    with pytest.raises(WireError) as caught:
        receipt.parse(data)
    assert caught.value.field == field, caught.value


@settings(max_examples=40)
@given(statement_fields(), st.integers(0, 9), st.integers(0, 9), st.booleans())
def test_round_trip(fields: dict[str, object], before: int, after: int, anchored: bool) -> None:
    raw = build_statement(**fields)
    if len(raw) > statement.MAX_SIZE:
        return
    parsed = receipt.parse(build_receipt(raw, before=before, after=after, anchored=anchored))
    assert parsed.statement.raw == raw
    assert (parsed.board_key, parsed.log_id) == (BOARD, TRUST.log_id)
    assert (parsed.index, parsed.size, parsed.anchor is not None) == (before, before + after + 1, anchored)


def test_emptying_the_unprotected_header_gives_the_statement() -> None:
    """With a general CBOR reader's view of the file: the other parts stand in it as they were signed."""
    data = build_receipt(STATEMENT)
    protected, unprotected, payload, signature = map(cbor.encode, ITEM.value)
    assert data == b"\xd2\x84" + protected + unprotected + payload + signature
    assert b"\xd2\x84" + protected + b"\xa0" + payload + signature == STATEMENT


def test_the_sample_is_rebuilt() -> None:
    data = build_receipt(STATEMENT)
    assert rebuilt() == rebuilt(header=HEADER, proof=PROOF) == with_anchor() == data


@pytest.mark.parametrize(
    ("data", "field"),
    [
        (rebuilt(outer={}), "unprotected header"),
        (rebuilt(outer={394: [b""]}), "unprotected header"),
        (rebuilt(outer={394: [b""], -65540: BOARD.to_cose(), 4: b""}), "unprotected header"),
        (rebuilt(receipts=[]), "receipts"),
        (rebuilt(receipts=b""), "receipts"),
        (rebuilt(receipts=[b"", b""]), "receipts"),
        (rebuilt(receipts=[None]), "receipts"),
        (rebuilt(receipts=[b"\xd2"]), "cbor"),
        (rebuilt(outer={394: [b""], -65540: {**BOARD.to_cose(), -3: BOARD.x}}), "public key"),
        (rebuilt(outer={394: [b""], -65540: BOARD.x}), "public key"),
        (rebuilt(tag=17), "receipt"),
        (rebuilt(protected=None), "receipt"),
        (rebuilt(proofs=None), "receipt"),
        (rebuilt(payload=b""), "receipt payload"),
        (rebuilt(payload=bytes(32)), "receipt payload"),
        (rebuilt(signature=bytes(63)), "receipt signature"),
        (rebuilt(signature=None), "receipt signature"),
        (rebuilt(proofs={}), "proofs"),
        (rebuilt(proofs={396: {}}), "proofs"),
        (rebuilt(proofs={396: {-1: []}}), "proofs"),
        (rebuilt(proofs={396: {-1: [b"", b""]}}), "proofs"),
        (rebuilt(proofs={396: {-1: [b""], -2: [b""]}}), "proofs"),
        (rebuilt(proofs={396: {-1: [b""]}, 4: b""}), "proofs"),
        (rebuilt(header={**HEADER, 1: -7}), "receipt alg"),
        (rebuilt(header={**HEADER, 395: 2}), "receipt vds"),
        (rebuilt(header={**HEADER, 395: True}), "receipt vds"),
        (rebuilt(header={**HEADER, 4: bytes(31)}), "log id"),
        (rebuilt(header={**HEADER, 5: 0}), "receipt header"),
        (rebuilt(header={key: HEADER[key] for key in (1, 4)}), "receipt header"),
        (rebuilt(header=[]), "receipt header"),
        (rebuilt(header={**HEADER, -65541: None}), "anchor"),
        (rebuilt(header={**HEADER, -65541: {}}), "anchor"),
        (with_anchor(_1=0), "anchor chain id"),
        (with_anchor(_1=-1), "anchor chain id"),
        (with_anchor(_1=True), "anchor chain id"),
        (with_anchor(_2=bytes(19)), "anchor contract"),
        (with_anchor(_3=0), "anchor size"),
        (with_anchor(_3=2**48), "anchor size"),
        (with_anchor(_4=bytes(33)), "anchor root"),
        (with_anchor(_5=bytes(31)), "anchor transaction"),
        (with_anchor(_6=-1), "anchor block"),
        (with_anchor(_7=0), "anchor"),
        (rebuilt(proof=[3, 1]), "inclusion proof"),
        (rebuilt(proof=[3, 1, [], 0]), "inclusion proof"),
        (rebuilt(proof=[3, 1, b""]), "inclusion proof"),
        (rebuilt(proof=[2**48, 1, []]), "proof size"),
        (rebuilt(proof=[True, 0, []]), "proof size"),
        (rebuilt(proof=[3, -1, []]), "proof index"),
        (rebuilt(proof=[3, 2**48, []]), "proof index"),
        (rebuilt(proof=[3, 1, [bytes(31)]]), "inclusion path[0]"),
        (rebuilt(proof=[3, 1, [bytes(32), None]]), "inclusion path[1]"),
        (rebuilt(proof=[3, 1, [bytes(32)] * 49]), "inclusion path"),
        (STATEMENT, "unprotected header"),
        (b"", "cbor"),
        (bytes(16_385), "cbor"),
    ],
)
def test_refused(data: bytes, field: str) -> None:
    refused(data, field)


def test_edges_are_read() -> None:
    receipt.parse(with_anchor(_1=2**64 - 1, _3=2**48 - 1, _6=2**64 - 1))
    receipt.parse(rebuilt(proof=[2**48 - 1, 2**48 - 1, [bytes(32)] * 48]))


def test_the_statement_in_the_file_must_be_one() -> None:
    protected, unprotected, payload, signature = ITEM.value
    for parts in (
        [b"\xa0", unprotected, payload, signature],
        [protected, unprotected, b"\x80", signature],
        [protected, unprotected, payload, signature[:-1]],
        [protected, unprotected, None, signature],
        [protected, unprotected, payload + bytes(4096), signature],
    ):
        with pytest.raises(WireError):
            receipt.parse(cbor.encode(cbor.Tag(18, parts)))


@given(mutated(st.sampled_from([build_receipt(STATEMENT), build_receipt(STATEMENT, anchored=False)])))
def test_mutated_files(data: bytes) -> None:
    try:
        parsed = receipt.parse(data)
    except WireError:
        return
    # What was read, written again, is the same file: no byte escapes the reader.
    anchor = parsed.anchor
    again = receipt.build(
        statement_raw=parsed.statement.raw, board_key=parsed.board_key, log_id=parsed.log_id, size=parsed.size,
        index=parsed.index, path=parsed.path, root=bytes(32), anchor=anchor, sign=lambda _: parsed.signature,
    )  # fmt: skip
    assert again == data


@given(st.binary(max_size=300))
def test_random_bytes(data: bytes) -> None:
    with pytest.raises(WireError):
        receipt.parse(data)


def test_what_could_not_be_read_is_not_built() -> None:
    values: dict[str, object] = {
        "statement_raw": STATEMENT, "board_key": BOARD, "log_id": TRUST.log_id, "size": 3, "index": 1,
        "path": [bytes(32)] * 2, "root": bytes(32), "anchor": ANCHOR, "sign": LOG_PRIVATE.sign,
    }  # fmt: skip
    receipt.build(**values)
    for change in (
        {"statement_raw": b""},
        {"log_id": b""},
        {"size": 2**48},
        {"path": [b""]},
        {"anchor": replace(ANCHOR, contract=b"")},
        {"sign": lambda _: b""},
    ):
        with pytest.raises(WireError):
            receipt.build(**{**values, **change})


def test_the_bytes_that_cost_most_take_little_time() -> None:
    start = time.process_time()
    for data in (
        rebuilt(receipts=[b"\x81" * 12_000]),
        cbor.encode(cbor.Tag(18, [b"", {394: [0] * 4_000, -65540: 0}, b"", b""])),
        b"\xd2\x84\x40\xb9\x0f\xff" + b"".join(cbor.encode(key) + b"\x00" for key in range(4095)),
    ):
        with pytest.raises(WireError):
            receipt.parse(data)
    assert time.process_time() - start < 0.3
