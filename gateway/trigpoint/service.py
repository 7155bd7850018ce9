"""The gateway as one process: broker, database, chain and public files, started, watched and stopped together."""

from __future__ import annotations

import gc
import logging
import os
import signal
import threading
from contextlib import ExitStack, suppress

from trigpoint import keyfiles, logs, metrics
from trigpoint.api import process as api
from trigpoint.chain import loop as chain_loop
from trigpoint.chain.loop import ChainLoop
from trigpoint.chain.node import address_bytes
from trigpoint.config import Config
from trigpoint.errors import OperatorError
from trigpoint.funds import Funds
from trigpoint.homeassistant.publisher import Publisher as HomeAssistant
from trigpoint.ingest.mqtt import Session
from trigpoint.ingest.pace import Pace
from trigpoint.ingest.pipeline import Ingest, Limits
from trigpoint.ingest.tally import Statistics
from trigpoint.lock import only_one
from trigpoint.public import PublicFiles, Publisher
from trigpoint.store import queries, statements
from trigpoint.store.database import open_database
from trigpoint.store.writer import Writer
from trigpoint.systemd import Notifier, listening_sockets
from trigpoint.watchdog import Watchdog
from trigpoint.words import counted

_log = logging.getLogger(__name__)

_TICK_S = 1.0
_INGEST_STALLS_S = 180.0
"""Longer than a slow card takes for a commit while it tidies itself up."""


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
        publisher, ingest = _start(config, watch, stack)
        ingest_moved, before = watch.parts.watch("ingest", _INGEST_STALLS_S), ingest.statistics()
        notifier.ready()
        while not watch.stop.wait(_TICK_S):
            publisher.tick()
            now = ingest.statistics()
            if moves(before, now):
                ingest_moved()
            before = now
            _tell(notifier, watch.parts, now)
        notifier.stopping()
        _say("stopping")
    if watch.fault is not None:
        raise watch.fault


def moves(before: Statistics, now: Statistics) -> bool:
    """Tell whether ingest does its work: nothing waits, or something came to an end since `before`.

    A database that refuses to write holds it up too, but that no restart would mend.
    """
    done = sum(now.by_reason.values()) > sum(before.by_reason.values())
    return now.queued + now.checking == 0 or done or now.refusing_since is not None


def _tell(notifier: Notifier, parts: Watchdog, ingest: Statistics) -> None:
    """Put off the service manager's watchdog, unless a part hangs: then let it start the gateway again."""
    trouble = "; the database refuses to write" if ingest.refusing_since is not None else ""
    notifier.status(f"{ingest.per_s:.1f} statements/s, {ingest.queued} of {ingest.capacity} queued{trouble}")
    for part in parts.newly_stalled():
        _log.error("%s does not move any more", part)
    if not parts.stalled():
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


def _start(config: Config, watch: _Watch, stack: ExitStack) -> tuple[Publisher, Ingest]:
    """Start all parts, each once what it needs is there; `stack` will stop them in the opposite order."""
    if not config.chain.device_registry or not config.chain.transparency_log:
        raise OperatorError(
            "chain.device_registry and chain.transparency_log are empty: run "
            "`trigpoint chain deploy --gateway DIR`, or fill them in"
        )
    clock = config.make_clock()
    log_key = keyfiles.load_log_key(config.log.key_file)
    link_key = keyfiles.load_link_key(config.link.key_file)

    stack.enter_context(only_one(config.data))
    writer = stack.enter_context(Writer(config.database))
    reader = open_database(config.database, read_only=True)
    stack.callback(reader.close)
    _ready("store", f"{counted(statements.size(reader), 'statement')} in {config.database}")

    def publish(size: int) -> None:
        publisher.reach(size)  # which is there before the first anchor

    chain = ChainLoop(
        config,
        log_key,
        writer,
        clock,
        failed=watch.failed,
        moved=watch.parts.watch("chain", chain_loop.STALLS_S),
        publish=publish,
    )
    away = "" if chain.check() else " when last seen: it could not be checked yet"
    _ready("chain", f"chain {config.chain.chain_id}, {counted(queries.active_boards(reader), 'active board')}{away}")
    trust = chain.trust

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
    limits = Limits(
        owners=frozenset(map(address_bytes, config.ingest.owners)),
        bytes_per_day=config.ingest.daily_mb_per_board * 1_000_000,
        workers=config.ingest.workers or None,
    )
    ingest = Ingest(writer, link_key, clock, watch.failed, pace=pace, limits=limits)
    broker = config.broker.for_gateway()
    session = Session(broker, clock, ingest.receive, watch.failed)
    stack.callback(session.stop)  # after ingest.stop, so that the acks of the last batch still go out
    ingest.start(session)
    stack.callback(ingest.stop)
    if session.start():
        _ready("broker", f"{broker.host}:{broker.port}")
    else:
        _say(f"waiting: broker: {broker.host}:{broker.port} is away")

    chain.start()
    stack.callback(chain.stop)
    stack.callback(publisher.give_up)

    if config.api.listen:
        handed_over = listening_sockets(os.environ, os.getpid()).get(api.SOCKET_NAME)
        process = api.ApiProcess.of(config, handed_over)
        process.start()
        stack.callback(process.stop)
        _ready("api", process.url)
    if config.homeassistant.enabled:
        home = HomeAssistant(config)
        home.start()
        stack.callback(home.stop)
        _ready("home assistant", f"discovery under {config.homeassistant.discovery_prefix}/")
    if config.metrics.listen:
        funds = Funds((config.chain.rpc_url, *config.chain.fallback_rpc_urls), chain.account)
        sources = metrics.Sources(ingest.statistics, watch.parts.idle, funds.balance, lambda: session.connected)
        _serve_metrics(config, sources, funds, stack)
    _settle_memory()
    return publisher, ingest


def _settle_memory() -> None:
    """Let the collector pass over what was imported and made until now: it stays, and is most of what there is.

    Under load many small objects come and go, and hardly any in cycles. So it looks for those less often too.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def _serve_metrics(config: Config, sources: metrics.Sources, funds: Funds, stack: ExitStack) -> None:
    """Serve the figures. If their address is taken the gateway goes on without: it is there for the statements."""
    try:
        server, thread = metrics.serve(config.metrics.listen, metrics.registry(config, sources))
    except OperatorError as error:
        _log.error("%s", error)
        return
    funds.start()
    stack.callback(funds.stop)
    stack.callback(thread.join)
    stack.callback(server.shutdown)
    _ready("metrics", f"http://{config.metrics.listen}/metrics")


def _ready(part: str, detail: str) -> None:
    _say(f"ready: {part}: {detail}")


def _say(line: str) -> None:
    """Print a line; a disk that is full under the file that it goes to is no reason to stop."""
    with suppress(OSError):
        print(line, flush=True)
