"""`trigpoint log` as a user meets it: a mirror kept over days, a log that forks, a gateway's log exported."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from publishedlog import entries, published
from samples import TRUST
from trigpoint import cli
from trigpoint.log.fork import Fork

LOG = entries(1_000)


@pytest.fixture
def trigpoint(monkeypatch, capsys):
    monkeypatch.delenv("TRIGPOINT_DEBUG", raising=False)
    monkeypatch.delenv("TRIGPOINT_RPC", raising=False)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("NO_COLOR", "1")

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["trigpoint", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            cli.main()
        out, err = capsys.readouterr()
        return int(left.value.code or 0), out, err

    return run


def lay(directory: Path, files: dict[str, bytes]) -> Path:
    for path, data in files.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_bytes(data)
    return directory


def test_a_mirror_over_time_and_the_day_the_log_forks(tmp_path, trigpoint):
    mirror, trust = tmp_path / "mirror", tmp_path / "trust.json"
    trust.write_text(TRUST.to_json())
    code, out, err = trigpoint("log", "audit", lay(tmp_path / "one", published(LOG, 600)), "--trust", trust)
    assert (code, err) == (0, "") and "✓  tree" in out and "600 leaves" in out and "Next: add --mirror" in out
    for day, size in (("one", 600), ("two", 900)):
        log = lay(tmp_path / day, published(LOG, size))
        code, out, err = trigpoint("log", "audit", log, "--trust", trust, "--mirror", mirror)
        assert (code, err) == (0, "") and "GOOD, but not checked" in out
    assert "+300 since the last audit" in out and "It extends the 600 leaves" in out
    assert (mirror / "checkpoint").read_bytes() == published(LOG, 900)["checkpoint"]
    forked = lay(tmp_path / "three", published(entries(950, b"another ", 700)))
    code, out, _ = trigpoint("log", "audit", forked, "--trust", trust, "--mirror", mirror)
    assert code == 1 and "FORKED" in out
    (proof,) = (mirror / "audit").glob("fork-900-950-*.json")
    assert str(proof) in out.replace("\n", "")
    content = json.loads(proof.read_text())
    nodes = [bytes.fromhex(node) for node in content["consistency_proof"]]
    root = bytes.fromhex(content["root_of_newer_at_that_size"])
    fork = Fork(content["older"]["checkpoint"], content["newer"]["checkpoint"], root, nodes)
    assert fork.holds(bytes.fromhex(content["log_id"]), bytes.fromhex(content["log_key"]))
    code, out, _ = trigpoint("log", "audit", forked, "--mirror", mirror, "--json")
    report = json.loads(out)
    assert code == 1 and report["forked"] and not report["passed"] and report["evidence"] == str(proof)
    code, out, _ = trigpoint("log", "audit", tmp_path / "one", "--mirror", mirror)
    assert code == 1 and "went back" in out and "NOT GOOD" in out


def test_a_program_reads_json(tmp_path, trigpoint):
    code, out, err = trigpoint("log", "audit", lay(tmp_path, published(LOG)), "--json")
    report = json.loads(out)
    assert (code, err, report["size"], report["passed"], report["evidence"]) == (0, "", 1_000, True, None)
    assert report["leaves_verified"] == 1_000 and len(report["checks"]) == 7


def test_evidence_without_a_mirror_is_put_here(tmp_path, trigpoint, contracts, monkeypatch):
    """Against the chain a log can be caught at the first look."""
    from trigpoint.chain.abi import TRANSPARENCY_LOG
    from trigpoint.chain.node import address_bytes
    from trigpoint.log import checkpoint
    from trigpoint.wire.trust import Trust

    contracts.send(TRANSPARENCY_LOG, contracts.log, "open", TRUST.log_key)
    log_id = checkpoint.log_id(address_bytes(contracts.account.address), TRUST.log_key)
    trust = Trust(contracts.chain_id, contracts.registry, contracts.log, log_id, TRUST.log_key)
    contracts.send(TRANSPARENCY_LOG, contracts.log, "anchor", log_id, 500, bytes(32), [])
    log = lay(tmp_path / "log", published(LOG, 700, trust))
    (tmp_path / "rpc").write_text(contracts.chain.url + "\n")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    code, out, _ = trigpoint("log", "audit", log, "--rpc-file", tmp_path / "rpc", "--trust", log / "trust.json")
    assert code == 1 and "the chain has another root at 500 leaves" in out.replace("\n", " ").replace("  ", " ")
    assert [path.name.startswith("fork-chain-500-700-") for path in (tmp_path / "here").iterdir()] == [True]
    monkeypatch.setenv("TRIGPOINT_RPC", contracts.chain.url)
    code, out, _ = trigpoint("log", "audit", log, "--json")
    assert json.loads(out)["anchored_size"] == 500


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "no directory nowhere"),
        (["http://user:word@host/"], "holds no password"),
        (["http://127.0.0.1:1/log", "--trust", "none.json"], "cannot read the trust file"),
        (["LOG", "--rpc-file", "none"], "cannot read none"),
        (["LOG", "--rpc-file", "secret"], "does not hold a node's address"),
        (["LOG", "--rpc", "ftp://secret-token"], "not a node's address"),
        (["LOG", "--mirror", "secret"], "cannot write to secret"),
        (["EMPTY"], "no trust.json"),
    ],
)
def test_errors_are_one_line(tmp_path, trigpoint, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    lay(tmp_path / "LOG", published(LOG, 10))
    (tmp_path / "EMPTY").mkdir()
    (tmp_path / "secret").write_text("secret-words of all kinds")
    code, _, err = trigpoint("log", "audit", *arguments)
    assert code == 1 and err.startswith("error: ") and err.count("\n") == 1 and message in err
    assert "secret-words" not in err and "user:word" not in err


def test_export_of_a_gateway(tmp_path, trigpoint):
    gateway, to = tmp_path / "gw", tmp_path / "www"
    assert trigpoint("gateway", "init", gateway, "--no-tls", "--broker", "127.0.0.1:1883")[0] == 0
    code, _, err = trigpoint("log", "export", gateway, to)
    assert code == 1 and "nothing is published" in err
    lay(gateway / "data/public", published(LOG, 300))
    assert trigpoint("log", "export", gateway, to)[0] == 0
    lay(gateway / "data/public", published(LOG, 1_000))
    code, out, err = trigpoint("log", "export", gateway, to)
    assert (code, err) == (0, "") and "1,000 leaves, 700 of them new" in out
    result = json.loads(trigpoint("log", "export", gateway, to, "--json")[1])
    assert (result["size"], result["before"], result["log_id"]) == (1_000, 1_000, TRUST.log_id.hex())
    assert trigpoint("log", "audit", to)[0] == 0
    assert sorted(path.name for path in to.iterdir()) == ["checkpoint", "tile", "trust.json"]
