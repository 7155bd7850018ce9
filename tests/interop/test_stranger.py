"""The stranger's verifier agrees with ours on every file: good, forged, mutated."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import stranger
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import TRUST, build_receipt, build_statement, mutated, statement_fields
from trigpoint.verify import verify_offline

FILE = build_receipt(build_statement())
KNOWN: dict[str, Any] = json.loads(TRUST.to_json())


def agree(data: bytes) -> bool:
    """Compare check by check; what we skip, the stranger does not hold to be true."""
    ours = verify_offline(data, TRUST)
    theirs, _ = stranger.verify(data, KNOWN)
    assert {check.name: check.status == "ok" for check in ours.checks} == theirs
    return ours.verified


def test_it_is_a_stranger() -> None:
    source = Path(stranger.__file__).read_text(encoding="utf-8")
    assert "import trigpoint" not in source and "from trigpoint" not in source
    probe = "import sys, stranger; print({name.split('.')[0] for name in sys.modules} & {'trigpoint', 'cbor2'})"
    folder = str(Path(stranger.__file__).parent)
    done = subprocess.run([sys.executable, "-c", probe], cwd=folder, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@settings(max_examples=60)
@given(statement_fields(), st.integers(0, 300), st.integers(0, 300), st.booleans())
def test_generated_files(fields: dict[str, object], before: int, after: int, anchored: bool) -> None:
    raw = build_statement(**fields)
    if len(raw) <= 4096:
        assert agree(build_receipt(raw, before=before, after=after, anchored=anchored)) == anchored


@settings(max_examples=300)
@given(mutated(st.sampled_from([FILE, build_receipt(build_statement(), anchored=False)])))
def test_mutated_files(data: bytes) -> None:
    assert agree(data) == (data == FILE)


def test_every_flipped_bit() -> None:
    for at in range(len(FILE)):
        for bit in range(8):
            assert not agree(FILE[:at] + bytes((FILE[at] ^ 1 << bit,)) + FILE[at + 1 :])


@given(st.binary(max_size=200))
def test_random_bytes(data: bytes) -> None:
    assert not agree(data)


def test_as_a_program(tmp_path: Path) -> None:
    receipt, trust, other = tmp_path / "receipt.cose", tmp_path / "trust.json", tmp_path / "other.json"
    receipt.write_bytes(FILE)
    trust.write_text(TRUST.to_json())
    other.write_text(replace(TRUST, chain_id=1).to_json())
    program = [sys.executable, stranger.__file__, str(receipt)]
    done = subprocess.run([*program, str(trust)], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "temperature 2150e-2 Cel at 1700000000" in done.stdout
    assert subprocess.run([*program, str(other)], capture_output=True, check=False).returncode == 1
    assert subprocess.run(program, capture_output=True, check=False).returncode == 1


@pytest.mark.parametrize("name", ["log_id", "log_key"])
def test_another_log(name: str) -> None:
    theirs, _ = stranger.verify(FILE, {**KNOWN, name: "00" * 32})
    assert [check for check, holds in theirs.items() if not holds] == [
        "log identity" if name == "log_id" else "log signature"
    ]
