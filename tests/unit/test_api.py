"""The API over a real database, asked over HTTP: who may see what, and that what is seen is what is stored."""

import asyncio
import csv
import io
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from decimal import Decimal

import pyarrow.parquet as pq
import pytest
import requests
from apiserver import NOW_MS, Journal, api
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from statements import TestBoard
from trigpoint import keyfiles
from trigpoint.api import exports
from trigpoint.api import reader as reading
from trigpoint.api.tokens import Scope, TokenFile
from trigpoint.errors import OperatorError
from trigpoint.store import lookup, series, statements
from trigpoint.store.database import open_database
from trigpoint.wire import receipt
from trigpoint.wire.statement import Reading

A, B = TestBoard(1), TestBoard(2)
START_S = NOW_MS // 1000 - 100 * 600
ODD_UNIT = "a,\"b';-- %"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("api")
    with closing(Journal.at(folder / "trigpoint.db").connection) as connection:
        journal = Journal(connection)
        journal.enrol(A, B)
        for number in range(100):
            pack = [
                Reading("temperature", "Cel", 2150 - 40 * number, -2, 0),
                Reading("x/y", ODD_UNIT, 7 * number, -18 if number % 2 else 0, 60),
            ]
            time_s = START_S + 600 * number
            base_time = None if number % 10 == 3 else time_s + (7_000 if number % 10 == 7 else 0)
            pack = [reading._replace(t=0) for reading in pack] if base_time is None else pack
            journal.store((A, B)[number % 2], pack, base_time=base_time, arrival_ms=time_s * 1000 + number)
        journal.fold(70)
        connection.execute("INSERT INTO lost (kid, from_seq, to_seq, raw) VALUES (?, 3, 5, x'00')", (A.kid,))
        for number in range(5):
            connection.execute(
                "INSERT INTO evidence (kid, entry, seq, raw, reason, arrival_ms) VALUES (?, ?, 1, x'0102', 'clone', 9)",
                (B.kid, bytes([number]) * 32),
            )
        connection.executemany(
            "INSERT INTO rejected (reason, detail, topic, raw, size, arrival_ms) VALUES ('shape', ?, ?, ?, 9000, 1)",
            [(f"detail {number}", 'tr\x00ïg/1/\ud7ff\U0001f600"<b>', b"\xff\x00" * number) for number in range(7)],
        )
        with api(folder):
            log_key = keyfiles.load_log_key(folder / "log.key")
            journal.claim(log_key.public_key().public_bytes_raw())
    return folder


@pytest.fixture(scope="module")
def client(folder):
    with api(folder) as running:
        yield running


@pytest.fixture
def database(folder):
    with closing(open_database(folder / "trigpoint.db", read_only=True)) as connection:
        yield connection


def every(client, path, key, **params):
    """Read all pages."""
    found, cursor = [], None
    while True:
        page = client.json(path, **params, **({"cursor": cursor} if cursor else {}))
        found += page[key]
        cursor = page["next"]
        if cursor is None:
            return found


def expected_rows(database, board=None, name=None):
    rows = []
    for stored in lookup.from_place(database, 0, 10_000):
        kid = {1: A, 2: B}[stored.board].kid.hex()
        rows += [(kid, row) for row in series.expand(stored) if board in (None, kid) and name in (None, row.name)]
    return rows


OF_SCOPE = {
    Scope.LOG: ["/v1/log", "/v1/anchors", "/checkpoint", "/trust.json", "/tile/0/000"],
    Scope.READINGS: [
        "/v1/boards",
        f"/v1/boards/{A.kid.hex()}",
        f"/v1/boards/{A.kid.hex()}/lost",
        f"/v1/boards/{A.kid.hex()}/series",
        f"/v1/boards/{A.kid.hex()}/readings",
        f"/v1/boards/{A.kid.hex()}/buckets?name=temperature",
        f"/v1/boards/{A.kid.hex()}/statements",
        f"/v1/boards/{A.kid.hex()}/statements/1",
        f"/v1/boards/{A.kid.hex()}/statements/1/receipt",
        "/v1/statements",
        "/v1/statements/1",
        "/v1/statements/1/raw",
        "/v1/statements/1/receipt",
        "/v1/entries/" + "00" * 32,
        "/v1/entries/" + "00" * 32 + "/receipt",
        "/v1/export.csv",
        "/v1/export.parquet",
        "/v1/live",
    ],
    Scope.INSPECT: ["/v1/rejected", "/v1/counters", "/v1/evidence"],
    Scope.JOIN: ["/v1/join"],
}
OPEN = ["/", "/page.css", "/page.js", "/openapi.json"]


def test_the_scopes_cover_every_path(client):
    paths = client.json("/openapi.json")["paths"]
    covered = {path.partition("?")[0] for of_scope in OF_SCOPE.values() for path in of_scope}
    known = {
        path.format(board=A.kid.hex(), entry="00" * 32, leaf_index=1, seq=1, path="0/000").partition("?")[0]
        for path in paths
    }
    assert covered == known


@pytest.mark.parametrize("scope", Scope)
def test_a_token_reads_what_its_scope_says(folder, scope):
    with api(folder, public=[]) as client:
        client.token = TokenFile(folder / "tokens.json").add(f"only-{scope}", frozenset({scope}), 0)
        for other, paths in OF_SCOPE.items():
            for path in paths:
                if path == "/v1/live" and other is scope:
                    continue
                refused = requests.get(client.url + path, timeout=5)
                assert refused.status_code == 401, path
                assert refused.headers["WWW-Authenticate"].startswith("Bearer")
                assert refused.json()["type"] == "urn:trigpoint:problem:token-needed"
                status = client.get(path).status_code
                assert status in (200, 404) if other is scope else status == 403, path
        for path in OPEN:
            assert requests.get(client.url + path, timeout=5).status_code == 200, path


def test_what_is_public_needs_no_token_and_a_wrong_token_is_refused_everywhere(folder):
    with api(folder, public=["log", "inspect"]) as client:
        client.token = None
        assert client.get("/v1/log").status_code == 200
        assert client.get("/v1/counters").status_code == 200
        assert client.get("/v1/boards").status_code == 401
        for wrong in ("trig_" + "A" * 43, "x", "", "trig_\u00e4" + "A" * 42):
            headers = {"Authorization": f"Bearer {wrong}".encode("latin-1")}
            answer = client.get("/v1/log", headers=headers)
            assert answer.status_code == 401 and answer.json()["type"].endswith(":unknown-token"), wrong
        assert client.get("/v1/log", headers={"Authorization": "Basic dTpw"}).status_code == 401
        assert client.get("/v1/boards?token=" + (folder / "everything.token").read_text()).status_code == 401


def test_a_removed_token_is_refused_at_once(client, folder):
    tokens = TokenFile(folder / "tokens.json")
    own = {"Authorization": f"Bearer {tokens.add('short', frozenset({Scope.READINGS}), 0)}"}
    assert requests.get(client.url + "/v1/boards", headers=own, timeout=5).status_code == 200
    tokens.remove("short")
    assert requests.get(client.url + "/v1/boards", headers=own, timeout=5).status_code == 401


def test_boards(client):
    boards = every(client, "/v1/boards", "boards", limit=1)
    assert [board["board"] for board in boards] == [A.kid.hex(), B.kid.hex()]
    first = boards[0]
    assert first == client.json(f"/v1/boards/{A.kid.hex()}")
    assert (first["next_seq"], first["lost"], first["statements"], first["evidence"]) == (50, 3, 47, 0)
    assert first["newest"] == {"leaf_index": 98, "seq": 49, "arrival_ms": (START_S + 600 * 98) * 1000 + 98}
    assert client.json(f"/v1/boards/{A.kid.hex()}/lost") == {"lost": [{"first_seq": 3, "last_seq": 5}], "more": False}


def test_statements_by_everything(client, database):
    listed = every(client, "/v1/statements", "statements", limit=17)
    assert [one["leaf_index"] for one in listed] == list(range(100))
    of_a = every(client, f"/v1/boards/{A.kid.hex()}/statements", "statements", limit=7, first_seq=10)
    assert of_a == [one for one in listed if one["board"] == A.kid.hex() and one["seq"] >= 10]
    for one in (listed[5], listed[98]):
        stored = lookup.at(database, one["leaf_index"])
        by_leaf = client.json(f"/v1/statements/{one['leaf_index']}")
        assert by_leaf == client.json(f"/v1/boards/{one['board']}/statements/{one['seq']}")
        assert by_leaf == client.json(f"/v1/entries/{one['entry']}")
        assert {key: by_leaf[key] for key in one} == one
        raw = client.get(f"/v1/statements/{one['leaf_index']}/raw")
        assert (raw.content, raw.headers["Content-Type"]) == (stored.raw, "application/cose")
        assert one["entry"] == stored.entry.hex()
    arrived = client.json("/v1/statements", arrived_from=START_S + 600 * 50, limit=1)["statements"]
    assert [one["leaf_index"] for one in arrived] == [50]


def test_receipts_are_those_of_the_command(client, database, folder):
    from trigpoint import receipts

    expected = receipts.get(database, keyfiles.load_log_key(folder / "log.key"), index=42)
    entry = client.json("/v1/statements/42")["entry"]
    for path in ("/v1/statements/42", f"/v1/boards/{A.kid.hex()}/statements/21", f"/v1/entries/{entry}"):
        got = client.get(f"{path}/receipt")
        assert (got.content, got.headers["Content-Type"]) == (expected, "application/cose")
        again = client.get(f"{path}/receipt", headers={"If-None-Match": got.headers["ETag"]})
        assert (again.status_code, again.content) == (304, b"")
    assert receipt.parse(expected).statement.raw == lookup.at(database, 42).raw
    unfolded = client.get("/v1/statements/99/receipt")
    assert receipt.parse(unfolded.content).index == 99


def test_readings_and_buckets(client, database):
    board = A.kid.hex()
    rows = [row for _, row in expected_rows(database, board)]
    readings = every(client, f"/v1/boards/{board}/readings", "readings", limit=9)
    assert [(one["seq"], one["position"], one["leaf_index"], one["time_s"]) for one in readings] == [
        (row.seq, row.position, row.leaf_index, row.time_s) for row in rows
    ]
    for one, row in zip(readings, rows, strict=True):
        assert (one["mantissa"], one["exponent"], one["unit"]) == (row.mantissa, row.exponent, row.unit)
        assert Decimal(one["value"]) == Decimal(row.mantissa).scaleb(row.exponent)
    assert [one["time_source"] for one in readings] == [row.time_source for row in rows]
    for every_s in (600, 3600, 86_400):
        params = {"name": "x/y", "unit": ODD_UNIT, "every": every_s}
        buckets = every(client, f"/v1/boards/{board}/buckets", "buckets", limit=5, **params)
        sums: dict[int, list[Decimal]] = {}
        for row in rows:
            if row.name == "x/y":
                value = Decimal(row.mantissa).scaleb(row.exponent)
                sums.setdefault(row.time_s // every_s * every_s, []).append(value)
        assert [one["start_s"] for one in buckets] == sorted(sums)
        for one in buckets:
            values = sums[one["start_s"]]
            assert one["readings"] == len(values)
            assert Decimal(one["sum"]["value"]) == sum(values)
            assert Decimal(one["minimum"]["value"]) == min(values)
            assert Decimal(one["maximum"]["value"]) == max(values)
    names = client.json(f"/v1/boards/{board}/series")["series"]
    assert [(one["name"], one["unit"], one["readings"]) for one in names] == [
        ("temperature", "Cel", 50),
        ("x/y", ODD_UNIT, 50),
    ]
    half = client.json(f"/v1/boards/{board}/readings", **{"from": "2023-11-14T12:00:00Z", "to": START_S + 30_000})
    assert [one["time_s"] for one in half["readings"]] == [
        row.time_s for row in rows if 1_699_963_200 <= row.time_s < START_S + 30_000
    ]


@pytest.mark.parametrize("wanted", [{}, {"board": B.kid.hex()}, {"board": A.kid.hex(), "name": "x/y"}, {"name": "no"}])
def test_exports_are_the_database(client, database, wanted):
    rows = expected_rows(database, **wanted)
    text = client.get("/v1/export.csv", params=wanted).content.decode()
    lines = list(csv.DictReader(io.StringIO(text)))
    table = pq.read_table(io.BytesIO(client.get("/v1/export.parquet", params=wanted).content))
    assert table.column_names == list(csv.DictReader(io.StringIO(text)).fieldnames)
    assert table.schema.metadata[b"trigpoint.statements_below"] == b"100"
    assert all(field.metadata[b"description"] for field in table.schema)
    cells = table.to_pylist()
    assert len(lines) == len(cells) == len(rows)
    for line, cell, (board, row) in zip(lines, cells, rows, strict=True):
        value = Decimal(row.mantissa).scaleb(row.exponent)
        assert Decimal(line["value"]) == value == cell["value"]
        for name in ("name", "unit", "time_source"):
            assert line[name] == cell[name] == getattr(row, name)
        for name in ("mantissa", "exponent", "seq", "position", "leaf_index"):
            assert int(line[name]) == cell[name] == getattr(row, name)
        assert line["board"] == cell["board"] == board
        assert cell["time"].timestamp() == row.time_s
        assert line["time"] == f"{cell['time']:%Y-%m-%dT%H:%M:%SZ}"
        assert round(cell["arrival"].timestamp() * 1000) == row.arrival_ms
        assert line["arrival"] == f"{cell['arrival']:%Y-%m-%dT%H:%M:%S}.{row.arrival_ms % 1000:03d}Z"


@pytest.mark.parametrize("board", [None, A.kid.hex()])
def test_an_export_holds_what_was_there_when_it_began(tmp_path, board):
    """Statements that come while it streams are left out, folded or not."""
    journal = Journal.at(tmp_path / "trigpoint.db")
    journal.enrol(A)
    for _ in range(exports._STATEMENTS + 1):
        journal.store(A, [Reading("a", "Cel", 1, 0, 0)])

    async def run():
        reader = reading.Reader(tmp_path / "trigpoint.db")
        source = await exports._Source.open(reader, exports.ExportQuery(board=board))
        rows = await source.next(list)
        assert not source.done
        journal.store(A, [Reading("a", "Cel", 1, 0, 0)])
        journal.fold()
        while not source.done:
            rows += await source.next(list)
        reader.close()
        return rows

    assert [row.seq for _, row in asyncio.run(run())] == list(range(exports._STATEMENTS + 1))
    journal.connection.close()


def test_inspection(client):
    rejected = every(client, "/v1/rejected", "rejected", limit=3)
    assert [one["detail"] for one in rejected] == [f"detail {number}" for number in reversed(range(7))]
    assert {one["topic"] for one in rejected} == {'tr\x00ïg/1/\ud7ff\U0001f600"<b>'}
    evidence = every(client, "/v1/evidence", "evidence", limit=2)
    assert [one["entry"] for one in evidence] == [f"{number:02x}" * 32 for number in range(5)]
    assert evidence == every(client, "/v1/evidence", "evidence", board=B.kid.hex())
    assert client.json("/v1/evidence", board=A.kid.hex())["evidence"] == []
    assert client.json("/v1/counters")["counters"]["accepted"] == 100


@pytest.mark.parametrize(
    ("path", "status", "kind"),
    [
        ("/nothing", 404, "not-found"),
        ("/v1/boards/", 404, "not-found"),
        ("/v1/boards/" + "00" * 32, 404, "not-found"),
        ("/v1/statements/100000", 404, "not-found"),
        ("/v1/statements/-1", 422, "invalid-request"),
        ("/v1/statements/99999999999999999999999", 422, "invalid-request"),
        ("/v1/boards?limit=1001", 422, "invalid-request"),
        ("/v1/boards?limit=1&limt=2", 422, "invalid-request"),
        ("/v1/boards?cursor=" + "A" * 22, 400, "bad-cursor"),
        ("/v1/boards/" + A.kid.hex().upper(), 422, "invalid-request"),
        (f"/v1/boards/{A.kid.hex()}/buckets", 422, "invalid-request"),
        (f"/v1/boards/{A.kid.hex()}/readings?from=yesterday", 422, "invalid-request"),
    ],
)
def test_every_error_is_a_problem(client, path, status, kind):
    answer = client.get(path)
    problem = answer.json()
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/problem+json")
    assert (problem["status"], problem["type"]) == (status, f"urn:trigpoint:problem:{kind}")
    assert problem["title"] and problem["detail"]
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_other_methods_write_nothing(client):
    for method in ("POST", "PUT", "PATCH", "DELETE", "TRACE", "OPTIONS"):
        answer = requests.request(method, client.url + "/v1/boards", data="x" * 100, timeout=5,
                                  headers={"Authorization": f"Bearer {client.token}"})  # fmt: skip
        assert (answer.status_code, answer.headers["Allow"]) == (405, "GET")
        assert answer.json()["type"] == "urn:trigpoint:problem:method-not-allowed"
    assert requests.head(client.url + "/", timeout=5).status_code == 200
    head = requests.head(client.url + "/v1/boards", headers={"Authorization": f"Bearer {client.token}"}, timeout=5)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["Content-Length"] == client.get("/v1/boards").headers["Content-Length"]


def test_a_fault_of_ours_is_a_problem_that_gives_nothing_away(client, monkeypatch):
    def fail(*_):
        raise RuntimeError("a secret")

    monkeypatch.setattr("trigpoint.store.queries.standings", fail)
    answer = client.get("/v1/boards")
    assert (answer.status_code, answer.headers["Content-Type"]) == (500, "application/problem+json")
    assert "secret" not in answer.text


def test_a_query_that_takes_too_long_is_ended(client, monkeypatch):
    def endless(connection, *_):
        return connection.execute(
            "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"
        ).fetchone()

    monkeypatch.setattr("trigpoint.store.queries.counters", endless)
    monkeypatch.setattr(reading, "DEADLINE_S", 0.2)
    answer = client.get("/v1/counters")
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:trigpoint:problem:too-slow")
    monkeypatch.undo()
    assert client.get("/v1/counters").status_code == 200


def test_waiting_is_bounded(client, monkeypatch):
    """More questions than may wait are refused at once, and all others are answered."""
    gate = threading.Event()

    def slow(_):
        gate.wait(10)
        return {}

    monkeypatch.setattr("trigpoint.store.queries.counters", slow)
    monkeypatch.setattr(reading, "WAITING", 5)
    with ThreadPoolExecutor(12) as pool:
        asked = [pool.submit(client.get, "/v1/counters") for _ in range(12)]
        while sum(one.done() for one in asked) < 7:
            threading.Event().wait(0.01)
        gate.set()
        statuses = sorted(one.result().status_code for one in asked)
    assert statuses == [200] * 5 + [503] * 7


def test_the_rate_is_limited_for_each_caller(folder):
    with api(folder, requests_per_minute=5) as client:
        statuses = [client.get("/v1/log").status_code for _ in range(7)]
        assert statuses == [200] * 5 + [429] * 2
        refused = client.get("/nothing")
        assert refused.json()["type"] == "urn:trigpoint:problem:too-many-requests"
        assert 1 <= int(refused.headers["Retry-After"]) <= 13
        client.token = None  # another caller
        assert client.get("/v1/log").status_code == 200


def test_a_proxy_is_believed_only_if_it_is_trusted(folder):
    for trusted, expected in (([], [200, 429, 429]), (["127.0.0.1"], [200, 200, 429])):
        with api(folder, requests_per_minute=1, trusted_proxies=trusted) as client:
            client.token = None
            statuses = [
                client.get("/v1/log", headers={"X-Forwarded-For": address}).status_code
                for address in ("192.0.2.1", "2001:db8::1", "2001:db8::2")  # the last two are one network
            ]
        assert statuses == expected


def test_cors_is_closed_until_an_origin_is_named(folder, client):
    asked = {"Origin": "https://example.org"}
    assert "Access-Control-Allow-Origin" not in client.get("/v1/log", headers=asked).headers
    with api(folder, cors_origins=["https://example.org"]) as opened:
        assert opened.get("/v1/log", headers=asked).headers["Access-Control-Allow-Origin"] == "https://example.org"
        other = opened.get("/v1/log", headers={"Origin": "https://evil.example"})
        assert "Access-Control-Allow-Origin" not in other.headers
        opened.token = "unknown"
        assert opened.get("/v1/log", headers=asked).headers["Access-Control-Allow-Origin"] == "https://example.org"
        flight = requests.options(opened.url + "/v1/boards", timeout=5, headers={
            **asked, "Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization",
        })  # fmt: skip
        assert flight.status_code == 200


_HOSTILE = st.sampled_from(
    ["'", '"', "' OR 1=1 --", "x'; DROP TABLE statements; --", "%", "_", "\x00", "ä", "\U0001f600"]
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(_HOSTILE | st.text(max_size=8), min_size=1, max_size=3).map("".join), st.integers(0, 5))
def test_no_text_reaches_the_database_as_sql(client, database, text, where):
    """Whatever is put in the place of a value, the answer is that of this value: refused, or nothing of that name."""
    board = A.kid.hex()
    path, params = [
        (f"/v1/boards/{board}/readings", {"name": text}),
        (f"/v1/boards/{board}/readings", {"unit": text}),
        (f"/v1/boards/{board}/buckets", {"name": "temperature", "unit": text}),
        ("/v1/export.csv", {"unit": text, "board": board}),
        ("/v1/evidence", {"board": text}),
        (f"/v1/boards/{board}/statements", {"cursor": text}),
    ][where]
    answer = client.get(path, params=params)
    assert answer.status_code in (200, 400, 422)
    if answer.status_code == 200:
        found = answer.text.splitlines()[1:] if where == 3 else next(iter(answer.json().values()), None)
        found = answer.json().get("readings", answer.json().get("buckets")) if where < 3 else found
        assert found == [] or text in ("Cel", ODD_UNIT)
    assert statements.size(database) == 100


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), min_size=8, max_size=20), st.integers(1, 3))
def test_pages_are_the_whole_though_more_comes(tmp_path_factory, appended, limit):
    """While statements are appended and folded between pages, none of those there at the start is missing or double."""
    folder = tmp_path_factory.mktemp("pages")
    journal = Journal.at(folder / "trigpoint.db")
    journal.enrol(A)
    pack = [Reading("a", "Cel", 1, 0, second) for second in range(3)]
    for _ in range(5):
        journal.store(A, pack)
    paths = [
        ("/v1/statements", "statements", lambda one: one["leaf_index"]),
        (f"/v1/boards/{A.kid.hex()}/statements", "statements", lambda one: one["seq"]),
        (f"/v1/boards/{A.kid.hex()}/readings", "readings", lambda one: (one["seq"], one["position"])),
    ]
    with api(folder) as client:
        pages = [(iter(_pages(client, path, limit)), key, place, []) for path, key, place in paths]
        running = set(range(3))
        for which, more in appended * 3:
            for _ in range(more if which else 0):
                journal.store(A, pack)
            if more == 3:
                journal.fold(3)
            for number in list(running):
                page = next(pages[number][0], None)
                if page is None:
                    running.discard(number)
                else:
                    pages[number][3].extend(map(pages[number][2], page[pages[number][1]]))
        for _, _, _, seen in pages:
            assert seen == sorted(set(seen))
        for seen, whole in zip(
            [pages[0][3], pages[1][3], pages[2][3]],
            [range(5), range(5), [(seq, position) for seq in range(5) for position in range(3)]],
            strict=True,
        ):
            assert seen[: len(whole)] == list(whole)[: len(seen)]
            assert len(seen) >= min(len(whole), limit * len(appended))
    journal.connection.close()


def _pages(client, path, limit):
    cursor = None
    while True:
        page = client.json(path, limit=limit, **({"cursor": cursor} if cursor else {}))
        yield page
        cursor = page["next"]
        if cursor is None:
            return


def test_the_page_needs_nothing_from_elsewhere(client):
    page = requests.get(client.url + "/", timeout=5)
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert page.headers["Content-Type"].startswith("text/html")
    for name in ("/", "/page.css", "/page.js"):
        text = requests.get(client.url + name, timeout=5).text
        assert "//" not in text.replace("http://www.w3.org/2000/svg", ""), name
        assert "innerHTML" not in text and "<script>" not in text and "style=" not in text


def test_a_database_of_another_version_is_named(tmp_path):
    journal = Journal.at(tmp_path / "trigpoint.db")
    journal.connection.execute("PRAGMA user_version = 1")
    journal.connection.close()
    with pytest.raises(OperatorError, match="schema 1"), api(tmp_path):
        pass


def test_the_database_cannot_be_written_by_the_api(folder):
    reader = reading.Reader(folder / "trigpoint.db")
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader._connection().execute("DELETE FROM statements")
