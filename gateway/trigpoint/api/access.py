"""Who may ask, how often, and for what. It stands before everything else the API does."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import re
from collections.abc import Callable
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPBearer
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as AsgiScope

from trigpoint.api.limits import RateLimit
from trigpoint.api.problems import ProblemError
from trigpoint.api.tokens import Scope, TokenFile
from trigpoint.errors import OperatorError

_log = logging.getLogger(__name__)

_SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}

_STREAMED = re.compile("/v1/(?:live|export)")

_bearer = HTTPBearer(
    auto_error=False, scheme_name="token", description="A token that `trigpoint gateway token new` made."
)


class Gate:
    """ASGI middleware: finds the caller's scopes, and refuses callers who ask too often or with an unknown token.

    A token in the URL is not looked for: it would end in logs and histories.

    Args:
        app: what the gate stands before.
        tokens: the tokens there are.
        public: what may be read without one.
        limit: how often one caller may ask.
    """

    def __init__(self, app: ASGIApp, tokens: TokenFile, public: frozenset[Scope], limit: RateLimit) -> None:
        self._app = app
        self._tokens = tokens
        self._public = public
        self._limit = limit

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Let a request through with `scopes` in its state, or answer it with a problem."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            scope.setdefault("state", {})["scopes"] = self._admit(scope)
        except ProblemError as problem:
            await problem.response()(scope, receive, send_with_headers)
            return
        if scope["method"] == "HEAD" and not _STREAMED.match(scope["path"]):
            scope = {**scope, "method": "GET"}  # the server, which sees the HEAD, leaves the content out
        try:
            await self._app(scope, receive, send_with_headers)
        except asyncio.CancelledError:
            _log.info("a transfer was cut off: the API stops path=%s", scope["path"])

    def _admit(self, scope: AsgiScope) -> frozenset[Scope]:
        address = network(scope["client"][0] if scope.get("client") else "")
        kind, _, text = Headers(scope=scope).get("authorization", "").partition(" ")
        if not kind:
            self._charge(f"address {address}")
            return self._public
        try:
            token = self._tokens.find(text.strip()) if kind.lower() == "bearer" else None
        except OperatorError as error:
            _log.error("tokens cannot be read: %s", error)
            raise ProblemError(503, "no-tokens", "the gateway cannot read its tokens; its log says why") from error
        self._charge(f"token {token.name}" if token else f"address {address}")
        if token is None:
            raise ProblemError(
                401,
                "unknown-token",
                "this token is not known; ask the operator for one, or leave the header out for what is public",
                headers={"WWW-Authenticate": 'Bearer realm="trigpoint", error="invalid_token"'},
            )
        return self._public | token.scopes

    def _charge(self, caller: str) -> None:
        wait_s = self._limit.wait(caller)
        if wait_s:
            raise ProblemError(
                429,
                "too-many-requests",
                "too many requests from this token or address; wait as long as Retry-After says",
                headers={"Retry-After": str(int(wait_s) + 1)},
            )


def requires(scope: Scope) -> Callable[..., None]:
    """Return the dependency that lets through only who may read `scope`."""

    def check(request: Request, _: Annotated[object, Security(_bearer)]) -> None:
        scopes: frozenset[Scope] = request.state.scopes
        if scope in scopes:
            return
        if "authorization" in request.headers:
            raise ProblemError(
                403,
                "missing-scope",
                f"this token has not the scope {scope}; ask the operator for one that has",
                headers={"WWW-Authenticate": f'Bearer realm="trigpoint", error="insufficient_scope", scope="{scope}"'},
            )
        raise ProblemError(
            401,
            "token-needed",
            f"this needs a token with the scope {scope}, as `Authorization: Bearer trig_...`",
            headers={"WWW-Authenticate": 'Bearer realm="trigpoint"'},
        )

    return check


LOG = Depends(requires(Scope.LOG))
READINGS = Depends(requires(Scope.READINGS))
INSPECT = Depends(requires(Scope.INSPECT))
JOIN = Depends(requires(Scope.JOIN))


def network(host: str) -> str:
    """Return the caller's address; of IPv6 the network of 64 bits, of which one caller has all addresses."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.version == 4:
        return str(address)
    mapped = address.ipv4_mapped
    return str(mapped) if mapped else str(ipaddress.ip_network((int(address), 64), strict=False))
