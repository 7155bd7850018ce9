"""The gateway from broker to disk, without a chain: for tests in this process, and as a child that can be killed.

As a child: `python intake.py DATABASE PORT LINK_KEY_PEM [FAULT]`.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from trigpoint import keyfiles
from trigpoint.clock import SystemClock
from trigpoint.config import Broker
from trigpoint.ingest.message import Delivery
from trigpoint.ingest.mqtt import Session
from trigpoint.ingest.pace import Pace
from trigpoint.ingest.pipeline import Ingest
from trigpoint.store.writer import Writer

PACE = Pace(linger_s=0.02, log_s=0.3, index_s=0.7)
"""Quick, so that a test meets every kind of write."""


class Intake:
    """Store, ingest and session, composed as the service does."""

    def __init__(self, writer: Writer, port: int, link_key, client_id="gateway") -> None:  # type: ignore[no-untyped-def]
        self.failures: list[Exception] = []
        self.writer = writer
        clock = SystemClock()
        self.ingest = Ingest(writer, link_key, clock, self.failures.append, pace=PACE)
        settings = Broker(host="127.0.0.1", port=port, tls=False, client_id=client_id)
        self.session = Session(settings, clock, self.ingest.receive, self.failures.append)

    def start(self) -> None:
        self.ingest.start(self.session)
        self.session.start()

    def stop(self) -> None:
        self.ingest.stop()
        self.session.stop()


class KilledBeforeAck:
    """Replies that never come: the process dies between commit and ack."""

    def answer(self, acks: Sequence[tuple[str, bytes]], confirmed: Sequence[Delivery]) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    database, port, link_key, *fault = sys.argv[1:]
    writer = Writer(Path(database))
    intake = Intake(writer, int(port), keyfiles.load_link_key(Path(link_key)))
    if fault == ["die-before-ack"]:
        intake.ingest.start(KilledBeforeAck())
    else:
        intake.ingest.start(intake.session)
    intake.session.start()
    print("ready", flush=True)
    threading.Event().wait()


def rows(database: Path, query: str) -> list[tuple]:  # type: ignore[type-arg]
    connection = sqlite3.connect(database)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


if __name__ == "__main__":
    main()
