"""Offline verification: no byte of a verified file can change, and each fault fails its own check."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import BOARD, LOG_PRIVATE, READINGS, TRUST, build_receipt, build_statement, mutated, statement_fields
from trigpoint.verify import CHECKS, Verdict, verify_offline
from trigpoint.wire import keys, receipt
from trigpoint.wire.keys import ORDER, PublicKey
from trigpoint.wire.receipt import Anchor, ReceiptFile
from trigpoint.wire.trust import Trust

STATEMENT = build_statement()
FILE = build_receipt(STATEMENT)


def statuses(verdict: Verdict) -> dict[str, str]:
    assert tuple(check.name for check in verdict.checks) == CHECKS
    assert all(check.detail.endswith(".") for check in verdict.checks)
    return {check.name: check.status for check in verdict.checks}


def failing(verdict: Verdict) -> set[str]:
    assert not verdict.verified
    return {name for name, status in statuses(verdict).items() if status == "failed"}


def forged(**changes: object) -> bytes:
    """Encode the sample file with parts exchanged, signed by the log (or not) as asked."""
    parsed = receipt.parse(FILE)
    values: dict[str, object] = {
        "statement_raw": STATEMENT, "board_key": BOARD, "log_id": parsed.log_id, "size": parsed.size,
        "index": parsed.index, "path": parsed.path, "root": parsed.anchor.root if parsed.anchor else b"",
        "anchor": parsed.anchor, "sign": LOG_PRIVATE.sign,
    }  # fmt: skip
    return receipt.build(**{**values, **changes})


def anchor(**changes: object) -> Anchor:
    original = receipt.parse(FILE).anchor
    assert original is not None
    return replace(original, **changes)


@settings(max_examples=30)
@given(statement_fields(), st.integers(0, 20), st.integers(0, 20))
def test_good_files_are_verified(fields: dict[str, object], before: int, after: int) -> None:
    raw = build_statement(**fields)
    if len(raw) > 4096:
        return
    verdict = verify_offline(build_receipt(raw, before=before, after=after), TRUST)
    assert verdict.verified
    assert set(statuses(verdict).values()) == {"ok"}
    assert verdict.receipt is not None and verdict.receipt.statement.raw == raw


SMALL = build_receipt(build_statement(readings=READINGS[:1]), before=1, after=0)


def refuses(at: int, value: int) -> bool:
    verdict = verify_offline(SMALL[:at] + bytes((value,)) + SMALL[at + 1 :], TRUST)
    return not verdict.verified and any(check.status == "failed" for check in verdict.checks)


def test_no_byte_can_change() -> None:
    """Each bit of each byte, and the values that are edges of CBOR's initial byte."""
    assert verify_offline(SMALL, TRUST).verified
    edges = {0x00, 0x17, 0x18, 0x1F, 0x20, 0x40, 0x5F, 0x80, 0x9F, 0xA0, 0xC4, 0xF4, 0xF5, 0xF6, 0xFF}
    for at, byte in enumerate(SMALL):
        for value in (edges | {byte ^ 1 << bit for bit in range(8)}) - {byte}:
            assert refuses(at, value), (at, value)


@pytest.mark.soak
def test_no_byte_can_change_to_any_other() -> None:
    for at, byte in enumerate(SMALL):
        for value in set(range(256)) - {byte}:
            assert refuses(at, value), (at, value)


@settings(max_examples=20)
@given(statement_fields(), st.integers(0, 300), st.integers(0, 300), st.data())
def test_no_bit_can_change(fields: dict[str, object], before: int, after: int, data: st.DataObject) -> None:
    raw = build_statement(**fields)
    if len(raw) > 4096:
        return
    file = bytearray(build_receipt(raw, before=before, after=after))
    for bit in data.draw(st.lists(st.integers(0, 8 * len(file) - 1), min_size=30, max_size=30)):
        file[bit // 8] ^= 1 << bit % 8
        assert failing(verify_offline(bytes(file), TRUST))
        file[bit // 8] ^= 1 << bit % 8
    assert verify_offline(bytes(file), TRUST).verified


@given(mutated(st.just(FILE)) | st.binary(max_size=300))
def test_nothing_is_raised(data: bytes) -> None:
    for trust in (TRUST, None):
        verdict = verify_offline(data, trust)
        assert verdict.verified == (data == FILE and trust is not None)


def test_after_a_failed_format_the_rest_is_skipped() -> None:
    verdict = verify_offline(FILE[:-1], TRUST)
    assert statuses(verdict) == {name: "failed" if name == "format" else "skipped" for name in CHECKS}
    assert verdict.receipt is None and not verdict.verified


def test_without_trust_file() -> None:
    verdict = verify_offline(FILE, None)
    skipped = {"log identity", "log signature", "anchor"}
    assert statuses(verdict) == {name: "skipped" if name in skipped else "ok" for name in CHECKS}
    assert not verdict.verified and verdict.receipt is not None


def test_without_anchor() -> None:
    verdict = verify_offline(build_receipt(STATEMENT, anchored=False), TRUST)
    assert statuses(verdict) == {name: "skipped" if name == "anchor" else "ok" for name in CHECKS}
    assert not verdict.verified
    assert "not yet anchored" in verdict.checks[-1].detail


STRANGER = ec.derive_private_key(5, ec.SECP256R1())


def high_s(raw: bytes) -> bytes:
    return raw[:-32] + (ORDER - int.from_bytes(raw[-32:], "big")).to_bytes(32, "big")


def by_stranger() -> bytes:
    """The board's id over another key's signature."""
    return build_statement(sign=lambda message: keys.sign(STRANGER, message))


@pytest.mark.parametrize(
    ("make", "checks"),
    [
        (lambda: forged(board_key=PublicKey.of(STRANGER)), {"board key", "board signature"}),
        (lambda: build_receipt(by_stranger()), {"board signature"}),
        (lambda: build_receipt(high_s(STATEMENT)), {"board signature"}),
        (lambda: forged(statement_raw=build_statement(seq=8)), {"log signature", "anchor"}),
        (lambda: forged(index=3), {"inclusion"}),
        (lambda: forged(size=0), {"inclusion"}),
        (lambda: forged(path=()), {"inclusion"}),
        (lambda: forged(path=[*receipt.parse(FILE).path, bytes(32)]), {"inclusion"}),
        (lambda: forged(index=0), {"log signature", "anchor"}),
        (lambda: forged(size=4), {"anchor"}),
        (lambda: forged(log_id=bytes(32)), {"log identity"}),
        (lambda: forged(sign=Ed25519PrivateKey.from_private_bytes(bytes(32)).sign), {"log signature"}),
        (lambda: forged(root=bytes(32)), {"log signature"}),
        (lambda: forged(anchor=anchor(chain_id=1)), {"anchor"}),
        (lambda: forged(anchor=anchor(contract=TRUST.device_registry)), {"anchor"}),
        (lambda: forged(anchor=anchor(size=4)), {"anchor"}),
        (lambda: forged(anchor=anchor(root=bytes(32))), {"anchor"}),
    ],
)
def test_each_fault_fails_its_own_check(make: Callable[[], bytes], checks: set[str]) -> None:
    assert failing(verify_offline(make(), TRUST)) == checks


@pytest.mark.parametrize(
    ("change", "checks"),
    [
        ({"chain_id": 1}, {"anchor"}),
        ({"transparency_log": bytes(20)}, {"anchor"}),
        ({"log_id": bytes(32)}, {"log identity"}),
        ({"log_key": bytes(32)}, {"log signature"}),
        ({"log_key": b"\xff" * 32}, {"log signature"}),
    ],
)
def test_another_trust_file(change: dict[str, object], checks: set[str]) -> None:
    trust: Trust = replace(TRUST, **change)
    assert failing(verify_offline(FILE, trust)) == checks


def test_a_log_key_under_which_anybody_can_sign() -> None:
    """The neutral point: R = the neutral point and s = 0 are a signature of every message, and OpenSSL takes it."""
    neutral = (1).to_bytes(32, "little")
    file = forged(sign=lambda _: neutral + bytes(32))
    assert failing(verify_offline(file, replace(TRUST, log_key=neutral))) == {"log signature"}


def test_what_the_anchor_says_is_signed() -> None:
    """Transaction and block are in no other check, so the log's signature alone holds them."""
    parsed: ReceiptFile = receipt.parse(FILE)
    for change in ({"block": 1_001}, {"transaction": bytes(32)}):
        file = forged(anchor=anchor(**change), sign=lambda _: parsed.signature)
        assert failing(verify_offline(file, TRUST)) == {"log signature"}
