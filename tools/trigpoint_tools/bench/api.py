"""What questions cost ingest: its throughput while the HTTP API is asked, over that while it is not, in the same run.

A whole gateway, with broker and chain, takes signed statements as fast as it can, in turns without questions and with
`RATE` of them a second: readings as stated, buckets, lists, receipts and boards. Who asks is a process of its own at
the lowest priority, because in the field it is another machine; the API's process is as the gateway starts it.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from pathlib import Path

from requests.exceptions import RequestException
from requests.sessions import Session
from trigpoint.api.tokens import Scope, TokenFile
from trigpoint.init import CONFIG_NAME

from trigpoint_tools.demo.processes import free_port
from trigpoint_tools.load import site
from trigpoint_tools.load.statements import BASE_TIME, Shape, supply

RATE = 10
"""Questions in a second."""

_BOARDS = 200
_WARM_UP = 30
_TURNS = 8
_EACH = 20
_SUPPLIES = Path("build/load")


def figures(report: Callable[[str], None]) -> dict[str, int | float]:
    """Measure.

    Returns:
        ingest_with_queries_ratio: statements per second with questions over without, median of the turns.
        queries_per_s: questions answered in a second meanwhile.
        query_ms_p50: half of them were answered within so many milliseconds.
    """
    rounds = _WARM_UP + 2 * _TURNS * _EACH
    loads = supply(_SUPPLIES, Shape(_BOARDS, rounds, readings=10), report)
    ratios: list[float] = []
    delays: list[float] = []
    asking_s = 0.0
    with tempfile.TemporaryDirectory() as folder, site.make(Path(folder), loads) as measured:
        url, token = _open_api(Path(folder) / "gateway" / CONFIG_NAME, measured.config.tokens)
        measured.start()
        publisher = measured.publisher(loads)
        publisher.run(0, _WARM_UP)
        at = _WARM_UP
        for turn in range(_TURNS):
            report(f"turn {turn + 1} of {_TURNS}: {_BOARDS * _EACH:,} statements with and without questions")
            seconds = {}
            for asked in (turn % 2 == 0, turn % 2 == 1):  # in changing order, so that a slow drift does not count
                with _Asking(url, token, [kid.hex() for kid in loads.kids]) if asked else nullcontext() as asking:
                    seconds[asked] = publisher.run(at, _EACH).seconds
                at += _EACH
                delays += asking.delays if asking else []
            ratios.append(seconds[False] / seconds[True])
            asking_s += seconds[True]
        publisher.close()
    return {
        "ingest_with_queries_ratio": round(statistics.median(ratios), 3),
        "queries_per_s": round(len(delays) / asking_s, 1),
        "query_ms_p50": round(1000 * statistics.median(delays), 1),
    }


def _open_api(config: Path, tokens: Path) -> tuple[str, str]:
    """Give the gateway an API; return its URL and a token."""
    address = f"127.0.0.1:{free_port()}"
    before, section, after = config.read_text().partition("[api]\n")
    after = after.replace('\nlisten = ""', f'\nlisten = "{address}"', 1)
    after = after.replace("requests_per_minute = 600", "requests_per_minute = 1000000", 1)
    config.write_text(before + section + after)
    return f"http://{address}", TokenFile(tokens).add("bench", frozenset(Scope), int(time.time() * 1000))


class _Asking:
    """Asks questions at the rate while its block runs; `delays` then holds how long each answer took, in seconds."""

    def __init__(self, url: str, token: str, boards: list[str]) -> None:
        context = multiprocessing.get_context("spawn")
        self.delays: list[float] = []
        self._ready, self._stop = context.Event(), context.Event()
        self._receiver, sender = context.Pipe(duplex=False)
        self._process = context.Process(
            target=_ask, args=(url, token, boards, (self._ready, self._stop), sender), daemon=True
        )

    def __enter__(self) -> _Asking:
        self._process.start()
        self._ready.wait(60)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self.delays = self._receiver.recv()
        self._process.join()


def _ask(
    url: str, token: str, boards: list[str], events: tuple[Event, Event], result: Connection[list[float], object]
) -> None:
    os.nice(19)
    ready, stop = events
    rng = random.Random(3)  # noqa: S311
    delays: list[float] = []
    with Session() as session:
        session.headers["Authorization"] = f"Bearer {token}"
        with suppress(RequestException):
            session.get(f"{url}/v1/log", timeout=30)
        ready.set()
        started = time.perf_counter()
        asked = 0
        while not stop.wait(max(0.0, started + asked / RATE - time.perf_counter())):
            board, place = rng.choice(boards), rng.randrange(_BOARDS * _WARM_UP)
            path = (
                f"boards/{board}/readings?limit=1000&from={BASE_TIME}",
                f"boards/{board}/buckets?name=temperature&every=3600",
                f"boards/{board}/buckets?name=humidity&every=600",
                f"statements/{place}/receipt",
                "statements?limit=100",
                f"boards/{board}",
            )[asked % 6]
            begun = time.perf_counter()
            session.get(f"{url}/v1/{path}", timeout=60).raise_for_status()
            delays.append(time.perf_counter() - begun)
            asked += 1
    result.send(delays)
