"""A gateway under load: the real program with a chain and a broker, and what its processes use."""

from __future__ import annotations

import os
import resource
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from trigpoint import keyfiles
from trigpoint.chain.deploy import deploy
from trigpoint.chain.keys import load_account
from trigpoint.config import Config
from trigpoint.errors import OperatorError
from trigpoint.init import CONFIG_NAME, Answers, create

from trigpoint_tools.demo import processes
from trigpoint_tools.load.publisher import Publisher
from trigpoint_tools.load.statements import BASE_TIME, Supply, register
from trigpoint_tools.localchain import LocalChain

_COIN = 10**20
_READY_TIMEOUT_S = 120.0
_TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Usage:
    """What processes have used until now.

    Attributes:
        cpu_s: seconds of processor time, user and system.
        written: bytes that they caused to be sent to the storage layer, as the kernel accounts them.
        rss_mb: million bytes of resident memory; what several share counts for each.
        pss_mb: likewise, but what n processes share counts an n-th for each.
    """

    cpu_s: float
    written: int
    rss_mb: float
    pss_mb: float


@dataclass
class Site:
    """A gateway, a chain and a broker.

    Attributes:
        config: the gateway's.
        child: the gateway's process.
    """

    config: Config
    child: processes.Child

    def start(self) -> None:
        """Start the gateway and return once it takes statements."""
        log = self.config.data.parent / "gateway.log"
        before = log.stat().st_size if log.exists() else 0
        self.child.start()
        deadline = time.monotonic() + _READY_TIMEOUT_S
        while b"ready: broker" not in log.read_bytes()[before:]:
            self.child.check()
            if time.monotonic() > deadline:
                raise OperatorError(f"the gateway is not ready after {_READY_TIMEOUT_S:.0f} s: read {log}")
            time.sleep(0.05)

    def stop(self) -> int:
        """Stop the gateway, and return how many bytes it has written since it was started.

        The system tells that of ended children all together, so no other may end meanwhile.
        """
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_oublock
        self.child.stop()
        return 512 * (resource.getrusage(resource.RUSAGE_CHILDREN).ru_oublock - before)

    def usage(self) -> Usage:
        """Return what the gateway's processes have used so far, those that have ended included."""
        return usage(self.child.pid)

    def publisher(self, loads: Supply, window: int = 4_000) -> Publisher:
        """Return a connection that sends for the boards."""
        return Publisher(
            self.config.broker.host,
            self.config.broker.port,
            loads,
            keyfiles.load_link_key(self.config.link.key_file),
            window=window,
            client_id=f"load-{time.monotonic_ns()}",
        )


@contextmanager
def make(directory: Path, loads: Supply, *, speed: int = 1) -> Iterator[Site]:
    """Build all that a gateway needs on free loopback ports, with the supply's boards registered, and end it again.

    The gateway is not started yet. The boards stand in its mirror of the registry and not on the chain: to register
    thousands there would take longer than what is to be measured.

    Args:
        directory: an empty one.
        loads: whose boards are registered.
        speed: the gateway lives in a world that runs so many times as fast, and so does all that it does from time to
            time.
    """
    with ExitStack() as stack:
        chain = stack.enter_context(LocalChain())
        deployment = deploy(chain.web3, chain.account())
        port = processes.free_port()
        broker = _broker(port, directory)
        stack.callback(broker.stop)
        broker.start()
        config = create(
            directory / "gateway",
            Answers(
                broker_host="127.0.0.1",
                broker_port=port,
                broker_tls=False,
                rpc_url=chain.url,
                chain_id=deployment.chain_id,
                device_registry=deployment.device_registry,
                transparency_log=deployment.transparency_log,
                deploy_block=deployment.block,
                confirmations=0,
                world=(BASE_TIME, time.time(), speed) if speed > 1 else None,
            ),
        )
        assert config.chain.key_file is not None
        chain.rpc("anvil_setBalance", load_account(config.chain.key_file).address, hex(_COIN))
        if speed > 1:
            _faster_files(directory / "gateway", config, speed)
        config.data.mkdir(parents=True, exist_ok=True)
        register(config.database, loads)
        processes.wait_for_port(port, broker)
        gateway = processes.gateway(directory / "gateway", directory / "gateway" / "gateway.log")
        stack.callback(gateway.stop)
        yield Site(config, gateway)


def _broker(port: int, directory: Path) -> processes.Child:
    """Return Mosquitto where it is installed, with the limits that `gateway init` sets, or the embedded broker.

    The embedded one has at most 100 messages on the way to a client, so that each commit of the gateway holds it up.
    """
    program = shutil.which("mosquitto", path=os.environ.get("PATH", "") + os.pathsep + "/usr/sbin")
    if program is None:
        return processes.broker(port, directory / "broker.log")
    settings = directory / "mosquitto.conf"
    settings.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\n"
        "max_queued_messages 0\nmax_queued_bytes 0\nmax_inflight_messages 1000\n"
    )
    return processes.Child("broker", [program, "-c", str(settings)], directory / "broker.log")


def _faster_files(directory: Path, config: Config, speed: int) -> None:
    """Let the public files be written as often as in the faster world, for which they keep no clock of their own."""
    path = directory / CONFIG_NAME
    text = path.read_text()
    line = f"publish_s = {config.log.publish_s}"
    assert line in text
    path.write_text(text.replace(line, f"publish_s = {max(1, config.log.publish_s // speed)}"))


def usage(pid: int) -> Usage:
    """Return what a process and its descendants have used so far, those that have ended included."""
    cpu, written, rss, pss = 0, 0, 0, 0
    for member in [pid, *_descendants(pid)]:
        with suppress(FileNotFoundError, ProcessLookupError):
            process = Path(f"/proc/{member}")
            fields = (process / "stat").read_text().rpartition(")")[2].split()
            cpu += sum(int(ticks) for ticks in fields[11:15])  # utime, stime, and those of children waited for
            written += _field(process / "io", "write_bytes:")
            rss += _field(process / "smaps_rollup", "Rss:")
            pss += _field(process / "smaps_rollup", "Pss:")
    return Usage(cpu / _TICK, written, rss * 1024 / 1e6, pss * 1024 / 1e6)


def _descendants(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):
            for child in map(int, (task / "children").read_text().split()):
                found += [child, *_descendants(child)]
    return found


def _field(path: Path, name: str) -> int:
    return next((int(line.split()[1]) for line in path.read_text().splitlines() if line.startswith(name)), 0)
