"""What may be asked for, checked strictly: query parameters and cursors."""

import base64
import binascii
import re
from collections import Counter
from datetime import UTC, datetime
from typing import Annotated, Final
from uuid import UUID

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from starlette.requests import Request

from libs.contracts.values import MAX_MINOR, OrderId, ProductId
from libs.service.problems import Fault, unprocessable
from order_history.domain.history import Status
from order_history.store import Cursor, Filters, Sort

MAX_WAIT_SECONDS: Final = 30
MAX_LOOKUP: Final = 1_000
_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,6})?([Zz]|[+-]\d\d:\d\d)")


def _digits(given: object) -> object:
    if isinstance(given, str) and not re.fullmatch(r"[0-9]{1,16}", given):
        raise ValueError("a whole number, in digits, please")
    return given


def _rfc3339(given: object) -> datetime:
    if not isinstance(given, str) or not _MOMENT.fullmatch(given):
        raise ValueError("an RFC 3339 time with its zone, please, e.g. 2026-01-31T12:00:00Z")
    try:
        return datetime.fromisoformat(given.upper()).astimezone(UTC)
    except OverflowError:
        raise ValueError("a time between the years 1 and 9999, please") from None


Whole = Annotated[int, BeforeValidator(_digits)]
Moment = Annotated[datetime, BeforeValidator(_rfc3339)]


class Listing(BaseModel):
    """The query of GET /orders; `from` is within, `to` is the first moment after."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    status: Status | None = None
    created_from: Annotated[Moment | None, Field(alias="from")] = None
    created_to: Annotated[Moment | None, Field(alias="to")] = None
    product_id: UUID | None = None
    min_total: Annotated[Whole, Field(ge=0, le=MAX_MINOR)] | None = None
    max_total: Annotated[Whole, Field(ge=0, le=MAX_MINOR)] | None = None
    sort: Sort = "-created_at"
    limit: Annotated[Whole, Field(ge=1, le=100)] = 20
    after: Annotated[str, Field(max_length=200)] | None = None

    @property
    def filters(self) -> Filters:
        """What the list is narrowed to."""
        return Filters(
            status=self.status,
            created_from=self.created_from,
            created_to=self.created_to,
            product_id=None if self.product_id is None else ProductId(self.product_id),
            min_total=self.min_total,
            max_total=self.max_total,
        )

    @property
    def cursor(self) -> Cursor | None:
        """Where the page before ended; 422 where it is none of this sort's."""
        if self.after is None:
            return None
        cursor = read_cursor(self.after, self.sort)
        if cursor is None:
            fault = Fault("#/after", "not a cursor of a list with this sort", "invalid_cursor", "query")
            raise unprocessable([fault])
        return cursor


class Waiting(BaseModel):
    """The query of GET /orders/{id} and its stream."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    wait_seconds: Annotated[Whole, Field(ge=0, le=MAX_WAIT_SECONDS)] = 0


class Nothing(BaseModel):
    """The query of a route that takes none."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Lookup(BaseModel):
    """The body of POST /orders/lookup."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    order_ids: Annotated[list[UUID], Field(max_length=MAX_LOOKUP)]


def once_each(request: Request) -> None:
    """FastAPI dependency: 422 where a query parameter is given twice, because nobody knows which one is meant."""
    given = Counter(name for name, _ in request.query_params.multi_items())
    if twice := sorted(name for name, count in given.items() if count > 1):
        raise unprocessable(
            [Fault(f"#/{name}", "given more than once", "repeated", "query") for name in twice]
        )


def write_cursor(cursor: Cursor) -> str:
    """The cursor as text that fits into a URL."""
    at = cursor.created_at.isoformat() if cursor.created_at else None
    packed = orjson.dumps([cursor.sort, at, cursor.total, cursor.order_id])
    return base64.urlsafe_b64encode(packed).decode("ascii").rstrip("=")


def read_cursor(text: str, sort: Sort) -> Cursor | None:
    """The cursor in a text, or None where it is no cursor of this sort."""
    try:
        packed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        match orjson.loads(packed):
            case [str() as made_for, str() as at, None, str() as order_id] if made_for == sort:
                moment = datetime.fromisoformat(at)
                if moment.tzinfo is None or not sort.endswith("created_at"):
                    return None
                return Cursor(sort, OrderId(UUID(order_id)), created_at=moment)
            case [str() as made_for, None, int() as total, str() as order_id] if made_for == sort:
                if not 0 <= total <= MAX_MINOR or not sort.endswith("total"):
                    return None
                return Cursor(sort, OrderId(UUID(order_id)), total=total)
            case _:
                return None
    except (ValueError, binascii.Error, UnicodeError):
        return None
