"""The whole gateway while its node is away: it starts, takes statements, and makes up for the chain when it can."""

import json
import signal
import sqlite3
import sys
import time
from pathlib import Path

import pytest
from anvil import Contracts
from boardclient import BoardClient
from eth_account import Account
from faultynode import FaultyNode
from statements import TestBoard
from test_service import Gateway, make, register, wait_anchor
from trigpoint import config, keyfiles

SIGNER = """
import json, sys
from eth_account import Account
asked = json.load(sys.stdin)
signed = Account.from_key(open(sys.argv[1]).read().strip()).sign_transaction({
    "chainId": asked["chain_id"], "nonce": asked["nonce"], "gas": asked["gas"], "to": asked["to"], "value": 0,
    "data": asked["data"], "maxFeePerGas": int(asked["max_fee_per_gas"]),
    "maxPriorityFeePerGas": int(asked["max_priority_fee_per_gas"])})
print("0x" + bytes(signed.raw_transaction).hex())
"""


def change(path: Path, **values: object) -> config.Config:
    """Change keys of the configuration's [chain]; None removes one."""
    before, chain, after = path.read_text().partition("[chain]\n")
    mine, end, rest = after.partition("\n[")
    lines = [line for line in mine.splitlines() if line.split(" =")[0] not in values]
    lines += [f"{key} = {json.dumps(value)}" for key, value in values.items() if value is not None]
    path.write_text(before + chain + "\n".join(lines) + end + rest)
    return config.load(path)


def test_it_starts_without_a_node_and_anchors_by_a_keystore_and_by_a_program(
    tmp_path: Path, contracts: Contracts, faulty: FaultyNode, embedded_broker
) -> None:
    settings = make(tmp_path, contracts, embedded_broker.port)
    key = tmp_path / "keys" / "chain.key"
    # As cheap as can be: how long a passphrase takes is tested elsewhere.
    keystore = Account.encrypt("0x" + key.read_text(), "passphrase", kdf="pbkdf2", iterations=1)
    keyfiles.write_private(tmp_path / "keys" / "chain.json", json.dumps(keystore).encode())
    keyfiles.write_private(tmp_path / "keys" / "passphrase", b"passphrase\n")
    path = tmp_path / "gateway.toml"
    settings = change(
        path,
        rpc_url="http://127.0.0.1:1/secret-token",
        fallback_rpc_urls=[faulty.url],
        key_file="keys/chain.json",
        passphrase_file="keys/passphrase",
    )
    board = TestBoard(1)
    register(contracts, board)
    client = BoardClient(embedded_broker.port, keyfiles.load_link_key(settings.link.key_file), [board])
    gateway = Gateway(settings, tmp_path)
    board.next()
    client.deliver([board])
    wait_anchor(settings, 1)
    gateway.process.kill()
    gateway.end(signal.SIGKILL)

    # The power comes back before the line does, and the key has been moved to a program meanwhile.
    (tmp_path / "signer.py").write_text(SIGNER)
    settings = change(
        path,
        key_file=None,
        passphrase_file=None,
        signer_command=[sys.executable, str(tmp_path / "signer.py"), str(key)],
        account=Account.from_key("0x" + key.read_text()).address,
    )
    faulty.down = True
    gateway = Gateway(settings, tmp_path)
    assert any("could not be checked yet" in line for line in gateway.lines)
    board.next()
    client.deliver([board])
    faulty.heal()
    wait_anchor(settings, 2, timeout_s=60)
    assert gateway.end(signal.SIGTERM) == 0
    client.close()
    said = gateway.errors.read_text()
    assert "secret-token" not in said and key.read_text() not in said
    assert said.count("cannot reach") < 10, "trouble is said once, not at every try"


@pytest.mark.soak
def test_an_old_backup_that_started_without_a_node_is_stopped_when_one_answers(
    tmp_path: Path, contracts: Contracts, faulty: FaultyNode, embedded_broker
) -> None:
    settings = make(tmp_path, contracts, embedded_broker.port)
    settings = change(tmp_path / "gateway.toml", rpc_url=faulty.url)
    board = TestBoard(1)
    register(contracts, board)
    client = BoardClient(embedded_broker.port, keyfiles.load_link_key(settings.link.key_file), [board])
    gateway = Gateway(settings, tmp_path)
    board.next()
    client.deliver([board])
    wait_anchor(settings, 1)
    assert gateway.end(signal.SIGTERM) == 0
    with sqlite3.connect(settings.database) as source, sqlite3.connect(tmp_path / "old.db") as target:
        source.backup(target)
    gateway = Gateway(settings, tmp_path)
    board.next()
    client.deliver([board])
    wait_anchor(settings, 2)
    assert gateway.end(signal.SIGTERM) == 0
    client.close()

    for name in ("", "-wal", "-shm"):
        Path(f"{settings.database}{name}").unlink(missing_ok=True)
    (tmp_path / "old.db").rename(settings.database)
    for public in sorted(settings.public.rglob("*"), reverse=True):
        public.rmdir() if public.is_dir() else public.unlink()
    faulty.down = True
    gateway = Gateway(settings, tmp_path)
    faulty.heal()
    deadline = time.monotonic() + 120
    while gateway.process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    gateway.process.stdout.close()
    assert gateway.process.returncode != 0
    assert "is longer than this database's (1 leaves)" in gateway.errors.read_text()
