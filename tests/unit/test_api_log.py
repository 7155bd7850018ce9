"""The log over HTTP: what caches may keep, and nothing but the log's own files."""

import hashlib
import http.client
import socket
import threading

import pytest
import uvicorn
from fastapi import FastAPI
from hypothesis import given, settings
from hypothesis import strategies as st
from trigpoint.api import log, problems

FULL, PARTIAL, BUNDLE = b"f" * 8192, b"p" * 96, b"e" * 102
CHECKPOINT = "a checkpoint — signed\n".encode()


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """The port of a server over a directory with one file of each kind, and secrets beside and inside it."""
    base = tmp_path_factory.mktemp("served")
    files = {
        "public/checkpoint": CHECKPOINT,
        "public/trust.json": b"{}",
        "public/tile/0/000": FULL,
        "public/tile/0/x001/234": FULL,
        "public/tile/0/001.p/3": PARTIAL,
        "public/tile/entries/001.p/3": BUNDLE,
        "public/tile/0/002.unfinished": b"secret",
        "public/tile/secret": b"secret",
        "public/secret": b"secret",
        "secret": b"secret",
    }
    for name, data in files.items():
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).write_bytes(data)
    app = FastAPI()
    problems.install(app)
    app.include_router(log.router(base / "public"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield listener.getsockname()[1]
        server.should_exit = True
        thread.join()


def ask(port, path, method="GET", **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.putrequest(method, path)
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("path", "data", "content_type", "caching"),
    [
        ("/checkpoint", CHECKPOINT, "text/plain; charset=utf-8", "no-cache"),
        ("/trust.json", b"{}", "application/json", "no-cache"),
        ("/tile/0/000", FULL, "application/octet-stream", "public, max-age=31536000, immutable"),
        ("/tile/0/x001/234", FULL, "application/octet-stream", "public, max-age=31536000, immutable"),
        ("/tile/0/001.p/3", PARTIAL, "application/octet-stream", "public, max-age=3600, immutable"),
        ("/tile/entries/001.p/3", BUNDLE, "application/octet-stream", "public, max-age=3600, immutable"),
    ],
)
def test_each_file_with_what_caches_may_do(served, path, data, content_type, caching):
    status, headers, body = ask(served, path)
    assert (status, body) == (200, data)
    assert (headers["Content-Type"], headers["Cache-Control"]) == (content_type, caching)
    tag = headers["ETag"]
    assert tag == f'"{hashlib.sha256(data).hexdigest()[:32]}"'
    status, headers, body = ask(served, path, "HEAD")
    assert (status, body, headers["Content-Length"]) == (200, b"", str(len(data)))
    for condition in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        status, headers, body = ask(served, path, If_None_Match=condition)
        assert (status, body) == (304, b"")
        assert (headers["ETag"], headers["Cache-Control"]) == (tag, caching)
    for condition in ('"other"', tag.strip('"'), "", ","):
        assert ask(served, path, If_None_Match=condition)[0] == 200


@pytest.mark.parametrize(
    "path",
    [
        "/tile/0/001", "/tile/0/001.p/4", "/tile/0/001.p", "/tile/1/000", "/tile/0/x001", "/tile/0/x001/",
        "/tile/secret", "/tile/0/../../secret", "/tile/..%2f..%2fsecret", "/tile/%2e%2e/%2e%2e/secret", "/tile//0/000",
        "/tile/../checkpoint/../../secret", "/secret", "/../secret", "/tile/0/002.unfinished", "/tile/0/000%00",
        "/tile/0/0%300/", "/tile/", "/tile/0/000/x", "/checkpoint/x", "/tile/64/000", "/tile/%E2%80%94",
    ],
)  # fmt: skip
def test_nothing_else_is_there(served, path):
    status, headers, body = ask(served, path)
    assert status in (404, 422) and b"secret" not in body.replace(path.encode(), b"")
    assert headers["Cache-Control"] == "no-store"


@settings(max_examples=40)
@given(st.text("./%2efx0\\~:", max_size=30))
def test_no_path_leads_out(served, tail):
    status, _, body = ask(served, "/tile/" + tail)
    assert status in (404, 422) or body == FULL


def test_it_only_reads(served):
    for method in ("POST", "PUT", "DELETE"):
        assert ask(served, "/checkpoint", method)[0] == 405
