"""Receipts on a real chain: signed, anchored, final, back when the chain is reorganised, and up again."""

import json
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from chaingateway import LOG_KEY, Gateway
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from statements import TestBoard, enrol
from trigpoint import cli, keyfiles, receipts
from trigpoint.ingest.batch import store
from trigpoint.ingest.message import Message
from trigpoint.receipts import Stage
from trigpoint.store import log
from trigpoint.store.database import open_database
from trigpoint.wire.receipt import parse

KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)


@pytest.fixture
def stating(gateway: Gateway) -> Gateway:
    """A gateway with two confirmations, an open log, and one statement."""
    gateway.confirmations = 2
    gateway.start()
    board = TestBoard(1)
    gateway.writer.submit(lambda connection: log.claim(connection, gateway.log_id, LOG_KEY))
    gateway.writer.submit(lambda connection: enrol(connection, board))
    gateway.run(4)
    message = Message.of(board.topic, board.next(), 0)
    gateway.writer.submit(lambda connection: store(connection, [message]))
    return gateway


def issued(gateway: Gateway) -> receipts.Issued:
    with closing(open_database(gateway.path, read_only=True)) as connection:
        return receipts.issue(connection, KEY, index=0)


def test_up_and_back_and_up_again(stating: Gateway) -> None:
    assert issued(stating).stage is Stage.SIGNED
    stating.anchorer.step()
    stating.anchorer.step()
    first = issued(stating)
    assert (first.stage, parse(first.data).anchor) == (Stage.ANCHORED, None), "no receipt names what may yet go"
    rpc = stating.contracts.chain.rpc
    stating.contracts.automine(False)
    rpc("anvil_reorg", 1, [])
    stating.anchorer.step()
    assert issued(stating).stage is Stage.SIGNED
    stating.contracts.automine(True)
    stating.run(5)
    final = issued(stating)
    assert final.stage is Stage.FINAL
    assert parse(final.data).anchor == final.anchor

    # A reorganisation deeper than the confirmations takes it back as well.
    block = final.anchor.block if final.anchor else 0
    depth = stating.contracts.node.head() - block + 1
    stating.contracts.automine(False)
    rpc("anvil_reorg", depth, [])
    stating.contracts.mine(1)
    stating.anchorer.step()
    again = issued(stating)
    assert (again.stage, parse(again.data).anchor) == (Stage.SIGNED, None)
    stating.contracts.automine(True)
    stating.run(5)
    back = issued(stating)
    assert back.stage is Stage.FINAL
    assert back.anchor is not None and final.anchor is not None
    assert (back.anchor.transaction, back.anchor.root) == (final.anchor.transaction, final.anchor.root)


Run = Callable[..., Any]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def go(*arguments: object) -> Any:
        monkeypatch.setattr(sys, "argv", ["trigpoint", "receipt", *map(str, arguments), "--json"])
        with pytest.raises(SystemExit) as left:
            cli.main()
        out, err = capsys.readouterr()
        assert left.value.code in {0, None}, err
        return json.loads(out)

    return go


def test_the_commands_show_the_state_and_upgrade_files(
    stating: Gateway, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "gw"
    make_directory(folder, stating)
    file, other = tmp_path / "receipt.cose", tmp_path / "other.cose"
    assert run("get", folder, "--index", 0, "-o", file)["state"] == "signed"
    other.write_bytes(file.read_bytes())
    assert run("upgrade", folder, file)["receipts"] == [{"file": str(file), "before": "signed", "state": "signed"}]
    monkeypatch.setattr(sys, "argv", f"trigpoint receipt get {folder} --index 0 -o {file} --wait --timeout 1".split())
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 1 and "not final after 1 s" in capsys.readouterr().err

    stating.anchorer.step()
    stating.anchorer.step()
    assert run("get", folder, "--index", 0, "-o", file)["state"] == "anchored"
    stating.run(4)
    (done,) = run("upgrade", folder, file)["receipts"]
    assert (done["before"], done["state"]) == ("signed", "final")
    assert parse(file.read_bytes()).anchor is not None
    assert run("get", folder, "--index", 0, "-o", other, "--wait")["state"] == "final"

    # Its anchor is mined again, in another block: a receipt that names the old one is of no use on the chain.
    block = parse(file.read_bytes()).anchor.block  # type: ignore[union-attr]
    stating.contracts.automine(False)
    stating.contracts.chain.rpc("anvil_reorg", stating.contracts.node.head() - block + 1, [])
    stating.contracts.mine(3)
    stating.anchorer.step()
    (back,) = run("upgrade", folder, other)["receipts"]
    assert (back["before"], back["state"]) == ("an anchor that left the chain", "signed")
    stating.contracts.automine(True)
    stating.run(5)
    assert [row["state"] for row in run("upgrade", folder, file, other)["receipts"]] == ["final", "final"]
    assert file.read_bytes() == other.read_bytes()
    assert parse(file.read_bytes()).anchor.block > block  # type: ignore[union-attr]


def make_directory(folder: Path, gateway: Gateway) -> None:
    """Give the gateway's database a configuration, as the commands want it."""
    (folder / "keys").mkdir(parents=True)
    keyfiles.write_private(folder / "keys" / "chain.key", gateway.account.key.hex().removeprefix("0x").encode())
    keyfiles.create_log_key(folder / "keys" / "log.pem")
    keyfiles.create_link_key(folder / "keys" / "link.pem")
    (folder / "data").mkdir()
    for suffix in ("", "-wal", "-shm"):
        (folder / "data" / f"trigpoint.db{suffix}").symlink_to(f"{gateway.path}{suffix}")
    (folder / "gateway.toml").write_text(
        'data = "data"\n[broker]\nhost = "localhost"\nport = 1883\ntls = false\n'
        f'[chain]\nrpc_url = "{gateway.contracts.chain.url}"\nchain_id = 31337\nkey_file = "keys/chain.key"\n'
        '[log]\nkey_file = "keys/log.pem"\n[link]\nkey_file = "keys/link.pem"\n'
    )
