"""The demo's last act: receipts fetched and verified as a user does, and broken ones refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from trigpoint.commands.receipt import issue
from trigpoint.commands.verify import examine
from trigpoint.config import Config
from trigpoint.verify import verify_offline
from trigpoint.wire.trust import Trust

_TIMEOUT_S = 60


def command(*arguments: str) -> tuple[int, str]:
    """Run `trigpoint` as a user does; return exit code, and output and errors together."""
    done = subprocess.run(
        [sys.executable, "-m", "trigpoint", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
        start_new_session=True,
    )
    return done.returncode, done.stdout


def fetch_and_verify(config: Config, kid: bytes, file: Path, trust: Path, rpc: str) -> list[str]:
    """Have a board's newest anchored receipt written to a file and examined, by what the commands are made of.

    Returns:
        What does not hold; nothing if all does.
    """
    file.write_bytes(issue(config, kid.hex()).data)
    found = examine(file, trust, rpc)
    return [f"{check.name}: {check.detail}" for check in found.checks if check.status != "ok"]


def refused_flips(data: bytes, trust: Trust) -> tuple[int, int]:
    """Change each byte of a receipt in turn; return how many were tried, and how many the verifier refused by name."""
    refused = 0
    for place in range(len(data)):
        broken = bytearray(data)
        broken[place] ^= 1
        verdict = verify_offline(bytes(broken), trust)
        refused += not verdict.verified and any(check.status == "failed" for check in verdict.checks)
    return len(data), refused
