"""The live stream: every statement once, however often the listener has to come back."""

import asyncio
import json
import socket
import time

import pytest
import requests
from apiserver import Journal, api
from statements import TestBoard
from trigpoint.api import live
from trigpoint.wire.statement import Reading

A, B = TestBoard(1), TestBoard(2)
PACK = [Reading("temperature", "Cel", -5, -2, 0)]


@pytest.fixture
def journal(tmp_path):
    journal = Journal.at(tmp_path / "trigpoint.db")
    journal.enrol(A, B)
    yield journal
    journal.connection.close()


class Listener:
    """Reads server-sent events, and comes back as a browser would."""

    def __init__(self, client, **params):
        self.client, self.params = client, params
        self.last_id = None
        self.seen = []
        self._open()

    def _open(self):
        headers = {} if self.last_id is None else {"Last-Event-ID": self.last_id}
        self.answer = self.client.get("/v1/live", headers=headers, params=self.params, stream=True)
        assert self.answer.status_code == 200, self.answer.text
        self.lines = self.answer.iter_lines()

    def listen(self, until):
        """Read events until there are so many in all."""
        event = {}
        while len(self.seen) < until:
            line = next(self.lines).decode()
            if line:
                name, _, value = line.partition(": ")
                event[name] = value
                continue
            self.last_id = event.get("id", self.last_id)
            if "data" in event:
                assert event["event"] == "statement"
                self.seen.append(json.loads(event["data"]))
                assert str(self.seen[-1]["leaf_index"]) == event["id"]
            event = {}

    def cut(self):
        self.answer.close()

    def come_back(self):
        self._open()


def test_all_is_seen_once_though_the_line_is_cut(journal, tmp_path):
    with api(tmp_path) as client:
        listener = Listener(client)
        for seq in range(6):
            journal.store(A, PACK)
            journal.store(B, PACK)
            if seq == 2:
                listener.cut()
                journal.fold()
            elif seq != 3:  # two rounds pass while nobody listens
                if seq == 4:
                    listener.come_back()
                listener.listen(2 * (seq + 1))
        listener.cut()
        assert [one["leaf_index"] for one in listener.seen] == list(range(12))
        assert listener.seen[3] == client.json("/v1/statements/3")


def test_from_a_place_and_of_one_board(journal, tmp_path):
    for _ in range(100):
        journal.store(A, PACK)
        journal.store(B, PACK)
    with api(tmp_path) as client:
        everything = Listener(client, after=-1)
        everything.listen(200)
        assert [one["leaf_index"] for one in everything.seen] == list(range(200))
        of_b = Listener(client, after=150, board=B.kid.hex())
        of_b.listen(25)
        assert [one["leaf_index"] for one in of_b.seen] == list(range(151, 200, 2))
        for listener in (everything, of_b):
            listener.cut()


def test_the_past_of_one_board_comes_without_waiting(journal, tmp_path, monkeypatch):
    """Statements of others are passed over as fast as they are read, not one page at each look at the database."""
    monkeypatch.setattr(live, "POLL_S", 30.0)
    for _ in range(5 * live._PAGE):
        journal.store(A, PACK)
    journal.store(B, PACK)
    with api(tmp_path) as client:
        listener = Listener(client, after=-1, board=B.kid.hex())
        listener.listen(1)
        assert listener.seen[0]["leaf_index"] == 5 * live._PAGE
        listener.cut()


def test_signs_of_life_move_the_id_past_what_was_filtered_out(journal, tmp_path, monkeypatch):
    monkeypatch.setattr(live, "KEEP_ALIVE_S", 0.6)
    with api(tmp_path) as client:
        listener = Listener(client, board=B.kid.hex())
        for _ in range(3):
            journal.store(A, PACK)
        until = time.monotonic() + 10
        while listener.last_id != "2" and time.monotonic() < until:
            line = next(listener.lines).decode()
            if line.startswith("id: "):
                listener.last_id = line.removeprefix("id: ")
        assert listener.last_id == "2"
        journal.store(B, PACK)
        listener.listen(1)
        assert listener.seen[0]["leaf_index"] == 3
        listener.cut()


def test_listeners_are_bounded_and_places_come_free(journal, tmp_path):
    with api(tmp_path, live_clients=2) as client:
        listeners = [Listener(client), Listener(client)]
        for listener in listeners:
            next(listener.lines)
        refused = client.get("/v1/live")
        assert (refused.status_code, refused.json()["type"]) == (503, "urn:trigpoint:problem:too-many-listeners")
        listeners[0].cut()
        until = time.monotonic() + 10
        while (status := client.get("/v1/live", stream=True).status_code) == 503 and time.monotonic() < until:
            time.sleep(0.1)
        assert status == 200
        listeners[1].cut()


def test_listeners_who_come_at_one_moment_are_bounded_too():
    async def told():
        arrivals = live.Arrivals(reader=None)
        arrivals.clients = 2
        events = [event async for event in live._events(None, arrivals, 0, None, 2)]
        return events, arrivals.clients

    assert asyncio.run(told()) == ([b"retry: 30000\n\n"], 2)


def test_a_slow_listener_costs_no_memory_and_holds_nobody_up(journal, tmp_path, monkeypatch):
    """Who does not read is left with full buffers of the system's; nothing is read for it from the disk meanwhile."""
    big = [Reading("n" * 60, "Cel", number, 0, number) for number in range(50)]
    for _ in range(1_500):  # about 15 MB as events, which is more than sockets hold
        journal.store(A, big)
    with api(tmp_path) as client:
        pages = 0
        counted = live._page

        def counting(*args, **kwargs):
            nonlocal pages
            pages += 1
            return counted(*args, **kwargs)

        monkeypatch.setattr(live, "_page", counting)
        with socket.socket() as slow:
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            host, _, port = client.url.removeprefix("http://").partition(":")
            slow.connect((host, int(port)))
            question = f"GET /v1/live?after=-1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {client.token}\r\n\r\n"
            slow.sendall(question.encode())
            before = -1
            while pages == 0 or pages != before:  # until it has come to a halt
                before = pages
                time.sleep(0.5)
            assert 0 < pages < 1_500 // live._PAGE
            quick = Listener(client)
            journal.store(B, PACK)
            quick.listen(1)
            assert quick.seen[0]["leaf_index"] == 1_500
            quick.cut()


def test_a_last_event_id_that_is_none_is_refused(journal, tmp_path):
    with api(tmp_path) as client:
        assert client.get("/v1/live", headers={"Last-Event-ID": "x"}).status_code == 422
        answer = requests.get(client.url + "/v1/live", timeout=5)
        assert answer.status_code == 401
