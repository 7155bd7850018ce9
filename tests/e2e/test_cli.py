"""The command as a user meets it: help, output for people and for programs, errors in one line, exit codes."""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from e2e.receiptfactory import TRUST, make
from trigpoint import cli
from trigpoint.verify import CHECKS


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str


Trigpoint = Callable[..., Done]


@pytest.fixture
def trigpoint(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Trigpoint:
    monkeypatch.delenv("TRIGPOINT_DEBUG", raising=False)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("NO_COLOR", "1")

    def run(*arguments: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["trigpoint", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            cli.main()
        out, err = capsys.readouterr()
        return Done(int(left.value.code or 0), out, err)

    return run


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with receipt.cose, unanchored.cose, relative.cose and trust.json."""
    (tmp_path / "receipt.cose").write_bytes(make().data)
    (tmp_path / "unanchored.cose").write_bytes(make(anchored=False).data)
    (tmp_path / "relative.cose").write_bytes(make(base_time=None).data)
    (tmp_path / "trust.json").write_text(TRUST.to_json())
    return tmp_path


COMMANDS = (
    (),
    ("demo",),
    ("verify",),
    ("receipt",),
    ("receipt", "get"),
    ("receipt", "upgrade"),
    ("log",),
    ("log", "audit"),
    ("log", "export"),
    ("gateway",),
    ("gateway", "init"),
    ("gateway", "run"),
    ("gateway", "config"),
    ("gateway", "doctor"),
    ("gateway", "status"),
    ("gateway", "serve"),
    *(("gateway", "token", name) for name in ("new", "ls", "rm")),
    *(("gateway", "broker", name) for name in ("renew", "add-board", "add-user", "remove", "list")),
    ("chain",),
    ("chain", "deploy"),
    *(("chain", "account", name) for name in ("new", "import", "show")),
    ("board",),
    ("board", "emulate"),
    ("board", "enroll"),
    ("board", "flash"),
    ("board", "ls"),
    ("board", "status"),
    ("board", "sensors"),
    ("board", "logs"),
    ("board", "console"),
    ("board", "update"),
    ("board", "rm"),
)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_explains_itself(trigpoint: Trigpoint, command: tuple[str, ...]) -> None:
    done = trigpoint(*command, "--help")
    assert done.code == 0
    assert "Usage: trigpoint" in done.out
    if len(command) >= 2 or command in {("demo",), ("verify",)}:
        assert "Example" in done.out


def test_help_names_the_exit_codes_and_every_command(trigpoint: Trigpoint) -> None:
    done = trigpoint("--help")
    assert "Exit codes" in done.out
    assert all(name in done.out for name in ("demo", "verify", "receipt", "log", "gateway", "chain", "board"))


def test_version(trigpoint: Trigpoint) -> None:
    done = trigpoint("--version")
    assert done.code == 0
    assert done.out.startswith("trigpoint ")


@pytest.mark.parametrize(
    "arguments", [("nonsense",), ("verify",), ("verify", "a", "b"), ("receipt", "get", "x", "--seq", "-1")]
)
def test_wrong_use_is_exit_code_2(trigpoint: Trigpoint, arguments: tuple[str, ...]) -> None:
    assert trigpoint(*arguments).code == 2


def test_help_and_verify_start_without_the_heavy_parts() -> None:
    """web3 takes seconds to import, the emulator's parts are optional; neither may be needed to verify offline."""
    heavy = "('web3', 'eth_account', 'paho', 'littlefs', 'iotcore', 'pydantic', 'trigpoint_tools')"
    code = (
        "import sys, trigpoint.cli, trigpoint.verify, trigpoint.commands.verify\n"
        f"sys.exit(sum(name in sys.modules for name in {heavy}))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


class TestVerify:
    def test_a_good_receipt(self, trigpoint: Trigpoint, files: Path) -> None:
        done = trigpoint("verify", files / "receipt.cose", "--trust", files / "trust.json")
        assert done.code == 0
        assert "VERIFIED" in done.out and "NOT VERIFIED" not in done.out
        assert all(f"✓  {name}" in done.out for name in CHECKS)
        assert "-1.50" in done.out and "101234.5" in done.out and "2013-02-07 15:00:00" in done.out
        assert make().kid.hex() in done.out

    def test_without_a_trust_file_it_says_what_it_could_not_check(self, trigpoint: Trigpoint, files: Path) -> None:
        done = trigpoint("verify", files / "receipt.cose")
        assert done.code == 1
        assert "NOT VERIFIED" in done.out
        assert "could not check: log identity, log signature, anchor" in done.out

    def test_without_an_anchor_it_is_not_verified(self, trigpoint: Trigpoint, files: Path) -> None:
        done = trigpoint("verify", files / "unanchored.cose", "--trust", files / "trust.json")
        assert done.code == 1
        assert "could not check: anchor" in done.out

    def test_relative_times_are_shown_as_such(self, trigpoint: Trigpoint, files: Path) -> None:
        done = trigpoint("verify", files / "relative.cose", "--trust", files / "trust.json")
        assert done.code == 0
        assert "7,200 s before signing" in done.out

    def test_json(self, trigpoint: Trigpoint, files: Path) -> None:
        done = trigpoint("verify", files / "receipt.cose", "--trust", files / "trust.json", "--json")
        answer = json.loads(done.out)
        assert done.code == 0
        assert answer["verified"] is True
        assert [check["name"] for check in answer["checks"]] == list(CHECKS)
        assert {check["status"] for check in answer["checks"]} == {"ok"}
        assert answer["statement"]["board"] == make().kid.hex()
        assert answer["statement"]["readings"][0] == {
            "name": "temperature",
            "unit": "Cel",
            "value": "-1.50",
            "mantissa": -150,
            "exponent": -2,
            "time": 1_360_249_200,
            "seconds_before_signing": None,
        }
        assert answer["place"] == {"log_id": TRUST.log_id.hex(), "index": 1, "size": 3}
        assert answer["anchor"]["block"] == 17

    def test_json_of_something_else(self, trigpoint: Trigpoint, files: Path) -> None:
        done = trigpoint("verify", files / "trust.json", "--trust", files / "trust.json", "--json")
        answer = json.loads(done.out)
        assert done.code == 1
        assert answer["verified"] is False
        assert answer["statement"] is answer["anchor"] is None
        assert answer["checks"][0]["name"] == "format"
        assert answer["checks"][0]["status"] == "failed"

    def test_a_changed_byte_is_refused_and_the_check_named(self, trigpoint: Trigpoint, files: Path) -> None:
        data = make().data
        for place in range(0, len(data), 29):
            broken = bytearray(data)
            broken[place] ^= 0x01
            (files / "broken.cose").write_bytes(broken)
            done = trigpoint("verify", files / "broken.cose", "--trust", files / "trust.json")
            assert done.code == 1, place
            assert "failed: " in done.out.splitlines()[-1], place
            assert any(f"✗  {name}" in done.out for name in CHECKS), place

    def test_a_node_that_is_not_there(self, trigpoint: Trigpoint, files: Path) -> None:
        done = trigpoint(
            "verify", files / "receipt.cose", "--trust", files / "trust.json", "--rpc", "http://127.0.0.1:1"
        )
        assert done.code == 1
        assert "could not check: chain" in done.out.splitlines()[-1]

    def test_a_node_without_a_trust_file(self, trigpoint: Trigpoint, files: Path) -> None:
        done = trigpoint("verify", files / "receipt.cose", "--rpc", "http://127.0.0.1:1")
        assert done.code == 1
        assert "anchor on chain" in done.out.splitlines()[-2]
        assert "--trust trust.json" in done.out.splitlines()[-1]

    @pytest.mark.parametrize("rpc", ["", "localhost:8545", "file:///etc/passwd"])
    def test_what_is_no_node_s_address_is_said_and_never_passed_over(
        self, trigpoint: Trigpoint, files: Path, rpc: str
    ) -> None:
        done = trigpoint("verify", files / "receipt.cose", "--trust", files / "trust.json", "--rpc", rpc)
        check_one_line(done, "http://HOST:PORT")

    @pytest.mark.parametrize("missing", ["receipt.cose", "trust.json"])
    def test_a_missing_file_is_one_line(self, trigpoint: Trigpoint, files: Path, missing: str) -> None:
        (files / missing).unlink()
        done = trigpoint("verify", files / "receipt.cose", "--trust", files / "trust.json")
        check_one_line(done, missing)

    @pytest.mark.parametrize("text", ["", "{}", "\xff", "[" * 4000, '{"chain_id": 1}', "x" * 100_000])
    def test_a_broken_trust_file_is_one_line(self, trigpoint: Trigpoint, files: Path, text: str) -> None:
        (files / "trust.json").write_bytes(text.encode("latin-1"))
        done = trigpoint("verify", files / "receipt.cose", "--trust", files / "trust.json")
        check_one_line(done, "trust.json")

    def test_text_of_a_file_is_never_markup(self, trigpoint: Trigpoint, files: Path) -> None:
        """A unit may hold brackets; they must come out as they are and not colour the screen."""
        from cryptography.hazmat.primitives.asymmetric import ec
        from e2e.receiptfactory import READINGS
        from trigpoint.commands.verify import _readings
        from trigpoint.wire.keys import sign
        from trigpoint.wire.statement import build, parse

        key = ec.derive_private_key(5, ec.SECP256R1())
        raw = build(
            kid=bytes(32),
            seq=0,
            prev=bytes(32),
            oldest=0,
            base_time=1_360_249_200,
            readings=[READINGS[0]._replace(unit="[red]x[/red]")],
            sign=lambda message: sign(key, message),
        )
        from rich.console import Console

        console = Console(width=80, record=True, file=(files / "out").open("w"))
        console.print(_readings(parse(raw)))
        assert "[red]x[/red]" in console.export_text()


class TestGateway:
    def test_init_makes_a_directory_that_loads(self, trigpoint: Trigpoint, tmp_path: Path) -> None:
        done = trigpoint("gateway", "init", tmp_path / "gw", "--broker", "127.0.0.1:1883", "--no-tls", "--json")
        answer = json.loads(done.out)
        assert done.code == 0
        assert set(answer) == {"config", "keys_made", "account", "link_key", "broker"}
        assert len(answer["keys_made"]) == 3
        assert len(bytes.fromhex(answer["link_key"])) == 64
        assert all(Path(path).stat().st_mode & 0o777 == 0o600 for path in answer["keys_made"])

    def test_init_keeps_a_key_that_is_there(self, trigpoint: Trigpoint, tmp_path: Path) -> None:
        keys = tmp_path / "gw" / "keys"
        keys.mkdir(parents=True)
        (keys / "chain.key").write_text("11" * 32)
        (keys / "chain.key").chmod(0o600)
        answer = json.loads(trigpoint("gateway", "init", tmp_path / "gw", "--json").out)
        assert answer["account"] == "0x19E7E376E7C213B7E7e7e46cc70A5dD086DAff2A"
        assert (keys / "chain.key").read_text() == "11" * 32

    def test_init_twice_is_refused(self, trigpoint: Trigpoint, tmp_path: Path) -> None:
        trigpoint("gateway", "init", tmp_path / "gw")
        check_one_line(trigpoint("gateway", "init", tmp_path / "gw"), "exists already")

    @pytest.mark.parametrize("broker", ["localhost", ":1883", "h:0", "h:65536", "h:x", "h:"])
    def test_init_with_a_broken_address(self, trigpoint: Trigpoint, tmp_path: Path, broker: str) -> None:
        check_one_line(trigpoint("gateway", "init", tmp_path / "gw", "--broker", broker), "HOST:PORT")

    def test_init_with_a_certificate_that_is_not_there(self, trigpoint: Trigpoint, tmp_path: Path) -> None:
        check_one_line(trigpoint("gateway", "init", tmp_path / "gw", "--ca", tmp_path / "no.pem"), "no.pem")
        assert not (tmp_path / "gw").exists()

    def test_init_says_what_comes_next(self, trigpoint: Trigpoint, tmp_path: Path) -> None:
        done = trigpoint("gateway", "init", tmp_path / "my gw")
        steps = done.out[done.out.index("Next:") :].splitlines()[1:]
        assert [step.split(". ", 1)[1].split("   ")[0] for step in steps[2:]] == [
            f"trigpoint chain deploy --gateway '{tmp_path / 'my gw'}'",
            f"trigpoint gateway doctor '{tmp_path / 'my gw'}'",
            f"trigpoint gateway run '{tmp_path / 'my gw'}'",
        ]

    def test_run_without_a_gateway(self, trigpoint: Trigpoint, tmp_path: Path) -> None:
        check_one_line(trigpoint("gateway", "run", tmp_path), "gateway init")


class TestOthers:
    @pytest.mark.parametrize("choice", [("--seq", 1), ("--board", "ab", "--index", 1)])
    def test_receipt_get_with_half_a_choice(self, trigpoint: Trigpoint, tmp_path: Path, choice: tuple[object]) -> None:
        check_one_line(trigpoint("receipt", "get", tmp_path, *choice), "--board ID")

    def test_receipt_get_from_an_empty_log(self, trigpoint: Trigpoint, tmp_path: Path) -> None:
        from trigpoint.store.writer import Writer

        trigpoint("gateway", "init", tmp_path / "gw")
        (tmp_path / "gw" / "data").mkdir()
        Writer(tmp_path / "gw" / "data" / "trigpoint.db").close()
        check_one_line(trigpoint("receipt", "get", tmp_path / "gw"), "nothing is stored yet")

    def test_deploy_without_a_key(self, trigpoint: Trigpoint, tmp_path: Path) -> None:
        arguments = ("--rpc", "http://127.0.0.1:1", "--key-file", tmp_path / "no.key")
        check_one_line(trigpoint("chain", "deploy", *arguments), "no.key")

    def test_deploy_to_a_node_that_is_not_there(self, trigpoint: Trigpoint, tmp_path: Path) -> None:
        (tmp_path / "chain.key").write_text("11" * 32)
        (tmp_path / "chain.key").chmod(0o600)
        arguments = ("--rpc", "http://127.0.0.1:1", "--key-file", tmp_path / "chain.key")
        check_one_line(trigpoint("chain", "deploy", *arguments), "127.0.0.1:1")

    def test_deploy_for_a_gateway_asks_the_node_and_the_account_of_its_configuration(
        self, trigpoint: Trigpoint, tmp_path: Path
    ) -> None:
        trigpoint("gateway", "init", tmp_path / "gw", "--rpc", "http://127.0.0.1:1")
        check_one_line(trigpoint("chain", "deploy", "--gateway", tmp_path / "gw"), "http://127.0.0.1:1")

    @pytest.mark.parametrize("options", [(), ("--rpc", "http://127.0.0.1:1"), ("--key-file", "chain.key")])
    def test_deploy_for_nobody_wants_node_and_account(self, trigpoint: Trigpoint, options: tuple[str, ...]) -> None:
        check_one_line(trigpoint("chain", "deploy", *options), "--gateway DIR")

    def test_a_board_cannot_live_in_a_file(self, trigpoint: Trigpoint, tmp_path: Path) -> None:
        trigpoint("gateway", "init", tmp_path / "gw", "--world-speed", "3600")
        (tmp_path / "b").touch()
        check_one_line(trigpoint("board", "emulate", tmp_path / "b", "--gateway", tmp_path / "gw"), "is a file")

    def test_the_demo_says_how_to_call_the_command_from_here(self, tmp_path: Path) -> None:
        from trigpoint.commands.demo import _own_name

        installed = tmp_path / ".venv" / "bin" / "trigpoint"
        installed.parent.mkdir(parents=True)
        installed.touch()
        assert _own_name(installed, tmp_path) == ".venv/bin/trigpoint"
        assert _own_name(Path(".venv/bin/trigpoint"), tmp_path) == ".venv/bin/trigpoint"
        assert _own_name(installed, tmp_path / "elsewhere") == "trigpoint"

    def test_an_emulated_board_needs_an_emulated_world(self, trigpoint: Trigpoint, tmp_path: Path) -> None:
        trigpoint("gateway", "init", tmp_path / "gw")
        check_one_line(trigpoint("board", "emulate", tmp_path / "b", "--gateway", tmp_path / "gw"), "--world-speed")

    def test_a_board_is_not_enrolled_before_there_is_a_contract(self, trigpoint: Trigpoint, tmp_path: Path) -> None:
        trigpoint("gateway", "init", tmp_path / "gw", "--world-speed", "3600")
        check_one_line(trigpoint("board", "enroll", tmp_path / "b", "--gateway", tmp_path / "gw"), "chain deploy")

    def test_demo_does_not_remove_what_is_not_its_own(self, trigpoint: Trigpoint, tmp_path: Path) -> None:
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "precious").touch()
        check_one_line(trigpoint("demo", "--directory", tmp_path), "choose another folder")
        assert (tmp_path / "run" / "precious").exists()

    def test_a_second_demo_leaves_the_first_alone(self, trigpoint: Trigpoint, tmp_path: Path) -> None:
        marker = tmp_path / "run" / "made-by-trigpoint-demo"
        marker.parent.mkdir()
        with marker.open("w") as first:
            fcntl.flock(first, fcntl.LOCK_EX)
            check_one_line(trigpoint("demo", "--directory", tmp_path), "another demo runs")
        assert marker.exists()

    def test_debug_shows_the_traceback(self, tmp_path: Path) -> None:
        command = [sys.executable, "-m", "trigpoint", "--debug", "gateway", "run", str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert "Traceback" in done.stderr


def check_one_line(done: Done, *words: str) -> None:
    assert done.code == 1
    assert done.out == ""
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1
    assert all(word in done.err for word in words), done.err


def test_an_unexpected_error_asks_for_a_report() -> None:
    assert cli.one_line(ZeroDivisionError("division\nby zero")) == (
        "unexpected ZeroDivisionError: division by zero; please report it with the output of `trigpoint --debug ...`"
    )
