"""Errors as RFC 9457 problem details: what a client is told, in one shape, whatever went wrong."""

import json
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

import psycopg
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from psycopg_pool import PoolTimeout
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

MEDIA_TYPE: Final = "application/problem+json"
TRACE_ID: Final = "trace_id"
"""Where the trace id of a request lies in its ASGI scope."""

Place: TypeAlias = Literal["body", "query", "path", "header"]

_TRACEPARENT: Final = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
_CODES: Final = MappingProxyType(
    {
        400: "bad_request",
        404: "not_found",
        405: "method_not_allowed",
        406: "not_acceptable",
        413: "body_too_large",
        415: "unsupported_media_type",
        429: "too_many_requests",
        500: "internal_error",
        503: "unavailable",
    }
)


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a request: `pointer` is a JSON Pointer (RFC 6901) into `place`."""

    pointer: str
    detail: str
    code: str
    place: Place = "body"


@dataclass(slots=True, eq=False)
class Problem(Exception):  # noqa: N818 - the field's own word for what is sent
    """Answers the request at hand with this problem; `code` is stable and names its page in docs/problems/."""

    status: int
    code: str
    detail: str
    title: str | None = None
    errors: Sequence[Fault] = ()
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self, trace_id: str) -> bytes:
        """The problem as JSON, in ASCII: it may quote what is not valid text."""
        content: dict[str, object] = {
            "type": f"/problems/{self.code}",
            "title": self.title or self.code.replace("_", " ").capitalize(),
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            "trace_id": trace_id,
        }
        if self.errors:
            content["errors"] = [
                {"in": one.place, "pointer": one.pointer, "detail": one.detail, "code": one.code}
                for one in self.errors
            ]
        return json.dumps(content, separators=(",", ":")).encode("ascii")


def trace_id(scope: Scope) -> str:
    """The trace id of the request: the caller's by W3C Trace Context, else a fresh one; kept in the scope."""
    known = scope.get(TRACE_ID)
    if isinstance(known, str):
        return known
    given = next((value for name, value in scope["headers"] if name == b"traceparent"), b"")
    match = _TRACEPARENT.fullmatch(given)
    fresh = match[1].decode("ascii") if match and match[1].strip(b"0") else secrets.token_hex(16)
    scope[TRACE_ID] = fresh
    return fresh


def response(problem: Problem, scope: Scope) -> Response:
    """The problem as an answer to the request of this scope; also for ASGI middleware to send by itself."""
    return Response(problem.body(trace_id(scope)), problem.status, dict(problem.headers), MEDIA_TYPE)


def invalid(error: RequestValidationError) -> Problem:
    """What a request that does not fit its schema is answered: 400 when it is no JSON at all, else 422."""
    found = error.errors()
    if any(one["type"] == "json_invalid" for one in found):
        return Problem(400, "malformed_json", "The body is not valid JSON.")
    return unprocessable([fault(one["loc"], one["msg"], one["type"]) for one in found])


def unprocessable(faults: Sequence[Fault]) -> Problem:
    """422 with every fault that was found."""
    noun = "one fault" if len(faults) == 1 else f"{len(faults)} faults"
    return Problem(422, "validation_failed", f"The request has {noun}; see errors.", errors=faults)


def fault(location: Sequence[int | str], message: str, code: str) -> Fault:
    """A fault at pydantic's location, whose first part says which part of the request is meant."""
    place, *path = (str(part) for part in location) if location else ("body",)
    pointer = "#" + "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in path)
    match place:
        case "query" | "path" | "header":
            return Fault(pointer, message, code, place)
        case _:
            return Fault(pointer, message, code)


def of_status(error: HTTPException) -> Problem:
    """The problem for an error that the framework raises by itself."""
    phrase = HTTPStatus(error.status_code).phrase
    code = _CODES.get(error.status_code, phrase.lower().replace(" ", "_").replace("-", "_").replace("'", ""))
    detail = {
        404: "There is nothing at this address.",
        405: "This address does not know this method; the Allow header names those it knows.",
    }.get(error.status_code, str(error.detail))
    return Problem(error.status_code, code, detail, headers=dict(error.headers or {}))


def of(error: Exception) -> Problem:
    """The problem that an exception amounts to."""
    match error:
        case Problem():
            return error
        case RequestValidationError():
            return invalid(error)
        case HTTPException():
            return of_status(error)
        case psycopg.OperationalError() | PoolTimeout():
            detail = "The service cannot reach its database right now. Try again."
            return Problem(503, "unavailable", detail, headers={"Retry-After": "1"})
        case _:
            detail = "Something went wrong on our side; the trace_id finds it in the logs."
            return Problem(500, "internal_error", detail)


def install(app: FastAPI) -> None:
    """Make every error of this application a problem, the framework's own included."""

    async def answer(request: Request, error: Exception) -> Response:
        return response(of(error), request.scope)

    kinds = (
        Problem,
        RequestValidationError,
        HTTPException,
        psycopg.OperationalError,
        PoolTimeout,
        Exception,
    )
    for kind in kinds:
        app.add_exception_handler(kind, answer)
