"""A process that parses and verifies: jobs in, findings out, over one socket. It ends when the socket does.

It is started as `python -m trigpoint.ingest.worker FD` rather than by `multiprocessing`, which would import the
starting program's main module here, and keep processes of its own.
"""

from __future__ import annotations

import signal

if __name__ == "__main__":
    # Before all else, which takes longer to import than a signal to arrive: one to the whole group, as from Ctrl-C or
    # systemd, is for the gateway to answer. It may still need us.
    for _number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(_number, signal.SIG_IGN)

import gc
import marshal
import sys
from contextlib import suppress
from multiprocessing.connection import Connection

from trigpoint.ingest.check import Job, check_all

_COLLECT_EVERY = 1_000


def encode_jobs(jobs: list[Job]) -> bytes:
    """Return jobs as they cross to a worker. Both ends are this interpreter, which is all that marshal asks."""
    return marshal.dumps(jobs)


def main() -> None:
    """Serve until nobody is at the other end any more."""
    gc.collect()
    gc.freeze()
    # To check makes many small objects and no cycles of them: to look for those after each few would be in vain.
    gc.disable()
    chunks = 0
    with Connection(int(sys.argv[1])) as connection, suppress(EOFError, ConnectionError):
        while True:
            jobs: list[Job] = marshal.loads(connection.recv_bytes())  # noqa: S302  (from our own parent)
            connection.send_bytes(marshal.dumps(check_all(jobs)))
            chunks += 1
            if chunks % _COLLECT_EVERY == 0:
                gc.collect()


if __name__ == "__main__":
    main()
