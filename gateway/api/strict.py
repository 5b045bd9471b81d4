"""Bodies read strictly: JSON as RFC 8259 has it, of the right content type, into models that forbid extras."""

from collections.abc import Callable, Coroutine, Mapping
from json import JSONDecodeError
from typing import Annotated, Final, TypeVar
from uuid import UUID

import orjson
from fastapi.routing import APIRoute
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError, PydanticKnownError, from_json
from starlette.requests import Request
from starlette.responses import Response

from gateway.domain.text import PATTERN, clean
from libs.service.problems import Problem, fault, unprocessable

Handler = Callable[[Request], Coroutine[object, object, Response]]
Body = TypeVar("Body", bound="StrictBody")

_UUID_LENGTH: Final = 36


class StrictBody(BaseModel):
    """A request's body: types as they are, nothing that was not asked for."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


def _canonical(value: object) -> object:
    if isinstance(value, str) and (len(value) != _UUID_LENGTH or value.count("-") != 4):  # noqa: PLR2004
        raise PydanticCustomError("uuid_parsing", "Input should be a UUID in its canonical form")
    return value


def _clean(value: str) -> str:
    try:
        return clean(value)
    except ValueError as error:
        raise PydanticCustomError("text_not_allowed", "{reason}", {"reason": str(error)}) from None


def _whole(value: object) -> object:
    return int(value) if type(value) is float and value.is_integer() else value


WHOLE: Final = BeforeValidator(_whole)
"""In an Annotated int: a number without a fraction is whole however it is written, as JSON Schema has it (1.0, 1e2)."""


def _within(text: str, longest: int) -> str:
    if len(text) > longest:  # normalising can make a text longer
        raise PydanticKnownError("string_too_long", {"max_length": longest})
    return text


def cleaned(longest: int) -> AfterValidator:
    """In an Annotated str: NFC, without control or bidirectional control characters, and no longer than that then."""
    return AfterValidator(lambda value: _within(_clean(value), longest))


def trimmed(longest: int, *, blank: bool = True) -> AfterValidator:
    """The same without blanks at its ends; with `blank=False` something must be left."""

    def check(value: str) -> str:
        text = _within(_clean(value), longest).strip()
        if not text and not blank:
            raise PydanticKnownError("string_too_short", {"min_length": 1})
        return text

    return AfterValidator(check)


Id = Annotated[UUID, BeforeValidator(_canonical, json_schema_input_type=UUID), Field(strict=False)]
"""A UUID in text, in its canonical form only (RFC 9562, section 4)."""

AS_TEXT: Final = Field(json_schema_extra={"pattern": PATTERN})
"""What `cleaned` asks for, as far as a schema can say it."""


class Json(Response):
    """A JSON answer, written by orjson."""

    media_type = "application/json"

    def render(self, content: object) -> bytes:
        return content if isinstance(content, bytes) else orjson.dumps(content)


class StrictRequest(Request):
    """A request whose JSON is read strictly: no NaN, no lone surrogates, no bottomless nesting."""

    async def json(self) -> object:
        try:
            return from_json(await self.body(), allow_inf_nan=False)
        except ValueError as error:
            raise JSONDecodeError(str(error), "", 0) from error


class StrictRoute(APIRoute):
    """A FastAPI route with strict bodies: 415 for what is not JSON, 400 where one is missing or broken."""

    def get_route_handler(self) -> Handler:
        handle = super().get_route_handler()
        takes_body = self.body_field is not None
        needs_body = takes_body and self.body_field is not None and self.body_field.field_info.is_required()

        async def strict(request: Request) -> Response:
            strictly = StrictRequest(request.scope, request.receive)
            if takes_body:
                body = await strictly.body()
                if body or "content-type" in strictly.headers:
                    require_json(strictly.headers)
                if needs_body and not body:
                    raise malformed()
            return await handle(strictly)

        return strict


def require_json(headers: Mapping[str, str]) -> None:
    """Raise 415 unless the content is JSON in UTF-8."""
    media_type, _, parameters = headers.get("content-type", "").partition(";")
    charset = parameters.strip().lower().removeprefix("charset=").strip('"')
    if media_type.strip().lower() != "application/json" or charset not in {"", "utf-8", "utf8"}:
        raise Problem(
            415,
            "unsupported_media_type",
            "The body must be JSON in UTF-8, sent as application/json.",
            headers={"Accept": "application/json"},
        )


def malformed() -> Problem:
    """400 for what is not JSON."""
    return Problem(400, "malformed_json", "The body is not valid JSON.")


async def read(request: Request, model: type[Body]) -> Body:
    """The body of a request, for handlers that FastAPI does not read it for."""
    body = await request.body()
    if body or "content-type" in request.headers:
        require_json(request.headers)
    try:
        parsed = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise malformed() from error
    try:
        return model.model_validate(parsed)
    except ValidationError as error:
        raise unprocessable(
            [fault(("body", *one["loc"]), one["msg"], one["type"]) for one in error.errors()]
        ) from None
