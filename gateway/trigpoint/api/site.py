"""The page that sets boards up, at /board/: the files of a folder that `trigpoint board site` made, and no others."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fastapi import APIRouter
from fastapi.responses import FileResponse, RedirectResponse, Response

from trigpoint.errors import OperatorError
from trigpoint.web.files import policy_of

_TYPES: Final = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
    ".bin": "application/octet-stream",
}
_MOST_FILES = 256


def router(directory: Path) -> APIRouter:
    """Return the routes of the page's files: those that are there now, so that no request can name another.

    Raises:
        OperatorError: the folder holds no such page.
    """
    try:
        policy = policy_of((directory / "index.html").read_text())
        found = [path for path in sorted(directory.rglob("*")) if path.is_file() and path.suffix in _TYPES]
    except (OSError, ValueError) as error:
        raise OperatorError(
            f"{directory} holds no page for boards: make it with `trigpoint board site {directory}`, or empty"
            " api.board_page"
        ) from error
    if len(found) > _MOST_FILES:
        raise OperatorError(f"{directory} holds more than {_MOST_FILES} files: it is no page for boards")
    routes = APIRouter(include_in_schema=False)
    headers = {
        "Cache-Control": "public, no-cache",
        "Content-Security-Policy": f"{policy}; frame-ancestors 'none'",
    }

    def add(name: str, path: Path) -> None:
        def file() -> FileResponse:
            return FileResponse(path, media_type=_TYPES[path.suffix], headers=headers)

        routes.add_api_route(f"/board/{name}", file, methods=["GET"])

    def folder() -> Response:
        return RedirectResponse("/board/", status_code=308)

    routes.add_api_route("/board", folder, methods=["GET"])
    for path in found:
        name = path.relative_to(directory).as_posix()
        add("" if name == "index.html" else name, path)
    return routes
