"""The demo's last act: receipts fetched and verified by the commands that a user has, and broken ones refused."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trigpoint.errors import OperatorError
from trigpoint.verify import verify_offline
from trigpoint.wire.trust import Trust

_TIMEOUT_S = 60


def command(*arguments: str) -> tuple[int, str, str]:
    """Run `trigpoint` as a user does; return exit code, output and errors."""
    done = subprocess.run(
        [sys.executable, "-m", "trigpoint", *arguments],
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
        start_new_session=True,
    )
    return done.returncode, done.stdout, done.stderr


def fetch(gateway: Path, kid: bytes, file: Path) -> dict[str, Any]:
    """Have the newest anchored receipt of a board written to a file; return what the command says of it.

    Raises:
        OperatorError: there is none.
    """
    code, out, err = command("receipt", "get", str(gateway), "--board", kid.hex(), "--output", str(file), "--json")
    if code:
        raise OperatorError(f"no receipt of board {kid.hex()[:8]}: {err.strip()}")
    answer: dict[str, Any] = json.loads(out)
    return answer


def verifies(file: Path, trust: Path, rpc: str | None) -> str | None:
    """Verify a receipt by the command; return None if it holds, else what the command says."""
    online = ("--rpc", rpc) if rpc else ()
    code, out, err = command("verify", str(file), "--trust", str(trust), "--json", *online)
    if code == 0:
        return None
    try:
        wrong = [
            f"{check['name']}: {check['detail']}" for check in json.loads(out)["checks"] if check["status"] != "ok"
        ]
    except ValueError:
        return err.strip()
    return "; ".join(wrong)


def refused_flips(data: bytes, trust: Trust, step: Callable[[int], int] = lambda _: 1) -> tuple[int, int]:
    """Change each byte of a receipt in turn; return how many were tried, and how many the verifier refused by name."""
    refused = 0
    for place in range(len(data)):
        broken = bytearray(data)
        broken[place] ^= step(place)
        verdict = verify_offline(bytes(broken), trust)
        refused += not verdict.verified and any(check.status == "failed" for check in verdict.checks)
    return len(data), refused
