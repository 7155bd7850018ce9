"""The page at `/`: what this gateway is, for whoever opens its address in a browser."""

from __future__ import annotations

from importlib import resources

from fastapi import APIRouter, Request
from fastapi.responses import Response

from trigpoint.api.context import answer

router = APIRouter(include_in_schema=False)

_FILES = {
    "/": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none';"
    " form-action 'none'; frame-ancestors 'none'"
)


async def _page(request: Request) -> Response:
    name, media_type = _FILES[request.url.path]
    content = (resources.files("trigpoint.api") / "static" / name).read_bytes()
    return answer(request, content, media_type, cache="public, no-cache", headers={"Content-Security-Policy": _POLICY})


for _path in _FILES:
    router.add_api_route(_path, _page, methods=["GET"])
