"""Who signs: a key file, a keystore, a program. What it signed is checked, and no secret is shown."""

import json
import stat
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from eth_account import Account
from hypothesis import given, settings
from hypothesis import strategies as st
from trigpoint import keyfiles
from trigpoint.chain.keys import CREDENTIAL, encrypt, load_account, load_signer
from trigpoint.chain.signing import CommandSigner, SigningError, Unsigned, decode, sign
from trigpoint.config import Chain
from trigpoint.errors import OperatorError

ACCOUNT = Account.from_key("0x" + "11" * 32)
PASSPHRASE = "correct horse battery staple"

UNSIGNED = st.builds(
    Unsigned,
    chain_id=st.integers(1, 2**40),
    nonce=st.integers(0, 2**40),
    to=st.just(b"") | st.binary(min_size=20, max_size=20),
    data=st.binary(max_size=100),
    gas=st.integers(21_000, 30_000_000),
    fee=st.integers(1, 10**13),
    tip=st.none() | st.integers(0, 10**13),
)
ONE = Unsigned(31337, 7, b"\xab" * 20, b"call", 100_000, 3 * 10**9, 10**9)
OLD = Unsigned(31337, 7, b"\xab" * 20, b"call", 100_000, 3 * 10**9, None)


@settings(max_examples=40)
@given(UNSIGNED)
def test_what_is_signed_is_what_eth_account_signs_and_is_read_back(unsigned: Unsigned) -> None:
    """Both sign with the nonce of RFC 6979, so that the bytes are the same."""
    signed = sign(ACCOUNT, unsigned)
    assert decode(signed.raw) == (unsigned, ACCOUNT.address)
    assert Account.recover_transaction(signed.raw) == ACCOUNT.address
    fields = {"nonce": unsigned.nonce, "gas": unsigned.gas, "value": 0, "data": unsigned.data}
    if unsigned.to:
        fields["to"] = unsigned.to
    fees = (
        {"gasPrice": unsigned.fee}
        if unsigned.tip is None
        else {"maxFeePerGas": unsigned.fee, "maxPriorityFeePerGas": unsigned.tip}
    )
    theirs = Account.sign_transaction({**fields, **fees, "chainId": unsigned.chain_id}, ACCOUNT.key)
    assert (signed.raw, signed.hash) == (bytes(theirs.raw_transaction), bytes(theirs.hash))


@given(st.binary(max_size=200) | st.binary(max_size=100).map(lambda data: b"\x02" + data))
def test_bytes_that_are_no_transaction(raw: bytes) -> None:
    with pytest.raises(ValueError):
        decode(raw)


@given(st.sampled_from([ONE, OLD]), st.data())
def test_no_byte_of_a_transaction_can_be_changed_unseen(unsigned: Unsigned, data: st.DataObject) -> None:
    raw = bytearray(sign(ACCOUNT, unsigned).raw)
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    with suppress(ValueError):
        assert decode(bytes(raw)) != (unsigned, ACCOUNT.address)


SIGNER = """
import json, sys
from eth_account import Account
asked = json.load(sys.stdin)
fields = {"nonce": asked["nonce"], "gas": asked["gas"], "to": asked["to"], "value": int(asked["value"]),
          "data": asked["data"], "chainId": asked["chain_id"]}
if asked["type"] == 2:
    fields["maxFeePerGas"] = int(asked["max_fee_per_gas"])
    fields["maxPriorityFeePerGas"] = int(asked["max_priority_fee_per_gas"])
else:
    fields["gasPrice"] = int(asked["gas_price"])
print("0x" + bytes(Account.sign_transaction(fields, open(sys.argv[1]).read()).raw_transaction).hex())
"""


@pytest.mark.parametrize("unsigned", [ONE, OLD], ids=["EIP-1559", "gas price"])
def test_a_program_signs(tmp_path: Path, unsigned: Unsigned) -> None:
    """One that knows eth-account and our words alone."""
    (tmp_path / "signer.py").write_text(SIGNER)
    (tmp_path / "key").write_text("0x" + "11" * 32)
    program = [sys.executable, str(tmp_path / "signer.py"), str(tmp_path / "key")]
    assert sign(CommandSigner(program, ACCOUNT.address), unsigned) == sign(ACCOUNT, unsigned)


def test_a_program_may_sign_the_hash_alone(tmp_path: Path) -> None:
    answer = tmp_path / "answer"
    asked = tmp_path / "asked"
    program = ["/bin/sh", "-c", f"cat > {asked}; cat {answer}"]
    answer.write_text("0x" + sign(ACCOUNT, ONE).raw.hex() + "\n")
    assert sign(CommandSigner(program, ACCOUNT.address.lower()), ONE) == sign(ACCOUNT, ONE)
    hashed = bytes.fromhex(json.loads(asked.read_text())["signing_hash"][2:])
    by_hash = ACCOUNT.unsafe_sign_hash(hashed)
    assert ONE.signed(by_hash.v - 27, by_hash.r, by_hash.s) == sign(ACCOUNT, ONE).raw


FIELDS = {
    "nonce": ONE.nonce,
    "gas": ONE.gas,
    "to": ONE.to,
    "value": 0,
    "data": ONE.data,
    "chainId": ONE.chain_id,
    "maxFeePerGas": ONE.fee,
    "maxPriorityFeePerGas": ONE.tip,
}


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"nonce": ONE.nonce + 1}, "11" * 32),
        ({"to": "0x" + "33" * 20}, "11" * 32),
        ({"value": 10**18}, "11" * 32),
        ({"chainId": 1}, "11" * 32),
        ({"maxFeePerGas": ONE.fee * 2}, "11" * 32),
        ({"data": b"other"}, "11" * 32),
        ({"gas": ONE.gas + 1}, "11" * 32),
        ({"accessList": [{"address": "0x" + "33" * 20, "storageKeys": []}]}, "11" * 32),
        ({}, "12" * 32),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else None,
)
def test_a_program_that_signs_something_else(tmp_path: Path, change: dict[str, object], key: str) -> None:
    raw = bytes(Account.sign_transaction({**FIELDS, **change}, "0x" + key).raw_transaction)
    answer = tmp_path / "answer"
    answer.write_text("0x" + raw.hex())
    with pytest.raises(SigningError, match=r"another transaction than asked for|no signed transaction"):
        sign(CommandSigner(["/bin/cat", str(answer)], ACCOUNT.address), ONE)


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("print('hello')", "printed no signed transaction"),
        ("print('0x02c0')", "printed no signed transaction"),
        ("import sys; sys.stdout.write('0x' + '00' * 1000000)", "printed no signed transaction"),
        ("import sys; sys.exit(3)", "exit code 3"),
        ("import os, time; os.fork(); time.sleep(600)", "did not sign in 1 s"),
    ],
)
def test_a_program_that_does_not_sign(program: str, message: str) -> None:
    started = time.monotonic()
    signer = CommandSigner([sys.executable, "-c", program], ACCOUNT.address, timeout_s=1)
    with pytest.raises(SigningError, match=message):
        sign(signer, ONE)
    assert time.monotonic() - started < 20


def test_a_program_that_is_not_there() -> None:
    with pytest.raises(SigningError, match=r"cannot run chain\.signer_command /nowhere/signer"):
        sign(CommandSigner(["/nowhere/signer"], ACCOUNT.address), ONE)


@pytest.fixture(scope="module")
def keystore() -> bytes:
    return encrypt(ACCOUNT, PASSPHRASE)


def private(path: Path, data: bytes) -> Path:
    keyfiles.write_private(path, data)
    return path


def test_a_keystore_and_its_passphrase(tmp_path: Path, keystore: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    path = private(tmp_path / "chain.json", keystore)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(keystore)["version"] == 3 and b"11" * 32 not in keystore
    passphrase = private(tmp_path / "passphrase", PASSPHRASE.encode() + b"\n")
    assert load_account(path, passphrase).address == ACCOUNT.address

    with pytest.raises(OperatorError, match=r"chain\.passphrase_file.*systemd credential chain-passphrase"):
        load_account(path)
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / CREDENTIAL).write_text(PASSPHRASE)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    settings = Chain(rpc_url="http://x", chain_id=1, key_file=path)
    assert load_signer(settings).address == ACCOUNT.address

    passphrase.chmod(0o640)
    with pytest.raises(OperatorError, match="chmod 600"):
        load_account(path, passphrase)
    wrong = private(tmp_path / "wrong", b"another")
    with pytest.raises(OperatorError, match="does not open the keystore") as caught:
        load_account(path, wrong)
    assert "another" not in str(caught.value)


@settings(max_examples=20)
@given(st.recursive(st.none() | st.integers() | st.text(max_size=8), lambda inner: st.lists(inner, max_size=3)))
def test_a_keystore_that_is_none(tmp_path_factory: pytest.TempPathFactory, member: object) -> None:
    folder = tmp_path_factory.mktemp("keystore")
    for content in ({}, {"version": 3}, {"version": 3, "crypto": member}, {"version": member, "crypto": {}}):
        path = folder / "k.json"
        path.unlink(missing_ok=True)
        private(path, json.dumps(content).encode())
        passphrase = folder / "p"
        passphrase.unlink(missing_ok=True)
        private(passphrase, b"x")
        with pytest.raises(OperatorError):
            load_account(path, passphrase)
