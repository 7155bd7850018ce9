"""`trigpoint gateway init`, `config`, `broker`, `doctor` and `status`, as an operator meets them."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from anvil import Contracts
from brokers import MOSQUITTO, RunningBroker, free_port
from statements import TestBoard, enrol
from test_cli import Trigpoint, check_one_line, trigpoint
from trigpoint import config, init, keyfiles
from trigpoint.chain.node import Node, address_bytes
from trigpoint.chain.presets import BY_NAME
from trigpoint.clock import SystemClock
from trigpoint.ingest.mqtt import Session
from trigpoint.lock import only_one
from trigpoint.store.writer import Writer

__all__ = ["trigpoint"]

BOARD, OWNER = "ab" * 32, "0x" + "cD" * 20
Gateway = Callable[..., Path]


@pytest.fixture
def gateway(trigpoint: Trigpoint, tmp_path: Path) -> Gateway:
    """Makes a gateway's directory."""

    def make(*options: str) -> Path:
        done = trigpoint("gateway", "init", tmp_path / "gw", "--yes", *options)
        assert done.code == 0, done.err
        return tmp_path / "gw"

    return make


class TestInit:
    @pytest.mark.parametrize("name", BY_NAME)
    def test_each_chain_brings_what_suits_it(self, gateway: Gateway, name: str) -> None:
        made, preset = config.load(gateway("--chain", name) / "gateway.toml").chain, BY_NAME[name]
        assert (made.chain_id, made.rpc_url, made.confirmations, made.max_fee_gwei, made.max_spend_per_day) == (
            preset.chain_id,
            preset.rpc_url,
            preset.confirmations,
            preset.max_fee_gwei,
            preset.max_spend_per_day,
        )

    def test_options_count_more_than_the_chains_own(self, gateway: Gateway) -> None:
        options = ("--chain", "base", "--rpc", "http://node:1", "--confirmations", "7", "--anchor-every", "60")
        made = config.load(gateway(*options) / "gateway.toml")
        assert (made.chain.rpc_url, made.chain.confirmations, made.anchor.every_s) == ("http://node:1", 7, 60)

    def test_the_broker_comes_with_it(self, gateway: Gateway) -> None:
        place = gateway("--broker", "broker.example:8884", "--broker-name", "10.0.0.7")
        made = config.load(place / "gateway.toml").broker
        assert (made.host, made.port, made.username) == ("broker.example", 8884, "gateway")
        assert made.ca == place / "broker" / "ca.pem" and made.ca.exists()
        assert made.password_file is not None and made.password_file.exists()
        assert made.for_gateway().port == 8885 and made.for_gateway().host == "broker.example"
        listeners = (place / "broker" / "mosquitto.conf").read_text()
        assert "listener 8884\n" in listeners and "listener 8885\n" in listeners
        assert "broker.example, 10.0.0.7" in (place / "broker" / "README.md").read_text()

    @pytest.mark.parametrize(
        "options", [(), ("--owner", "own"), ("--owner", OWNER, "--owner", "own"), ("--owner", "all")]
    )
    def test_whose_boards_it_serves(self, trigpoint: Trigpoint, tmp_path: Path, options: tuple[str, ...]) -> None:
        done = trigpoint("gateway", "init", tmp_path / "gw", "--json", *options)
        own = json.loads(done.out)["account"]
        expected = {0: (own,), 2: () if "all" in options else (own,), 4: (OWNER, own)}[len(options)]
        assert config.load(tmp_path / "gw" / "gateway.toml").ingest.owners == expected

    def test_two_gateways_have_names_of_their_own(self, gateway: Gateway, trigpoint: Trigpoint, tmp_path: Path) -> None:
        first = config.load(gateway() / "gateway.toml").broker.client_id
        trigpoint("gateway", "init", tmp_path / "other", "--yes")
        assert config.load(tmp_path / "other" / "gateway.toml").broker.client_id != first

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            (("--chain", "mars"), "no chain that we know"),
            (("--chain", "base", "--chain-id", "1"), "Base has the id 8453, not 1"),
            (("--chain-id", "99999999"), "name one with --rpc"),
            (("--mosquitto", "--no-tls"), "leave out --ca and --no-tls"),
            (("--rpc", "node:8545"), "chain.rpc_url is wrong"),
            (("--owner", "all", "--owner", OWNER), "'all' is no owner"),
            (("--owner", "me"), "'me' is no owner: give own, all, or addresses"),
            (("--anchor-every", "0"), "anchor.every_s is wrong"),
            (("--chain-id", "0", "--rpc", "http://node"), "chain.chain_id is wrong"),
        ],
    )
    def test_what_cannot_be(self, trigpoint: Trigpoint, tmp_path: Path, options: tuple[str, ...], said: str) -> None:
        check_one_line(trigpoint("gateway", "init", tmp_path / "gw", "--yes", *options), said)
        assert not (tmp_path / "gw").exists()

    def test_at_a_terminal_it_asks_and_explains(self, tmp_path: Path) -> None:
        place = tmp_path / "gw"
        answers = ["pi.local", "pi.local:8883", "perhaps", "y", "mars", "base-sepolia", "", "mine", "", "0", "86400"]
        shown = at_a_terminal(["gateway", "init", str(place), "--confirmations", "3"], answers)
        for words in (
            "Where is the MQTT broker?",
            "HOST:PORT",
            "'mars' is not in the list",
            "'mine' is no owner",
            "at least 1",
            "Next:",
        ):
            assert words in shown
        made = config.load(place / "gateway.toml")
        assert (made.broker.host, made.chain.chain_id, made.chain.confirmations) == ("pi.local", 84532, 3)
        assert (made.chain.rpc_url, made.anchor.every_s) == (BY_NAME["base-sepolia"].rpc_url, 86_400)


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def at_a_terminal(arguments: list[str], answers: list[str]) -> str:
    """Run the command in a terminal of its own, give each answer once it asks, and return all that was shown."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "trigpoint", *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"},
        start_new_session=True,
    )
    os.close(theirs)
    shown, left, deadline = "", list(answers), time.monotonic() + 60
    while time.monotonic() < deadline:
        if not select.select([ours], [], [], 0.2)[0]:
            continue
        try:
            data = os.read(ours, 4096)
        except OSError:  # it has left
            break
        shown += data.decode(errors="replace")
        if left and shown.endswith("]: "):
            os.write(ours, f"{left.pop(0)}\n".encode())
    os.close(ours)
    assert process.wait(20) == 0, shown
    assert not left, shown
    return shown


class TestConfig:
    def test_what_is_printed_can_be_put_in_the_files_place(self, trigpoint: Trigpoint, gateway: Gateway) -> None:
        place = gateway()
        before = config.load(place / "gateway.toml")
        printed = trigpoint("gateway", "config", place).out
        (place / "gateway.toml").write_text(printed)
        assert config.load(place / "gateway.toml") == before
        assert json.loads(trigpoint("gateway", "config", place, "--json").out)["broker"]["port"] == 8883

    def test_a_token_is_not_printed(self, trigpoint: Trigpoint, gateway: Gateway) -> None:
        place = gateway("--rpc", "https://node.example/v2/s3cret")
        assert "s3cret" in (place / "gateway.toml").read_text()
        assert "s3cret" not in trigpoint("gateway", "config", place).out
        assert "s3cret" not in trigpoint("gateway", "config", place, "--json").out


class TestBroker:
    def test_a_board_comes_and_goes(self, trigpoint: Trigpoint, gateway: Gateway) -> None:
        place = gateway()
        answer = json.loads(trigpoint("gateway", "broker", "add-board", place, BOARD.upper(), "--json").out)
        password = Path(answer["password_file"]).read_text().strip()
        again = trigpoint("gateway", "broker", "add-board", place, BOARD)
        assert "systemctl reload mosquitto" in again.out
        assert password not in again.out
        listed = trigpoint("gateway", "broker", "list", place).out.split()
        assert listed == [BOARD, "gateway", "owner"]
        trigpoint("gateway", "broker", "remove", place, BOARD)
        assert BOARD not in json.loads(trigpoint("gateway", "broker", "list", place, "--json").out)

    def test_what_init_writes_fits_together(self, trigpoint: Trigpoint, gateway: Gateway, tmp_path: Path) -> None:
        """Configuration, certificate, passwords and both ports, in a real Mosquitto, and what the doctor says of it."""
        if MOSQUITTO is None:
            pytest.skip("Mosquitto is not installed (apt-get install mosquitto)")
        port = next(port for port in (free_port() for _ in range(50)) if is_free(port + 1))
        place = gateway("--broker", f"localhost:{port}", "--rpc", "http://127.0.0.1:9")
        text = (
            (place / "broker" / "mosquitto.conf").read_text().replace("/etc/mosquitto/trigpoint", str(place / "broker"))
        )
        text = text.replace("persistence true", "persistence false") + f"\nuser {os.environ.get('USER', 'root')}\n"
        (tmp_path / "mosquitto.conf").write_text(text)
        command = [MOSQUITTO, "-c", str(tmp_path / "mosquitto.conf")]
        running = RunningBroker("mosquitto", port, command, tmp_path / "mosquitto.log", (port + 1,))
        running.start()
        try:
            answer = json.loads(trigpoint("gateway", "doctor", place, "--json").out)
            settings = config.load(place / "gateway.toml").broker
            session = Session(settings.for_gateway(), SystemClock(), lambda delivery: None, lambda error: None)
            assert session.start()
            session.stop()
        finally:
            running.stop()
        found = {finding["what"]: finding["level"] for finding in answer["findings"] if finding["subject"] == "broker"}
        assert set(found.values()) == {"ok"} and {"for boards", "client ids", "right to write"} <= set(found), found

    def test_wrong_names_are_refused(self, trigpoint: Trigpoint, gateway: Gateway) -> None:
        place = gateway()
        check_one_line(trigpoint("gateway", "broker", "add-board", place, "abc"), "64 hexadecimal digits")
        check_one_line(trigpoint("gateway", "broker", "add-user", place, BOARD), "add-board")

    def test_renewed_and_begun_later(self, trigpoint: Trigpoint, gateway: Gateway) -> None:
        place = gateway("--no-mosquitto")
        check_one_line(trigpoint("gateway", "broker", "add-board", place, BOARD), "broker renew")
        done = trigpoint("gateway", "broker", "renew", place, "--name", "pi.example")
        assert "pi.example" in done.out and 'password_file = "broker/passwords/gateway"' in done.out
        assert 'gateway_address = "localhost:8884"' in done.out
        certificate = (place / "broker" / "server.pem").read_bytes()
        answer = json.loads(trigpoint("gateway", "broker", "renew", place, "--json").out)
        assert answer["new_authority"] is False and "pi.example" in answer["names"]
        assert (place / "broker" / "server.pem").read_bytes() != certificate


class TestDoctor:
    def test_a_gateway_that_has_nothing_yet(self, trigpoint: Trigpoint, gateway: Gateway) -> None:
        place = gateway("--rpc", "http://127.0.0.1:9", "--broker", "127.0.0.1:9")
        done = trigpoint("gateway", "doctor", place)
        assert done.code == 1
        assert "✓ keys" in done.out and "✗ broker" in done.out and "✗ chain" in done.out
        assert "→" in done.out and "things do not work" in done.out
        assert "DIR" not in done.out
        answer = json.loads(trigpoint("gateway", "doctor", place, "--json").out)
        assert answer["well"] is False
        assert {"keys", "clock", "database", "disk", "broker", "chain", "boards", "service"} == {
            finding["subject"] for finding in answer["findings"]
        }
        assert all(finding["remedy"] for finding in answer["findings"] if finding["level"] in ("warn", "fail"))


class TestStatus:
    def test_before_the_first_run(self, trigpoint: Trigpoint, gateway: Gateway) -> None:
        done = trigpoint("gateway", "status", gateway(), "--once")
        assert done.code == 0
        said = " ".join(done.out.split())  # a long path breaks the line
        assert "stopped" in said and "has not run yet" in said

    def test_boards_and_anchors(self, trigpoint: Trigpoint, gateway: Gateway) -> None:
        place, boards = gateway(), [TestBoard(number) for number in (1, 2, 3)]
        now_ms = time.time_ns() // 1_000_000
        settings = config.load(place / "gateway.toml")
        settings.data.mkdir()
        with Writer(settings.database) as writer:
            writer.submit(lambda connection: enrol(connection, *boards))
            rows = [(leaf, 1 + leaf % 2, leaf // 2, now_ms - 5_000, boards[leaf % 2].next()) for leaf in range(6)]
            insert = "INSERT INTO statements VALUES (?, ?, ?, ?, ?)"
            writer.submit(lambda connection: connection.executemany(insert, rows))
            anchor = (
                "INSERT INTO transactions (chain_id, contract, purpose, size, root, state, sender, hash, block,"
                " block_hash, prepared_ms) VALUES (1, zeroblob(20), 'anchor', 4, zeroblob(32), 'final', zeroblob(20),"
                f" zeroblob(32), 77, zeroblob(32), {now_ms - 7_200_000})"
            )
            ended = "UPDATE boards SET flagged = 1, active_until = 5 WHERE number = 2"
            for change in (ended, anchor, "INSERT INTO counters VALUES ('signature', 9)"):
                writer.submit(lambda connection, change=change: connection.execute(change))
        shown = trigpoint("gateway", "status", place, "--once").out
        for words in ("○ stopped", "2 active of 3", boards[0].kid.hex()[:16], "cloned key", "never"):
            assert words in shown
        assert re.search(r"\b([5-9]|[1-5]\d) s ago", shown)
        for words in ("4, 2 to go", "9 (signature 9)", "final", "77", "2 h ago"):
            assert words in shown
        answer = json.loads(trigpoint("gateway", "status", place, "--json").out)
        assert answer["running"] is False and answer["leaves"] == 6 and answer["final_size"] == 4
        assert [board["statements"] for board in answer["boards"]] == [3, 3, 0]
        with only_one(settings.data):
            assert "● running" in trigpoint("gateway", "status", place, "--once").out


class TestChain:
    """On a real chain that the gateway's account can pay on."""

    @pytest.fixture
    def funded(self, gateway: Gateway, contracts: Contracts) -> Path:
        place = gateway("--rpc", contracts.chain.url, "--no-tls")
        account = contracts.chain.account()
        key = place / "keys" / "chain.key"
        key.unlink()
        keyfiles.write_private(key, account.key.hex().removeprefix("0x").encode())
        return place

    def test_contracts_that_the_chain_forgot_are_replaced(
        self, trigpoint: Trigpoint, funded: Path, contracts: Contracts
    ) -> None:
        """A local chain that was started anew knows nothing: the hint leads to this command, and it has to go on."""
        init.record_contracts(funded / "gateway.toml", "0x" + "11" * 20, "0x" + "22" * 20, 3)
        done = trigpoint("chain", "deploy", "--gateway", funded)
        assert done.code == 0, done.err
        made = config.load(funded / "gateway.toml").chain
        assert Node(contracts.web3).has_code(address_bytes(made.device_registry))
        check_one_line(trigpoint("chain", "deploy", "--gateway", funded), "names contracts that are on the chain")

    def test_a_log_that_was_anchored_there_is_not_lost_on_the_way(self, trigpoint: Trigpoint, funded: Path) -> None:
        settings = init.record_contracts(funded / "gateway.toml", "0x" + "11" * 20, "0x" + "22" * 20, 3)
        settings.data.mkdir()
        with Writer(settings.database) as writer:
            writer.submit(
                lambda connection: connection.execute(
                    "INSERT INTO transactions (chain_id, contract, purpose, size, root, state, sender, hash, block,"
                    " block_hash, prepared_ms) VALUES (1, zeroblob(20), 'anchor', 4, zeroblob(32), 'final',"
                    " zeroblob(20), zeroblob(32), 77, zeroblob(32), 1)"
                )
            )
        check_one_line(trigpoint("chain", "deploy", "--gateway", funded), "make a new gateway")
        assert config.load(funded / "gateway.toml").chain.deploy_block == 3

    def test_the_balance_comes_from_whichever_node_answers(
        self, trigpoint: Trigpoint, funded: Path, contracts: Contracts
    ) -> None:
        path = funded / "gateway.toml"
        text = path.read_text().replace(contracts.chain.url, "http://127.0.0.1:9")
        assert json.loads(self.shown(trigpoint, funded, path, text))["balance"] is None
        text = text.replace(
            "fallback_rpc_urls = []", f'fallback_rpc_urls = ["http://127.0.0.1:9", "{contracts.chain.url}"]'
        )
        assert float(json.loads(self.shown(trigpoint, funded, path, text))["balance"]) > 0

    @staticmethod
    def shown(trigpoint: Trigpoint, place: Path, path: Path, text: str) -> str:
        path.write_text(text)
        return trigpoint("chain", "account", "show", "--gateway", place, "--json").out


class TestToken:
    @pytest.mark.parametrize(
        ("listen", "scope", "said"),
        [
            ("", "readings", "set listen under [api] in"),
            ("127.0.0.1:8701", "readings", "http://127.0.0.1:8701/v1/boards"),
            ("0.0.0.0:8701", "inspect", "http://localhost:8701/v1/rejected"),
            ("[::]:8701", "log", "http://localhost:8701/v1/log"),
        ],
    )
    def test_what_to_do_with_it_can_be_done(
        self, trigpoint: Trigpoint, gateway: Gateway, listen: str, scope: str, said: str
    ) -> None:
        place = gateway()
        path = place / "gateway.toml"
        head, _, tail = path.read_text().partition("[api]\n")
        path.write_text(f"{head}[api]\n" + tail.replace('\nlisten = ""', f'\nlisten = "{listen}"', 1))
        assert f"token new {place} NAME" in trigpoint("gateway", "token", "ls", place).out
        done = trigpoint("gateway", "token", "new", place, "grafana", "--scope", scope)
        assert said in done.err and "HOST:PORT" not in done.err
