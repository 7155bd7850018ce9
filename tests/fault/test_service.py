"""The whole gateway as a process, with a real broker and a real chain under it."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing

import pytest
from boardclient import BoardClient
from brokers import free_port
from statements import TestBoard, sign_permit
from trigpoint import config, init, keyfiles, receipts, service
from trigpoint.audit.auditor import Auditor
from trigpoint.audit.source import DirectorySource
from trigpoint.chain import registration
from trigpoint.chain.deploy import deploy
from trigpoint.chain.node import address_bytes
from trigpoint.errors import OperatorError
from trigpoint.log import checkpoint, tiles
from trigpoint.store import queries, statements
from trigpoint.store.chain import latest_final_anchor
from trigpoint.store.database import open_database
from trigpoint.verify import verify_offline
from trigpoint.wire.trust import Trust
from trigpoint_tools.localchain import LocalChain

RUN = "import sys, pathlib; from trigpoint import config, service; service.run(config.load(pathlib.Path(sys.argv[1])))"


class Gateway:
    """The service in a process of its own, and what it prints."""

    def __init__(self, settings, directory):
        self.settings = settings
        self.directory = directory
        self.errors = directory / "errors.log"
        with self.errors.open("ab") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-c", RUN, str(directory / "gateway.toml")],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self.lines = []
        for line in self.process.stdout:
            self.lines.append(line.strip())
            if line.startswith(("ready: broker", "waiting: broker")):
                return
        raise AssertionError(self.errors.read_text())

    def end(self, number):
        self.process.send_signal(number)
        code = self.process.wait(20)
        self.process.stdout.close()
        return code


def make(directory, contracts, broker_port, account=None):
    """Make a gateway's directory for this chain and broker, with a funded account."""
    (directory / "keys").mkdir(parents=True)
    account = account or contracts.chain.account()
    keyfiles.write_private(directory / "keys" / "chain.key", account.key.hex().removeprefix("0x").encode())
    return init.create(
        directory,
        init.Answers(
            broker_host="127.0.0.1",
            broker_port=broker_port,
            broker_tls=False,
            rpc_url=contracts.chain.url,
            chain_id=contracts.chain_id,
            device_registry=contracts.deployment.device_registry,
            transparency_log=contracts.deployment.transparency_log,
            deploy_block=contracts.deployment.block,
            confirmations=0,
            poll_s=1,
            anchor_every_s=1,
        ),
    )


def register(contracts, *boards):
    owner = address_bytes(contracts.account.address)
    permits = [sign_permit(board, contracts.chain_id, contracts.registry, owner) for board in boards]
    registration.register_batch(contracts.web3, contracts.account, contracts.registry, permits)


def wait_anchor(settings, size, timeout_s=30):
    deadline = time.monotonic() + timeout_s
    with closing(open_database(settings.database, read_only=True)) as connection:
        while True:
            anchor = latest_final_anchor(connection)
            if anchor is not None and anchor.size >= size:
                return anchor
            assert time.monotonic() < deadline, anchor
            time.sleep(0.1)


def test_from_board_to_verified_receipt_over_a_kill_and_a_stop(tmp_path, contracts, embedded_broker):
    settings = make(tmp_path, contracts, embedded_broker.port)
    boards = [TestBoard(number) for number in range(1, 4)]
    register(contracts, *boards[:2])
    gateway = Gateway(settings, tmp_path)
    assert [line.split(": ")[1] for line in gateway.lines] == ["store", "chain", "public files", "broker"]

    client = BoardClient(embedded_broker.port, keyfiles.load_link_key(settings.link.key_file), boards)
    for board in boards[:2]:
        for _ in range(150):
            board.next(readings=2)
    client.deliver(boards[:2])
    wait_anchor(settings, 300)

    # A board that is enrolled while the gateway runs is heard without a restart.
    boards[2].next()
    register(contracts, boards[2])
    client.deliver(boards[2:], resend_s=0.5)
    gateway.process.kill()
    gateway.end(signal.SIGKILL)

    gateway = Gateway(settings, tmp_path)
    for board in boards:
        board.next()
    client.deliver(boards)
    anchor = wait_anchor(settings, 304)
    assert gateway.end(signal.SIGTERM) == 0
    client.close()

    trust = Trust.from_json((settings.public / "trust.json").read_text())
    log_key = keyfiles.load_log_key(settings.log.key_file)
    with closing(open_database(settings.database, read_only=True)) as connection:
        summaries = {board.kid: board for board in queries.boards(connection)}
        assert [summaries[board.kid].statements for board in boards] == [151, 151, 2]
        assert all(board.active and not board.flagged and not board.lost for board in summaries.values())
        for board, seq in [(boards[0], 0), (boards[1], 149), (boards[2], 0), (boards[2], 1)]:
            verdict = verify_offline(receipts.get(connection, log_key, kid=board.kid, seq=seq), trust)
            assert verdict.verified, verdict.checks
            assert verdict.receipt.anchor == anchor
            assert verdict.receipt.statement.raw == board.sent[seq]
        by_index = receipts.get(connection, log_key, index=0)
        assert verify_offline(by_index, trust).receipt.index == 0
        entries = statements.entries(connection, 0, 1_000)
    signed = checkpoint.verify((settings.public / "checkpoint").read_text(), trust.log_id, trust.log_key)
    assert signed.size == 304
    audited = Auditor(DirectorySource(settings.public), trust, web3=contracts.web3).run()
    assert audited.passed and audited.anchored.size == 304
    assert [check.name for check in audited.checks if check.status != "ok"] == ["history"]
    assert (settings.public / tiles.entries_path(0)).read_bytes() == tiles.entry_bundle(entries[:256])
    assert (settings.public / tiles.entries_path(1, 48)).read_bytes() == tiles.entry_bundle(entries[256:])
    assert not (settings.public / (tiles.entries_path(0) + ".p")).exists()


def test_statements_go_on_while_the_chain_is_away_and_anchors_catch_up(tmp_path, embedded_broker, contracts):
    with LocalChain() as chain:
        account = chain.account()
        own = type(contracts)(chain, account, deploy(chain.web3, account))
        settings = make(tmp_path, own, embedded_broker.port, account)
        board = TestBoard(1)
        register(own, board)
        gateway = Gateway(settings, tmp_path)
        client = BoardClient(embedded_broker.port, keyfiles.load_link_key(settings.link.key_file), [board])
        board.next()
        client.deliver([board])
        wait_anchor(settings, 1)
        os.killpg(chain._process.pid, signal.SIGSTOP)
        board.next()
        client.deliver([board])
        time.sleep(1.5)
        board.next()
        client.deliver([board])
        os.killpg(chain._process.pid, signal.SIGCONT)
        wait_anchor(settings, 3, timeout_s=60)
        assert gateway.end(signal.SIGINT) == 0
        client.close()


@pytest.fixture
def gateway_directory(tmp_path, contracts, embedded_broker):
    settings = make(tmp_path / "gateway", contracts, embedded_broker.port)
    previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield settings, tmp_path / "gateway" / "gateway.toml"
    for number, handler in previous.items():
        signal.signal(number, handler)


def test_a_broker_that_starts_after_the_gateway(gateway_directory, embedded_broker, contracts):
    """After a power cut they come up in any order; and the chain, the metrics and the API need no broker."""
    settings, path = gateway_directory
    embedded_broker.stop()
    gateway = Gateway(settings, path.parent)
    try:
        assert gateway.lines[-1] == f"waiting: broker: 127.0.0.1:{embedded_broker.port} is away"
        told = "cannot reach the MQTT broker"
        deadline = time.monotonic() + 20
        while told not in gateway.errors.read_text():
            assert time.monotonic() < deadline
            time.sleep(0.1)
        embedded_broker.start()
        board = TestBoard(1)
        register(contracts, board)
        board.next()
        client = BoardClient(embedded_broker.port, keyfiles.load_link_key(settings.link.key_file), [board])
        client.deliver([board], timeout_s=60)
        client.close()
        assert gateway.errors.read_text().count(told) == 1
    finally:
        assert gateway.end(signal.SIGTERM) == 0


def test_whoever_sees_an_anchor_finds_its_checkpoint(gateway_directory, embedded_broker, contracts):
    settings, path = gateway_directory
    board = TestBoard(1)
    register(contracts, board)
    gateway = Gateway(settings, path.parent)
    client = BoardClient(embedded_broker.port, keyfiles.load_link_key(settings.link.key_file), [board])
    try:
        board.next()
        client.deliver([board])
        anchored = wait_anchor(settings, 1).size
        said = (settings.public / "checkpoint").read_text().splitlines()
        assert int(said[1]) >= anchored, "published long before publish_s has passed"
        client.close()
    finally:
        assert gateway.end(signal.SIGTERM) == 0


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("rpc_url", '"http://127.0.0.1:1/secret-token"', r"127\.0\.0\.1:1"),
        ("chain_id", "1", "chain 31337, not 1"),
        ("transparency_log", f'"0x{"11" * 20}"', r"no contract at 0x1{40}.*chain\.transparency_log"),
        ("device_registry", '""', "empty: run `trigpoint chain deploy --gateway DIR`"),
    ],
)
def test_what_the_operator_must_put_right_is_told_in_one_line(gateway_directory, key, value, message):
    _, path = gateway_directory
    lines = path.read_text().splitlines()
    changed = [f"{key} = {value}" if line.startswith(f"{key} =") else line for line in lines]
    assert changed != lines
    path.write_text("\n".join(changed))
    with pytest.raises(OperatorError, match=message) as raised:
        service.run(config.load(path))
    assert "\n" not in str(raised.value)
    assert "secret-token" not in str(raised.value)


@pytest.mark.parametrize("name", ["log", "link", "chain"])
def test_a_key_file_that_is_unreadable_open_to_others_or_no_key(gateway_directory, name):
    settings, _ = gateway_directory
    path = getattr(settings, name).key_file
    path.chmod(0o644)
    with pytest.raises(OperatorError, match=f"{path.name} can be read by others: run `chmod 600"):
        service.run(settings)
    path.write_bytes(b"not a key")
    path.chmod(0o600)
    with pytest.raises(OperatorError, match=path.name):
        service.run(settings)
    path.unlink()
    with pytest.raises(OperatorError, match=rf"cannot read the key file .*{path.name}: No such file"):
        service.run(settings)


def test_a_data_directory_that_cannot_be_used(gateway_directory):
    settings, _ = gateway_directory
    settings.data.mkdir()
    settings.public.write_text("in the way")
    with pytest.raises(OperatorError, match=r"cannot write to .*public: File exists"):
        service.run(settings)
    settings.public.unlink()
    settings.database.write_bytes(b"not a database" * 100)
    with pytest.raises(OperatorError, match="file is not a database"):
        service.run(settings)


def test_two_gateways_on_one_directory_and_another_log_key(gateway_directory):
    settings, path = gateway_directory
    gateway = Gateway(settings, path.parent)
    with pytest.raises(OperatorError, match="another gateway runs on"):
        service.run(settings)
    assert gateway.end(signal.SIGTERM) == 0
    settings.log.key_file.unlink()
    keyfiles.create_log_key(settings.log.key_file)
    with pytest.raises(OperatorError, match=r"log\.key_file"):
        service.run(settings)


def test_a_listener_that_is_no_broker(gateway_directory, monkeypatch):
    monkeypatch.setattr("trigpoint.ingest.mqtt._FIRST_CONNECTION_S", 1.0)
    settings, _ = gateway_directory
    with socket.create_server(("127.0.0.1", free_port())) as silent:
        silent.settimeout(10)
        held = []
        thread = threading.Thread(target=lambda: held.append(silent.accept()))
        thread.start()
        port = silent.getsockname()[1]
        with pytest.raises(OperatorError, match="no answer in 1 s"):
            service.run(settings.model_copy(update={"broker": settings.broker.model_copy(update={"port": port})}))
        thread.join()
        held[0][0].close()
