"""JSON-RPC over HTTP with bounds: so long for a whole answer, and so many bytes, whatever the node does."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from requests.adapters import HTTPAdapter
from requests.exceptions import HTTPError, RequestException, Timeout
from requests.models import Response
from requests.sessions import Session
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from web3.providers.base import JSONBaseProvider
from web3.types import RPCEndpoint, RPCResponse

CONNECT_TIMEOUT_S: Final = 5.0
DEADLINE_S: Final = 20.0
LARGEST_ANSWER: Final = 16 * 1024 * 1024
"""Bytes. Some 15,000 of the registry's events; an answer of one block or receipt is far below."""

_CHUNK = 65_536
_OK = 200


class AnswerTooLargeError(RequestException):
    """The node's answer was longer than allowed; a question for less may be answered."""


class HttpNode(JSONBaseProvider):
    """One node, as web3.py wants a provider.

    The `timeout` of requests holds for each read from the socket, so a node that sends a byte now and then would keep
    the thread for ever. Here a timer cuts the connection when the whole exchange has taken `deadline_s`. It does not
    try again by itself: whoever asks knows whether to, and how long. It follows no redirection: a node that sends us
    elsewhere, perhaps to another machine of this network, is not the node that the operator chose.

    Args:
        url: http:// or https://; may hold an access token, so it is never printed.
        deadline_s: seconds from the question to the last byte of the answer. The name look-up and the connection,
            with a limit of their own, come before.
        largest: bytes of an answer.
    """

    def __init__(self, url: str, *, deadline_s: float = DEADLINE_S, largest: int = LARGEST_ANSWER) -> None:
        super().__init__()
        self.endpoint_uri = url
        self._deadline_s = deadline_s
        self._largest = largest
        self._session = Session()
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, _Adapter())

    def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        """Ask the node.

        Raises:
            requests.exceptions.Timeout: the answer was not whole in time.
            AnswerTooLargeError: it is too large.
            requests.exceptions.RequestException: the node cannot be reached, or answered with an error or redirection.
            ValueError: the answer is not JSON.
        """
        return self.decode_rpc_response(self._post(self.encode_rpc_request(method, params)))

    def _post(self, body: bytes) -> bytes:
        with _deadline(self._deadline_s), self._open(body) as response:
            response.raise_for_status()
            if response.status_code != _OK:
                raise HTTPError(response=response)
            answer = bytearray()
            # Undecoded: we said that we want it plain, and what is packed could unpack to any size.
            while chunk := response.raw.read(_CHUNK, decode_content=False):
                answer += chunk
                if len(answer) > self._largest:
                    raise AnswerTooLargeError
            return bytes(answer)

    def _open(self, body: bytes) -> Response:
        response: Response = self._session.post(
            self.endpoint_uri or "",
            data=body,
            headers={"Content-Type": "application/json", "Accept-Encoding": "identity", "User-Agent": "trigpoint"},
            timeout=(CONNECT_TIMEOUT_S, self._deadline_s),
            allow_redirects=False,
            stream=True,
        )
        return response


class _Exchange:
    """One question and its answer: the connection that they go over, once there is one, and whether time ran out."""

    def __init__(self) -> None:
        self.late = False
        self.connection: HTTPConnection | None = None

    def cut(self) -> None:
        """Break the connection off, from another thread."""
        self.late = True
        if self.connection is not None and self.connection.sock is not None:
            # Not the TLS socket's own shutdown, which would take its state from under the reading thread.
            with suppress(OSError):
                socket.socket.shutdown(self.connection.sock, socket.SHUT_RDWR)

    def goes_over(self, connection: HTTPConnection) -> None:
        """Say which connection it is, as soon as it has a socket: `cut` may have come before that."""
        self.connection = connection
        if self.late:
            raise TimeoutError


class _Running(threading.local):
    """The exchange of this thread: a connection is made deep inside requests, where nothing can be handed to it."""

    exchange: _Exchange | None = None


_running = _Running()


@contextmanager
def _deadline(seconds: float) -> Iterator[None]:
    """Cut this thread's exchange after so many seconds; whatever it stumbles over then is a Timeout."""
    exchange = _running.exchange = _Exchange()
    timer = threading.Timer(seconds, exchange.cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    except Exception:
        if not exchange.late:
            raise
    finally:
        timer.cancel()
        _running.exchange = None
    if exchange.late:
        raise Timeout


class _Plain(HTTPConnection):
    def connect(self) -> None:
        super().connect()
        _connected(self)

    def request(self, *args: Any, **kwargs: Any) -> None:
        _connected(self)
        super().request(*args, **kwargs)


class _Tls(_Plain, HTTPSConnection):
    pass


def _connected(connection: HTTPConnection) -> None:
    if _running.exchange is not None:
        _running.exchange.goes_over(connection)


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _Plain


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _Tls


class _Adapter(HTTPAdapter):
    """Makes connections that can be cut, through a proxy of the environment as well."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _PlainPool, "https": _TlsPool}

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(*args, **kwargs)
        manager.pool_classes_by_scheme = {"http": _PlainPool, "https": _TlsPool}
        return manager
