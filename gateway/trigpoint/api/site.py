"""The page that sets boards up, at /board/: the files of a folder that `trigpoint board site` made, and no others."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse, RedirectResponse, Response

from trigpoint.web.files import TYPES, site_files


def router(directory: Path) -> APIRouter:
    """Return the routes of the page's files: those that are there now, so that no request can name another.

    Raises:
        OperatorError: the folder holds no such page.
    """
    policy, files = site_files(directory)
    routes = APIRouter(include_in_schema=False)
    headers = {
        "Cache-Control": "public, no-cache",
        "Content-Security-Policy": f"{policy}; frame-ancestors 'none'",
    }

    def add(name: str, path: Path) -> None:
        def file() -> FileResponse:
            return FileResponse(path, media_type=TYPES[path.suffix], headers=headers)

        routes.add_api_route(f"/board/{name}", file, methods=["GET"])

    def folder() -> Response:
        return RedirectResponse("/board/", status_code=308)

    routes.add_api_route("/board", folder, methods=["GET"])
    for name, path in files.items():
        add("" if name == "index.html" else name, path)
    return routes
