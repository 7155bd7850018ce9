"""The API as a process of its own: beside the gateway, which starts it again when it ends, or alone.

It is of its own so that no question can slow what the boards send: it runs at low priority, reads the database and
writes nothing. The gateway holds the listening socket, so while the API starts again callers wait rather than fail.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Self

from trigpoint.api.served import Served
from trigpoint.config import Config
from trigpoint.errors import OperatorError
from trigpoint.web.files import site_files

if TYPE_CHECKING:
    import uvicorn

_log = logging.getLogger(__name__)

SOCKET_NAME = "api"
"""The name of the listening socket in a systemd unit (FileDescriptorName=)."""

_NICE = 15
_BACKLOG = 128
_CONNECTIONS = 256
_SHARE = 4
"""One peer may have this part of all connections."""

_GRACE_S = 3
_RESTART_MIN_S, _RESTART_MAX_S = 1.0, 60.0
_STOP_S = 8.0
_HEADERS_MAX = 16_384


def listen(address: str, handed_over: int | None = None) -> socket.socket:
    """Return the socket to serve on.

    Args:
        address: HOST:PORT, an IPv6 address in brackets.
        handed_over: the descriptor of a socket that the service manager is listening on already; None if there is none.

    Raises:
        OperatorError: the address cannot be listened on.
    """
    if handed_over is not None:
        return socket.socket(fileno=handed_over)
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    try:
        family = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        return socket.create_server((host, int(port)), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise OperatorError(f"cannot serve the API at {address}: {error.strerror}; change api.listen") from error


def check(served: Served) -> None:
    """Make sure that the API can start, as far as its files say.

    Raises:
        OperatorError: the certificate and its key do not go together, or there is no page where one is named.
    """
    settings = served.settings
    if settings.board_page is not None:
        site_files(settings.board_page)
    if settings.certificate_file and settings.certificate_key_file:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
                settings.certificate_file, settings.certificate_key_file
            )
        except (OSError, ssl.SSLError) as error:
            raise OperatorError(
                f"api.certificate_file and api.certificate_key_file cannot be used: {error.strerror or error};"
                " name a certificate and its key, as PEM"
            ) from error


def url(served: Served) -> str:
    """Return where the API is, for a person."""
    return f"{'https' if served.settings.certificate_file else 'http'}://{served.settings.listen}"


def serve(served: Served, listener: socket.socket) -> None:
    """Serve the API on `listener` until SIGTERM or SIGINT. Call it from the main thread.

    Raises:
        OperatorError: the log key or the database cannot be read.
    """
    make_server(served).run(sockets=[listener])


def make_server(served: Served) -> uvicorn.Server:
    """Return the server, to be run on a socket. Raises OperatorError: the log key or the database cannot be read."""
    import uvicorn

    from trigpoint.api import connections
    from trigpoint.api.app import create

    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    settings = served.settings
    proxies = settings.trusted_proxies
    app = create(served)
    most = _CONNECTIONS + settings.live_clients

    class Server(uvicorn.Server):
        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            app.state.arrivals.stopping = True  # live streams have no end of their own
            await super().shutdown(sockets)

    return Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=bool(proxies),
            forwarded_allow_ips=proxies or None,
            limit_concurrency=most,
            http=connections.protocol(most // _SHARE, proxies),
            loop=f"{connections.__name__}:{connections.Loop.__name__}",
            h11_max_incomplete_event_size=_HEADERS_MAX,
            timeout_graceful_shutdown=_GRACE_S,
            ssl_certfile=settings.certificate_file,
            ssl_keyfile=settings.certificate_key_file,
            ws="none",
        )
    )


class ApiProcess:
    """Keeps the API running beside the gateway, and ends with it.

    Args:
        served: what to serve.
        listener: the listening socket.
    """

    def __init__(self, served: Served, listener: socket.socket) -> None:
        self._served = served
        self._listener = listener
        self._stopping = threading.Event()
        self._wake, self._woken = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name="api", daemon=True)

    @classmethod
    def of(cls, config: Config, handed_over: int | None = None) -> Self:
        """Return the process that serves what `config` says; see `listen` for `handed_over`.

        Raises:
            OperatorError: the address or the certificate cannot be used.
        """
        served = Served.of(config)
        check(served)
        return cls(served, listen(config.api.listen, handed_over))

    @property
    def url(self) -> str:
        """Where it serves."""
        return url(self._served)

    def start(self) -> None:
        """Start the API, now and whenever it ends."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the API, by force if it takes too long."""
        self._stopping.set()
        self._wake.send(b"\0")
        self._thread.join()
        for each in (self._listener, self._wake, self._woken):
            each.close()

    def _run(self) -> None:
        delay_s = _RESTART_MIN_S
        for process in self._processes():
            started = time.monotonic()
            wait([process.sentinel, self._woken])
            if self._stopping.is_set():
                process.terminate()
                process.join(_STOP_S)
                process.kill()
                process.join()
                return
            process.join()
            if time.monotonic() - started > _RESTART_MAX_S:
                delay_s = _RESTART_MIN_S
            _log.error("the API ended exit_code=%s restart_s=%.0f", process.exitcode, delay_s)
            self._stopping.wait(delay_s)
            delay_s = min(2 * delay_s, _RESTART_MAX_S)

    def _processes(self) -> Iterator[multiprocessing.process.BaseProcess]:
        # A new interpreter rather than a copy of this one, which has threads, keys and open databases.
        context = multiprocessing.get_context("spawn")
        while not self._stopping.is_set():
            process = context.Process(target=_beside, args=(self._served, self._listener), name="api", daemon=True)
            try:
                process.start()
            except OSError as error:  # no memory, say
                _log.error("the API cannot start error=%r", str(error))
                self._stopping.wait(_RESTART_MAX_S)
                continue
            yield process


def _beside(served: Served, listener: socket.socket) -> None:
    """Serve as the gateway's child."""
    from trigpoint import logs

    logs.start(served.logging)
    os.setpgrp()  # a Ctrl-C is meant for the gateway, which will tell us
    try:
        server = make_server(served)
    except OperatorError as error:
        _log.error("the API cannot start: %s", error)
        raise SystemExit(1) from None
    with contextlib.suppress(OSError):
        os.nice(_NICE)  # only now: callers may be waiting for it to start
    _end_with_parent(lambda: setattr(server, "should_exit", True))
    server.run(sockets=[listener])


def _end_with_parent(end: Callable[[], None]) -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        end()
        threading.Event().wait(_STOP_S)
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()
