"""Query parameters, read strictly: each once, none that is not known, digits for numbers, zones for times."""

import re
from collections import Counter
from datetime import UTC, datetime
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError
from starlette.requests import Request

from gateway.api.paging import DEFAULT_SIZE, MAX_SIZE, MAX_TOKEN_LENGTH
from libs.service.problems import Fault, unprocessable

_MOMENT: Final = re.compile(r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(\.\d{1,6})?\d*([Zz]|[+-]\d\d:\d\d)")


def _digits(given: object) -> object:
    if isinstance(given, str) and not re.fullmatch(r"-?[0-9]{1,18}", given):
        raise PydanticCustomError("int_parsing", "Input should be a whole number, in digits")
    return given


def _rfc3339(given: object) -> object:
    match = _MOMENT.fullmatch(given) if isinstance(given, str) else None
    if match is None:
        raise PydanticCustomError("datetime_parsing", "Input should be an RFC 3339 time with its zone")
    day, time, fraction, zone = match.groups()
    return f"{day}T{time}{fraction or ''}{zone.upper()}"


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise PydanticCustomError(
            "datetime_parsing", "Input should lie between the years 1 and 9999"
        ) from None


WHOLE: Final = BeforeValidator(_digits)
"""In an Annotated int: digits only, as in `Annotated[int, Field(ge=0), WHOLE]`."""

Moment = Annotated[
    datetime, BeforeValidator(_rfc3339, json_schema_input_type=datetime), AfterValidator(_in_utc)
]
PageSize = Annotated[int, Field(ge=1, le=MAX_SIZE, description="items on a page"), WHOLE]


class Page(BaseModel):
    """Which page of a list."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    page_size: PageSize = DEFAULT_SIZE
    page_token: (
        Annotated[str, Field(min_length=1, max_length=MAX_TOKEN_LENGTH, pattern="^[A-Za-z0-9_-]+$")] | None
    ) = None


class Nothing(BaseModel):
    """The query of a route that takes none."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def once_each(request: Request) -> None:
    """FastAPI dependency: 422 where a parameter is given twice, because nobody knows which one is meant."""
    given = Counter(name for name, _ in request.query_params.multi_items())
    if twice := sorted(name for name, count in given.items() if count > 1):
        raise unprocessable(
            [Fault(f"#/{name}", "given more than once", "repeated", "query") for name in twice]
        )
