"""What every part of the API is given: where to read, and how to answer."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import Depends, Request
from fastapi.responses import Response

from trigpoint.api.reader import Reader
from trigpoint.config import Api

PRIVATE = "private, no-cache"
"""Cache-Control of what needs a token and may change: kept by the caller alone, and asked for again by its ETag."""

PUBLIC = "public, no-cache"
"""Cache-Control of what everybody may see and may change."""

FOR_EVER = "private, max-age=31536000, immutable"
"""Cache-Control of what needs a token and never changes."""

_ETAG = re.compile(r'(?:W/)?("[^"]*")')


@dataclass(frozen=True)
class Context:
    """The API's parts.

    Attributes:
        settings: the section `api` of the configuration.
        reader: the database.
        public: the directory of files that anyone may fetch.
        log_key: signs receipts.
    """

    settings: Api
    reader: Reader
    public: Path
    log_key: Ed25519PrivateKey


def _context(request: Request) -> Context:
    context: Context = request.app.state.context
    return context


Gateway = Annotated[Context, Depends(_context)]


def answer(
    request: Request,
    content: bytes,
    media_type: str = "application/json",
    *,
    cache: str = PRIVATE,
    headers: dict[str, str] | None = None,
) -> Response:
    """Answer with `content` and its ETag, or with 304 if the caller has just that already (RFC 9110 section 13.1.2)."""
    etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {"ETag": etag, "Cache-Control": cache, **(headers or {})}
    known = request.headers.get("if-none-match", "")
    if known.strip() == "*" or etag in _ETAG.findall(known):
        return Response(status_code=304, headers=headers)
    return Response(content, headers=headers, media_type=media_type)
