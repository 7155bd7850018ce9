"""Serves the public files: checkpoint, tiles, entry bundles, trust.json (C2SP tlog-tiles, docs/operating.md)."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header
from fastapi import Path as PathParameter
from starlette.responses import Response

from trigpoint.api.problems import not_found, responses
from trigpoint.log.merkle import ProofError
from trigpoint.log.tiles import parse_path
from trigpoint.log.tree import TILE_WIDTH

MUTABLE: Final = "no-cache"
"""Kept by nobody without asking again, which the ETag makes cheap: checkpoint and trust.json."""

FULL: Final = "public, max-age=31536000, immutable"
"""A full tile or bundle never changes: a year, which is as good as for ever."""

PARTIAL: Final = "public, max-age=3600, immutable"
"""A partial one never changes either, but soon nobody asks for it any more: an hour."""

_TEXT: Final = "text/plain; charset=utf-8"
_BYTES: Final = "application/octet-stream"
_JSON: Final = "application/json"
_MAX_FILE: Final = 131_072  # a checkpoint with many witnesses' signatures; a bundle has 8,704 bytes
_TAG: Final = re.compile(r'(?:W/)?("[!#-~]*")')

_IfNoneMatch = Annotated[
    str | None,
    Header(description="The ETag of the copy that you have; 304 if it is still the same.", max_length=1_024),
]
_EXAMPLE_CHECKPOINT = (
    "trigpoint/75065a9f7e154d3f6d6ea2b6e41011a96de93ec840e1118fc55238655f1905b6\n3\n"
    "ZISwcTCcBzVraQMMzc0vW6DT3yDxVVmyirrnVmpC7xo=\n\n— trigpoint/75065a9f7e154d3f6d6ea2b6e41011a96de93ec840e1118fc5523"
    "8655f1905b6 UFR1+G1WI7J202sahkwQLsgEF8rilz9/922ff/PFvjC7bYJuL27iDBjA2aKJkE3Y7gP1SjqVmhHzbOMlzh0unt3lxQ8=\n"
)


def router(public_directory: Path) -> APIRouter:
    """Return the routes `/checkpoint`, `/trust.json` and `/tile/...` over the directory that `PublicFiles` keeps.

    GET and HEAD, with a strong ETag and If-None-Match (RFC 9110 section 13.1.2). No Range: nothing is larger than nine
    kilobytes. A path is read as the name of a tile, and nothing that is none is ever looked for on the disk. What is
    not there is a problem 404, which nobody may keep: the file may be there a minute later.

    Args:
        public_directory: read at each request; it may be empty at first.
    """
    routes = APIRouter(tags=["log"])

    def checkpoint(if_none_match: _IfNoneMatch = None) -> Response:
        """Return the log's newest signed head (C2SP tlog-checkpoint)."""
        return _answer(public_directory / "checkpoint", if_none_match, _TEXT, MUTABLE)

    def trust(if_none_match: _IfNoneMatch = None) -> Response:
        """Return what a verifier must trust: chain, contracts, log and log key. A chain can confirm it."""
        return _answer(public_directory / "trust.json", if_none_match, _JSON, MUTABLE)

    def tile(
        path: Annotated[
            str,
            PathParameter(
                description="`<L>/<N>[.p/<W>]` for a tile of hashes, `entries/<N>[.p/<W>]` for a bundle of entries.",
                max_length=64,
                examples=["0/000.p/3", "entries/x001/234"],
            ),
        ],
        if_none_match: _IfNoneMatch = None,
    ) -> Response:
        """Return a tile of the Merkle tree, or a bundle of the log's entries (C2SP tlog-tiles)."""
        name = f"tile/{path}"
        try:
            width = parse_path(name).width
        except ProofError:
            raise not_found("no tile has such a name; C2SP tlog-tiles says how they are called") from None
        return _answer(public_directory / name, if_none_match, _BYTES, FULL if width == TILE_WIDTH else PARTIAL)

    for path, endpoint, answers in (
        ("/checkpoint", checkpoint, _responses(_TEXT, _EXAMPLE_CHECKPOINT)),
        ("/trust.json", trust, _responses(_JSON, None)),
        ("/tile/{path:path}", tile, _responses(_BYTES, None)),
    ):
        routes.add_api_route(path, endpoint, methods=["GET"], response_class=Response, responses=answers)
        routes.add_api_route(path, endpoint, methods=["HEAD"], response_class=Response, include_in_schema=False)
    return routes


def _answer(path: Path, if_none_match: str | None, content_type: str, caching: str) -> Response:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise not_found("the log has no such file now; what the checkpoint's size calls for is there") from None
    tag = f'"{hashlib.sha256(data).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": caching, "X-Content-Type-Options": "nosniff"}
    if if_none_match is not None and (if_none_match.strip() == "*" or tag in _TAG.findall(if_none_match)):
        return Response(status_code=304, headers=headers)
    # A HEAD's body is left out by the server, which knows its length from here.
    return Response(data, headers={**headers, "Content-Type": content_type})


def _responses(content_type: str, example: str | None) -> dict[int | str, dict[str, Any]]:
    kind = {_TEXT: {"type": "string"}, _JSON: {"type": "object"}, _BYTES: {"type": "string", "format": "binary"}}
    content: dict[str, Any] = {"schema": kind[content_type]}
    if example is not None:
        content["example"] = example
    return {
        200: {"description": "The file.", "content": {content_type.partition(";")[0]: content}},
        304: {"description": "The copy that you have is still the same."},
        **responses(404),
    }
