"""Errors as problem details (RFC 9457): `application/problem+json` with a stable `code`.

A client relies on `status` and `code`; `detail` is for people and says what was wrong and what is allowed.
"""

import http
import re
from collections.abc import Mapping
from typing import Any

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.routing import Match, Route

from api.http.errors import TooMany
from core.errors import MilkrunError

STATUS = {
    "bad_request": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "not_found": 404,
    "conflict": 409,
    "precondition_failed": 412,
    "too_large": 413,
    "unsupported_media_type": 415,
    "invalid": 422,
    "too_many": 429,
    "unavailable": 503,
}
_CODE_OF_STATUS = {404: "not_found", 405: "method_not_allowed", 413: "too_large", 415: "unsupported_media_type"}
# Where pydantic's words speak of Python.
_MESSAGES = {
    "missing": "this is needed",
    "extra_forbidden": "there is no such field",
    "model_attributes_type": "this must be a JSON object",
    "dict_type": "this must be a JSON object",
    "json_invalid": "this is not JSON",
}
# What follows is a tracking link's key itself, which no log may hold.
_KEYED = re.compile(r"^(/v1/track/|/t/)[^/]+")
_log = structlog.get_logger()


class FieldError(BaseModel):
    """One thing that was wrong: where it was (`in`: path, query, header, body), at which key, and what is allowed."""

    model_config = ConfigDict(populate_by_name=True)

    where: str = Field(alias="in")
    at: str
    message: str


class Problem(BaseModel):
    """The body of every error."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    instance: str
    request_id: str
    errors: list[FieldError] | None = Field(None, description="of invalid input: one entry for each thing wrong")


def problem(
    request: Request,
    status: int,
    code: str,
    detail: str,
    *,
    headers: Mapping[str, str] | None = None,
    errors: list[FieldError] | None = None,
) -> JSONResponse:
    request.state.problem = code
    body = Problem(
        type=f"urn:milkrun:problem:{code}",
        title=http.HTTPStatus(status).phrase,
        status=status,
        code=code,
        detail=detail,
        instance=request.url.path,
        request_id=getattr(request.state, "request_id", ""),
        errors=errors,
    )
    return JSONResponse(
        body.model_dump(exclude_none=True, by_alias=True),
        status,
        dict(headers or {}),
        media_type="application/problem+json",
    )


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses=` of a route: its problems beside those that `api.http.openapi` adds to every route."""
    return {
        status: {
            "description": http.HTTPStatus(status).phrase,
            "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in statuses
    }


def install(app: FastAPI) -> None:
    """Make every error of `app` a problem."""
    app.add_exception_handler(MilkrunError, _ours)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _http)


async def _ours(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, MilkrunError)
    headers = {}
    if error.kind == "unauthorized":
        headers["WWW-Authenticate"] = 'Bearer error="invalid_token"' if error.code == "invalid_token" else "Bearer"
    if isinstance(error, TooMany):
        headers["Retry-After"] = str(max(1, round(error.retry_after_s + 0.5)))
    return problem(request, STATUS[error.kind], error.code, str(error), headers=headers)


async def _validation(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    errors = [
        FieldError(
            where=str(e["loc"][0]),
            at=".".join(str(part) for part in e["loc"][1:]),
            message=_MESSAGES.get(e["type"], e["msg"]),
        )
        for e in error.errors()
    ]
    return invalid(request, errors)


def invalid(request: Request, errors: list[FieldError]) -> JSONResponse:
    """The answer to input that is wrong in these ways."""
    detail = "; ".join(f"{' '.join(filter(None, (e.where, e.at)))}: {e.message}" for e in errors)
    return problem(request, 422, "invalid_request", detail, errors=errors)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = _CODE_OF_STATUS.get(error.status_code, "bad_request")
    detail, headers = str(error.detail), dict(error.headers or {})
    if error.status_code == 405:
        allowed = ", ".join(methods_at(request))
        headers["Allow"] = allowed
        if request.method == "OPTIONS":
            return Response(status_code=204, headers=headers)
        detail = f"{request.method} is not possible here; {allowed} are"
    elif error.status_code == 404:
        detail = f"there is nothing at {request.url.path[:200]}; /v1/openapi.json lists what there is"
    return problem(request, error.status_code, code, detail, headers=headers)


def methods_at(request: Request) -> list[str]:
    """The methods that some route takes at the request's path; a path written out wins over one with a parameter."""
    matching = [r for r in request.app.routes if isinstance(r, Route) and r.matches(request.scope)[0] != Match.NONE]
    fewest = min((len(route.param_convertors) for route in matching), default=0)
    found = {"OPTIONS"}.union(*(r.methods or () for r in matching if len(r.param_convertors) == fewest))
    return sorted(found | ({"HEAD"} if "GET" in found else set()))


def told_path(path: str) -> str:
    """A path as a log may have it."""
    return _KEYED.sub(r"\1...", path)


def bug(request: Request, error: Exception) -> JSONResponse:
    """The answer to an error nobody expected."""
    _log.error("api.bug", path=told_path(request.url.path), error=repr(error), exc_info=error)
    return problem(request, 500, "internal", "Milkrun made a mistake; the request id finds it in the log")
