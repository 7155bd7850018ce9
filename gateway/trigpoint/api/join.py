"""The join file, for the page that sets boards up from a browser. It needs a token with a scope of its own."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import Response

from trigpoint.api.problems import not_found
from trigpoint.join import MOST_BYTES


def router(file: Path | None) -> APIRouter:
    """Return the route that hands out the join file in `file`, read anew each time; None for a gateway without."""
    routes = APIRouter(tags=["join"])

    @routes.get(
        "/v1/join",
        response_class=Response,
        responses={
            200: {"description": "The join file", "content": {"application/json": {"schema": {"type": "object"}}}}
        },
    )
    def join() -> Response:
        """Return what a board must be told to send to this gateway: broker, registry, link key (docs/browser.md)."""
        try:
            if file is None:
                raise FileNotFoundError
            with file.open("rb") as opened:
                content = opened.read(MOST_BYTES)
        except FileNotFoundError:
            raise not_found(
                "this gateway has no join file; its operator makes one: trigpoint gateway join-file"
            ) from None
        return Response(content, media_type="application/json", headers={"Cache-Control": "no-store"})

    return routes
