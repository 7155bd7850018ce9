"""`trigpoint chain account`: keys come from files, prompts and standard input, and leave only into files."""

import io
import json
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from eth_account import Account
from trigpoint import cli, keyfiles
from trigpoint.chain.keys import load_account

KEY = "11" * 32
ADDRESS = Account.from_key("0x" + KEY).address
PASSPHRASE = "correct horse battery staple"

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.delenv("TRIGPOINT_DEBUG", raising=False)

    def go(*arguments: object, typed: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["trigpoint", "chain", "account", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        with pytest.raises(SystemExit) as left:
            cli.main()
        out, err = capsys.readouterr()
        assert KEY not in out + err and PASSPHRASE not in out + err
        return int(left.value.code or 0), out, err

    return go


@pytest.fixture
def passphrase(tmp_path: Path) -> Path:
    keyfiles.write_private(tmp_path / "passphrase", PASSPHRASE.encode())
    return tmp_path / "passphrase"


@pytest.mark.parametrize("encrypt", [True, False], ids=["keystore", "plain"])
def test_a_new_account(run: Run, tmp_path: Path, passphrase: Path, encrypt: bool) -> None:
    options = ("--encrypt", "--passphrase-file", passphrase) if encrypt else ()
    code, out, _ = run("new", tmp_path / "k", *options, "--json")
    assert code == 0
    assert stat.S_IMODE((tmp_path / "k").stat().st_mode) == 0o600
    assert load_account(tmp_path / "k", passphrase).address == json.loads(out)["account"]
    before = (tmp_path / "k").read_bytes()
    code, _, err = run("new", tmp_path / "k")
    assert code == 1 and "never overwritten" in err and (tmp_path / "k").read_bytes() == before


def test_an_account_is_imported_and_encrypted(run: Run, tmp_path: Path, passphrase: Path) -> None:
    code, out, _ = run("import", tmp_path / "plain", typed=f"0x{KEY}\n")
    assert code == 0 and ADDRESS in out
    code, _, _ = run(
        "import", tmp_path / "k", "--from", tmp_path / "plain", "--encrypt", "--passphrase-file", passphrase
    )
    assert code == 0
    assert load_account(tmp_path / "k", passphrase).address == ADDRESS
    code, _, _ = run("import", tmp_path / "again", "--from", tmp_path / "k", "--from-passphrase-file", passphrase)
    assert code == 0 and (tmp_path / "again").read_text().strip() == KEY


@pytest.mark.parametrize(
    ("arguments", "typed", "said"),
    [
        (("import", "k"), "not a key", "that is no private key"),
        (("import", "k"), "11" * 31, "that is no private key"),
        (("import", "k"), "00" * 32, "that is no private key"),
        (("import", "k", "--from", "missing"), "", "cannot read the key file"),
        (("new", "k", "--encrypt"), "", "nobody to ask for a passphrase"),
        (("new", "k", "--passphrase-file", "passphrase"), "", "add --encrypt"),
        (("new", "missing/k"), "", "cannot write"),
    ],
)
def test_what_goes_wrong_is_told_in_one_line(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, arguments: tuple[str, ...], typed: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = run(*arguments, typed=typed)
    assert code == 1
    assert said in err and err.count("\n") == 1
    assert not (tmp_path / "k").exists()
