"""Permits as files: what comes back, and what is refused."""

import json
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from trigpoint.chain import permitfile
from trigpoint.errors import OperatorError
from trigpoint.wire import keys
from trigpoint.wire.keys import PublicKey
from trigpoint.wire.permit import Permit, message

PRIVATE = ec.derive_private_key(7, ec.SECP256R1())
KEY = PublicKey.of(PRIVATE)
REGISTRY = b"r" * 20
UNSIGNED = Permit(b"o" * 20, KEY.x, KEY.y, bytes(32), 2**40, bytes(32), bytes(32))
SIGNATURE = keys.sign(PRIVATE, message(31337, REGISTRY, UNSIGNED))
PERMIT = replace(UNSIGNED, r=SIGNATURE[:32], s=SIGNATURE[32:])
PLAIN = permitfile.plain(PERMIT, 31337, REGISTRY)


@pytest.mark.parametrize("text", [json.dumps(PLAIN), json.dumps([PLAIN]), f"\n{json.dumps(PLAIN, indent=2)}\n"])
def test_one(text: str) -> None:
    (filed,) = permitfile.parse(text, "roof.json")
    assert (filed.chain_id, filed.registry, filed.permit, filed.where) == (31337, REGISTRY, PERMIT, "roof.json")
    assert filed.kid == KEY.kid


def test_several() -> None:
    for text in (json.dumps([PLAIN, PLAIN]), json.dumps(PLAIN) + "\n" + json.dumps(PLAIN)):
        assert [one.where for one in permitfile.parse(text, "box")] == ["box, permit 1", "box, permit 2"]


@pytest.mark.parametrize("field", list(PLAIN))
@pytest.mark.parametrize("value", [None, 1.5, -1, "", "0x", "zz" * 32, "00" * 31, True, [], 2**256])
def test_each_field_is_named(field: str, value: Any) -> None:
    with pytest.raises(OperatorError, match=f"roof.json: {field}: want"):
        permitfile.parse(json.dumps({**PLAIN, field: value}), "roof.json")
    with pytest.raises(OperatorError, match=f"roof.json: {field}: missing"):
        permitfile.parse(json.dumps({name: known for name, known in PLAIN.items() if name != field}), "roof.json")


@pytest.mark.parametrize(
    "change", [{"chain_id": 1}, {"owner": "0x" + "11" * 20}, {"registry": "0x" + "11" * 20}, {"deadline": 5}]
)
def test_what_the_board_did_not_sign(change: dict[str, Any]) -> None:
    with pytest.raises(OperatorError, match="did not sign this permit"):
        permitfile.parse(json.dumps({**PLAIN, **change}), "roof.json")


JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=70),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(list(PLAIN)), inner, max_size=10),
    max_leaves=12,
)


@given(st.one_of(st.text(max_size=80), JSON.map(json.dumps), st.just("[" * 50_000)))
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(OperatorError):
        permitfile.parse(text, "x")
