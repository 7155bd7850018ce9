"""Errors as problem+json (RFC 9457), whatever went wrong and wherever."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

_log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
_MAX_ERRORS = 10


class WrongField(BaseModel):
    """One parameter that the request got wrong."""

    field: str = Field(description="Where it is and what it is called.", examples=["query.limit"])
    detail: str = Field(examples=["Input should be less than or equal to 1000"])


class Problem(BaseModel):
    """Problem details (RFC 9457)."""

    type: str = Field(
        description="What kind of problem; the same word always.", examples=["urn:trigpoint:problem:not-found"]
    )
    title: str = Field(description="The same for every problem of the kind.", examples=["Not found"])
    status: int = Field(description="The HTTP status.", examples=[404])
    detail: str = Field(
        description="What was wrong this time, and what to do.",
        examples=["no such board; /v1/boards lists those that the registry knows"],
    )
    errors: list[WrongField] | None = Field(default=None, description="The parameters at fault, if it was those.")


class ProblemError(Exception):
    """A request that cannot be answered.

    Attributes:
        status: the HTTP status.
        kind: the last part of the problem's type, lower case with hyphens.
        detail: one sentence for the caller; never holds what the caller must not see.
        headers: further headers of the response.
        errors: the parameters at fault.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        errors: list[WrongField] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.detail = detail
        self.headers = dict(headers or {})
        self.errors = errors

    def content(self) -> bytes:
        """Return the problem as JSON."""
        problem: dict[str, Any] = {
            "type": f"urn:trigpoint:problem:{self.kind}",
            "title": self.kind.replace("-", " ").capitalize(),
            "status": self.status,
            "detail": self.detail,
        }
        if self.errors is not None:
            problem["errors"] = [error.model_dump() for error in self.errors]
        return json.dumps(problem, ensure_ascii=False).encode()

    def response(self) -> Response:
        """Return the problem as a response, which no cache keeps."""
        headers = {"Cache-Control": "no-store", **self.headers}
        return Response(self.content(), self.status, headers=headers, media_type=MEDIA_TYPE)


def not_found(detail: str) -> ProblemError:
    """Return the problem of something that is not there."""
    return ProblemError(HTTPStatus.NOT_FOUND, "not-found", detail)


def wrong(field: str, detail: str) -> ProblemError:
    """Return the problem of a parameter that only the database, or its fellows, show to be wrong."""
    return ProblemError(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "invalid-request",
        f"{field}: {detail}",
        errors=[WrongField(field=field, detail=detail)],
    )


def install(app: FastAPI) -> None:
    """Answer every error of `app` with a problem."""

    @app.exception_handler(ProblemError)
    async def known(_: Request, error: ProblemError) -> Response:
        return error.response()

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        # The input itself is not repeated: it may be anything, of any length.
        errors = [
            WrongField(field=".".join(str(part) for part in item["loc"])[:100], detail=str(item["msg"])[:200])
            for item in error.errors()[:_MAX_ERRORS]
        ]
        first = errors[0]
        return ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-request", f"{first.field}: {first.detail}", errors=errors
        ).response()

    @app.exception_handler(HTTPException)
    async def refused(_: Request, error: HTTPException) -> Response:
        status = HTTPStatus(error.status_code)
        kind = status.phrase.lower().replace(" ", "-")
        detail = {
            HTTPStatus.NOT_FOUND: "there is nothing at this path; /openapi.json lists all paths",
            HTTPStatus.METHOD_NOT_ALLOWED: "this path does not know that method; the API only reads: use GET",
        }.get(status, str(error.detail))
        return ProblemError(status, kind, detail, headers=error.headers).response()

    @app.exception_handler(Exception)
    async def broken(request: Request, error: Exception) -> Response:
        _log.error("request failed path=%s", request.url.path, exc_info=error)
        return ProblemError(
            HTTPStatus.INTERNAL_SERVER_ERROR, "internal-error", "the gateway failed at this; its log says why"
        ).response()


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the part of an operation's OpenAPI that says which problems it may answer with."""
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in statuses
    }
