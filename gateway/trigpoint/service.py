"""The gateway as one process: broker, database, chain and public files, started, watched and stopped together."""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from trigpoint import keyfiles, logs
from trigpoint.chain.anchoring import Anchorer, LogForkError
from trigpoint.chain.client import check_contracts, connect
from trigpoint.chain.keys import load_account
from trigpoint.chain.node import address_bytes
from trigpoint.chain.registry import RegistrySync
from trigpoint.chain.transactions import OutOfFundsError
from trigpoint.clock import Clock
from trigpoint.config import Config
from trigpoint.errors import OperatorError
from trigpoint.ingest.mqtt import Session
from trigpoint.ingest.pace import Pace
from trigpoint.ingest.pipeline import Ingest
from trigpoint.log import checkpoint
from trigpoint.public import PublicFiles, Publisher
from trigpoint.store import log, queries, statements
from trigpoint.store.chain import InFlightError
from trigpoint.store.database import open_database
from trigpoint.store.writer import Writer
from trigpoint.systemd import Notifier
from trigpoint.watchdog import Watchdog
from trigpoint.wire.trust import Trust

_log = logging.getLogger(__name__)

_TICK_S = 1.0
_CHAIN_BACK_OFF_MAX_S = 60.0
_CHAIN_STOP_S = 5.0
_CHAIN_STALLS_S = 600.0
"""Longer than a round takes with a node that answers each question only just in time."""


def run(config: Config) -> None:
    """Run the gateway until SIGTERM or SIGINT. Call it from the main thread.

    It may be killed at any instruction: the next start goes on from what is on the disk.

    Raises:
        OperatorError: it cannot start, or must not go on, until the operator has put something right.
    """
    logs.start(config.logging)
    notifier = Notifier.of(os.environ, os.getpid())
    watch = _Watch()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: watch.stop.set())
    with ExitStack() as stack:
        publisher = _start(config, watch, stack)
        notifier.ready()
        while not watch.stop.wait(_TICK_S):
            publisher.tick()
            _tell(notifier, watch.parts)
        notifier.stopping()
        print("stopping", flush=True)
    if watch.fault is not None:
        raise watch.fault


def _tell(notifier: Notifier, parts: Watchdog) -> None:
    """Put off the service manager's watchdog, unless a part hangs: then let it start the gateway again."""
    stalled = parts.stalled()
    for part, seconds in stalled.items():
        _log.error("%s has not moved for %.0f s", part, seconds)
    if not stalled:
        notifier.alive()


class _Watch:
    """Whether the parts move, when the gateway is to stop, and why."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self.fault: Exception | None = None
        self.parts = Watchdog()

    def failed(self, error: Exception) -> None:
        """Stop the gateway over an error that no part of it can mend."""
        self.fault = self.fault or error
        self.stop.set()


def _start(config: Config, watch: _Watch, stack: ExitStack) -> Publisher:
    """Start all parts, each once what it needs is there; `stack` will stop them in the opposite order."""
    if not config.chain.device_registry or not config.chain.transparency_log:
        raise OperatorError(
            "chain.device_registry and chain.transparency_log are empty: run `trigpoint chain deploy`, or fill them in"
        )
    clock = config.make_clock()
    log_key = keyfiles.load_log_key(config.log.key_file)
    link_key = keyfiles.load_link_key(config.link.key_file)

    stack.enter_context(_only_one(config.data))
    writer = stack.enter_context(Writer(config.database))
    reader = open_database(config.database, read_only=True)
    stack.callback(reader.close)
    _ready("store", f"{statements.size(reader)} statements in {config.database}")

    chain, trust = _connect_chain(config, log_key, writer, clock, watch)
    _ready("chain", f"chain {config.chain.chain_id}, {queries.active_boards(reader)} active boards")

    try:
        public = PublicFiles(config.public, reader, trust.log_id, log_key)
        public.write_trust(trust)
        public.publish()
    except OSError as error:
        raise OperatorError(f"cannot write to {config.public}: {error.strerror}; check its owner and space") from error
    publisher = Publisher(public, config.log.publish_s)
    stack.callback(publisher.step)
    _ready("public files", f"log {trust.log_id.hex()} in {config.public}")

    pace = Pace() if config.clock is None else Pace().at_speed(config.clock.speed)
    ingest = Ingest(writer, link_key, clock, watch.failed, pace)
    session = Session(config.broker, clock, ingest.receive, watch.failed)
    stack.callback(session.stop)  # after ingest.stop, so that the acks of the last batch still go out
    ingest.start(session)
    stack.callback(ingest.stop)
    session.start()
    _ready("broker", f"{config.broker.host}:{config.broker.port}")

    chain.start()
    stack.callback(chain.stop)
    return publisher


def _connect_chain(
    config: Config, log_key: Ed25519PrivateKey, writer: Writer, clock: Clock, watch: _Watch
) -> tuple[_ChainThread, Trust]:
    """Check the chain, bring the registry's mirror up to date, and settle what was in flight."""
    settings = config.chain
    account = load_account(settings.key_file)
    device_registry, transparency_log = (
        address_bytes(settings.device_registry),
        address_bytes(settings.transparency_log),
    )
    web3 = connect(settings.rpc_url, settings.chain_id)
    check_contracts(web3, device_registry, transparency_log)

    public_key = log_key.public_key().public_bytes_raw()
    own_id = checkpoint.log_id(address_bytes(account.address), public_key)
    log_id = writer.submit(lambda connection: log.claim(connection, own_id, public_key))

    registry = RegistrySync(
        web3,
        device_registry,
        settings.deploy_block,
        settings.confirmations,
        writer,
        chain_id=settings.chain_id,
    )
    anchorer = Anchorer(
        web3,
        writer,
        account=account,
        chain_id=settings.chain_id,
        contract=transparency_log,
        log_id=log_id,
        log_key=public_key,
        confirmations=settings.confirmations,
        every_s=config.anchor.every_s,
        max_fee_wei=settings.max_fee_gwei * 10**9,
        clock=clock,
    )
    # Before the first message: or a board that has been registered meanwhile would be refused.
    _catch_up(registry)
    with suppress(OutOfFundsError):  # which must not keep statements from being stored; the thread will say so
        anchorer.settle()
    trust = Trust(settings.chain_id, device_registry, transparency_log, log_id, public_key)
    return _ChainThread(registry, anchorer, settings.poll_s, watch), trust


def _catch_up(registry: RegistrySync, moved: Callable[[], None] = lambda: None) -> None:
    """Mirror all that the chain has by now. A node that is behind what is mirrored already has nothing to add."""
    reached = None
    while not (progress := registry.step()).caught_up and progress.block != reached:
        reached = progress.block
        moved()


class _ChainThread:
    """Looks at the chain every few seconds: mirrors the registry, settles transactions, anchors the log.

    What goes wrong there is logged and tried again with back-off, while statements go on being stored. Only a chain
    that contradicts the log stops the gateway.
    """

    def __init__(self, registry: RegistrySync, anchorer: Anchorer, poll_s: int, watch: _Watch) -> None:
        self._registry = registry
        self._anchorer = anchorer
        self._poll_s = poll_s
        self._watch = watch
        self._moved = watch.parts.watch("chain", _CHAIN_STALLS_S)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="chain", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Stop soon: a question to a node that does not answer is left behind."""
        self._stopping.set()
        self._thread.join(_CHAIN_STOP_S)

    def _run(self) -> None:
        pause_s: float = self._poll_s
        try:
            while not self._stopping.wait(pause_s):
                self._moved()
                # Trouble with anchors, such as an empty account, must not keep boards from being enrolled.
                well = [
                    self._try("registry", lambda: _catch_up(self._registry, self._moved)),
                    self._try("anchor", self._anchorer.step),
                ]
                pause_s = self._poll_s if all(well) else min(2 * pause_s, _CHAIN_BACK_OFF_MAX_S)
        except Exception as error:
            if not self._stopping.is_set():
                self._watch.failed(error)

    def _try(self, what: str, step: Callable[[], None]) -> bool:
        try:
            step()
        except LogForkError:
            raise
        except (OperatorError, InFlightError, sqlite3.OperationalError) as error:
            _log.error("chain %s: %s; it is tried again", what, error)
            return False
        return True


@contextmanager
def _only_one(data: Path) -> Iterator[None]:
    """Hold the data directory for this process alone; the system lets go of it however the process ends.

    Raises:
        OperatorError: another gateway holds it, or it cannot be made.
    """
    try:
        data.mkdir(parents=True, exist_ok=True)
        lock = (data / "lock").open("wb")
    except OSError as error:
        raise OperatorError(f"cannot write to the data directory {data}: {error.strerror}; check its owner") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OperatorError(f"another gateway runs on {data}: stop it first") from None
        yield


def _ready(part: str, detail: str) -> None:
    print(f"ready: {part}: {detail}", flush=True)
