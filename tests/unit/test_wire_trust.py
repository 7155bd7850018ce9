"""Trust files: one form, and each member named when it is wrong."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import TRUST, mutated
from trigpoint.wire.errors import WireError
from trigpoint.wire.trust import Trust

DOCUMENT = json.loads(TRUST.to_json())


def test_round_trip() -> None:
    assert Trust.from_json(TRUST.to_json()) == TRUST
    assert Trust.from_json(TRUST.to_json().encode()) == TRUST


def test_hex_digits_of_either_case() -> None:
    trust = replace(TRUST, transparency_log=b"\xab" * 20)
    assert Trust.from_json(trust.to_json().replace("ab" * 20, "aB" * 20)) == trust


@given(
    mutated(st.just(TRUST.to_json().encode()))
    | st.binary(max_size=100)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("0x" + "1" * 40),
        lambda items: st.lists(items) | st.dictionaries(st.sampled_from([*DOCUMENT, "x"]), items),
    ).map(lambda item: json.dumps(item).encode())
)
def test_nothing_but_its_own_error(text: bytes) -> None:
    try:
        Trust.from_json(text)
    except WireError:
        return


@pytest.mark.parametrize("member", ["chain_id", "contracts", "log_id", "log_key"])
@pytest.mark.parametrize(
    "value", [None, True, 1.0, -1, 0, 2**64, "", "0x", [], {}, "zz" * 32, "11" * 31, "11" * 33, "0x" + "11" * 31]
)
def test_wrong_members(member: str, value: object) -> None:
    with pytest.raises(WireError) as caught:
        Trust.from_json(json.dumps({**DOCUMENT, member: value}))
    assert caught.value.field == member


@pytest.mark.parametrize("member", ["device_registry", "transparency_log"])
@pytest.mark.parametrize(
    "value",
    [
        None,
        5,
        "11" * 20,
        "0x" + "11" * 19,
        "0x" + "11" * 21,
        "0X" + "11" * 20,
        "0x" + "1g" * 20,
        "0x" + "١" * 40,
        "0x" + "11" * 20 + "\n",
    ],
)
def test_wrong_contracts(member: str, value: object) -> None:
    with pytest.raises(WireError) as caught:
        Trust.from_json(json.dumps({**DOCUMENT, "contracts": {**DOCUMENT["contracts"], member: value}}))
    assert caught.value.field == f"contracts.{member}"


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({**DOCUMENT, "note": ""}),
        json.dumps({key: value for key, value in DOCUMENT.items() if key != "log_key"}),
        TRUST.to_json().replace('"log_key"', '"log_id"'),
        TRUST.to_json()[:-3] + ', "log_key": "' + "00" * 32 + '"}',
        TRUST.to_json() + "{}",
        "[" * 3_000,
        "9" * 4_000,
        " " * 5_000,
        "",
    ],
)
def test_other_files(text: str) -> None:
    with pytest.raises(WireError):
        Trust.from_json(text)


@pytest.mark.parametrize("field", ["device_registry", "transparency_log", "log_id", "log_key"])
def test_lengths(field: str) -> None:
    with pytest.raises(WireError) as caught:
        replace(TRUST, **{field: getattr(TRUST, field)[1:]})
    assert caught.value.field == field
