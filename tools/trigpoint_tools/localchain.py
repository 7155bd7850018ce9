"""An EVM chain on this machine: Anvil, for the demo, the benchmarks and the tests."""

from __future__ import annotations

import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from eth_account import Account
from eth_account.signers.local import LocalAccount
from trigpoint.chain.client import open_node
from trigpoint.errors import OperatorError
from web3 import Web3

CHAIN_ID: Final = 31337
"""Anvil's chain id."""

_ANVIL = Path(__file__).parents[2] / "contracts" / "node_modules" / ".bin" / "anvil"
_LISTENING = re.compile(r"Listening on 127\.0\.0\.1:(\d+)")
_READY_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 5.0
_ETHER = 10**18


class LocalChain:
    """Runs Anvil on a free loopback port, as a context manager.

    Anvil mines a block for each transaction, and none without, unless `block_time_s` sets a rhythm. Its state is gone
    when it stops.

    Args:
        block_time_s: seconds between two blocks; None for a block at each transaction.

    Attributes:
        url: the JSON-RPC endpoint, once started.
        web3: a client of it.

    Raises:
        OperatorError: when started, if Anvil is not installed or does not come up.
    """

    def __init__(self, *, block_time_s: int | None = None) -> None:
        self._block_time_s = block_time_s
        self._process: subprocess.Popen[str] | None = None
        self.url = ""
        self.web3: Web3

    def __enter__(self) -> Self:
        """Start Anvil and return once it answers."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop Anvil."""
        self.stop()

    def start(self, port: int = 0) -> None:
        """Start Anvil and return once it answers. `port` is for coming back where it was; 0 takes a free one."""
        if not _ANVIL.exists():
            raise OperatorError(f"Anvil is not at {_ANVIL}: run make setup")
        command = [str(_ANVIL), "--host", "127.0.0.1", "--port", str(port)]
        if self._block_time_s is not None:
            command += ["--block-time", str(self._block_time_s)]
        # Anvil from npm is a script for node, which setup puts beside this Python. Both script and node start a child,
        # so that a process group of its own is what can be stopped as a whole.
        path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
        self._process = subprocess.Popen(
            command,
            env={**os.environ, "PATH": path},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            self.url = f"http://127.0.0.1:{self._listening_port(self._process)}"
        except BaseException:
            self.stop()
            raise
        self.web3 = open_node(self.url)

    def stop(self) -> None:
        """Stop Anvil and all processes it started. Safe to call twice."""
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
            if not _gone(process, _STOP_TIMEOUT_S):
                os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def account(self, ether: int = 100) -> LocalAccount:
        """Make a new account and give it `ether` whole coins."""
        account: LocalAccount = Account.create()
        self.rpc("anvil_setBalance", account.address, hex(ether * _ETHER))
        return account

    def rpc(self, method: str, *parameters: object) -> Any:
        """Call a method of the node, such as Anvil's own `evm_mine`, and return its result.

        Raises:
            RuntimeError: the node answered with an error.
        """
        response = self.web3.provider.make_request(method, list(parameters))  # type: ignore[arg-type]
        if "error" in response:
            raise RuntimeError(f"{method}: {response['error']}")
        return response["result"]

    def _listening_port(self, process: subprocess.Popen[str]) -> int:
        """Wait for the line that names the port; afterwards keep emptying Anvil's pipe, or it would stop when full."""
        ports: queue.Queue[int | None] = queue.Queue()
        last_lines: list[str] = []

        def read() -> None:
            assert process.stdout is not None
            waiting = True
            for line in process.stdout:
                if waiting:
                    last_lines[:] = [*last_lines[-4:], line.strip()]
                    if found := _LISTENING.search(line):
                        ports.put(int(found[1]))
                        waiting = False
            process.stdout.close()
            ports.put(None)

        threading.Thread(target=read, name="anvil output", daemon=True).start()
        try:
            port = ports.get(timeout=_READY_TIMEOUT_S)
        except queue.Empty:
            port = None
        if port is None:
            said = " / ".join(line for line in last_lines if line) or "nothing"
            raise OperatorError(f"Anvil did not start; it said: {said}. If its installation is broken: make setup")
        return port


def _gone(process: subprocess.Popen[str], timeout_s: float) -> bool:
    """Wait until no process of the group is left."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        process.poll()
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.02)
    return False
