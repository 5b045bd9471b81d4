"""The SQL that answers questions; the owner is part of every query about an order's contents."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

from psycopg.sql import SQL, Composable

from libs.contracts.values import MessageId, OrderId, PaymentId, PaymentMethodId, ProductId, UserId
from libs.outbox.transaction import Asked, Row, Transaction
from order_history.domain.history import EventName, PaymentStage, Status

Sort: TypeAlias = Literal["-created_at", "created_at", "-total", "total"]

_FOUND: Final = """
    SELECT orders.order_id, status, reason_code, reason, lines, total_minor, currency,
           payment_id, payment_method_id, payment_rank, created_at, updated_at,
           told.events, told.ids, told.times, told.details
    FROM orders LEFT JOIN LATERAL (
        SELECT array_agg(event ORDER BY arrived) AS events, array_agg(ce_id ORDER BY arrived) AS ids,
               array_agg(at ORDER BY arrived) AS times, array_agg(detail ORDER BY arrived) AS details
        FROM order_timeline WHERE order_timeline.order_id = orders.order_id
    ) AS told ON true
"""
ORDER: Final = _FOUND + "WHERE orders.order_id = %s::uuid AND user_id = %s::uuid"
PAGE: Final = SQL(
    _FOUND + "WHERE {conditions} ORDER BY {by} {direction}, orders.order_id {direction} LIMIT %(limit)s"
)
STATUSES: Final = """
    SELECT order_id, status FROM orders WHERE order_id = ANY(%s::uuid[]) AND user_id IS NOT NULL
"""
NEWEST_ARRIVALS: Final = """
    SELECT order_id, max(arrived) FROM order_timeline WHERE order_id = ANY(%s::uuid[]) GROUP BY order_id
"""

_WHERE: Final[Mapping[str, SQL]] = MappingProxyType(
    {
        "status": SQL("status = %(status)s::text"),
        "created_from": SQL("created_at >= %(created_from)s::timestamptz"),
        "created_to": SQL("created_at < %(created_to)s::timestamptz"),
        "product_id": SQL(
            "lines @> jsonb_build_array(jsonb_build_object('product_id', %(product_id)s::uuid))"
        ),
        "min_total": SQL("total_minor >= %(min_total)s::bigint"),
        "max_total": SQL("total_minor <= %(max_total)s::bigint"),
    }
)
_BY_TIME: Final = (SQL("created_at"), SQL("%(created_at)s::timestamptz"))
_BY_TOTAL: Final = (SQL("coalesce(total_minor, 0)"), SQL("%(total)s::bigint"))
_BEHIND: Final = MappingProxyType(
    {
        "ASC": SQL("({by}, orders.order_id) > ({place}, %(order_id)s::uuid)"),
        "DESC": SQL("({by}, orders.order_id) < ({place}, %(order_id)s::uuid)"),
    }
)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a timeline as it is read."""

    event: EventName
    ce_id: MessageId
    at: datetime
    detail: dict[str, object] | None


@dataclass(frozen=True, slots=True)
class Found:
    """An order as it is read; its timeline is in order of arrival."""

    order_id: OrderId
    status: Status
    reason_code: str | None
    reason: str | None
    lines: list[dict[str, object]]
    total_minor: int | None
    currency: str | None
    payment_id: PaymentId | None
    payment_method_id: PaymentMethodId | None
    payment: PaymentStage | None
    created_at: datetime
    updated_at: datetime
    timeline: list[Line]


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """What a list is narrowed to; totals in minor units, the later bound of a time is not within."""

    status: Status | None = None
    created_from: datetime | None = None
    created_to: datetime | None = None
    product_id: ProductId | None = None
    min_total: int | None = None
    max_total: int | None = None


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last order of a page, in the terms of its sort: one of `created_at` and `total` is there."""

    sort: Sort
    order_id: OrderId
    created_at: datetime | None = None
    total: int | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Some orders, and where the next page begins, if there is one."""

    orders: list[Found]
    next: Cursor | None


async def order(asked: Asked, order_id: OrderId, owner: UserId) -> Found | None:
    """One order with its timeline, if it is there and the owner's."""
    rows = await asked.fetch(ORDER, [order_id, owner])
    return _found(rows[0]) if rows else None


async def page(
    tx: Transaction, owner: UserId, filters: Filters, sort: Sort, limit: int, after: Cursor | None
) -> Page:
    """The owner's orders, sorted, from behind the cursor on; an order without a total counts as zero."""
    asked = asdict(filters)
    conditions: list[Composable] = [SQL("user_id = %(owner)s::uuid")]
    conditions += [condition for name, condition in _WHERE.items() if asked[name] is not None]
    by, place = _BY_TOTAL if sort.endswith("total") else _BY_TIME
    direction = "DESC" if sort.startswith("-") else "ASC"
    if after is not None:
        conditions.append(_BEHIND[direction].format(by=by, place=place))
        asked |= {"created_at": after.created_at, "total": after.total, "order_id": after.order_id}
    query = PAGE.format(conditions=SQL(" AND ").join(conditions), by=by, direction=SQL(direction))
    rows = await tx.select(query, asked | {"owner": owner, "limit": limit + 1})
    found = [_found(row) for row in rows]
    if len(found) <= limit:
        return Page(found, None)
    last = found[limit - 1]
    if sort.endswith("total"):
        return Page(found[:limit], Cursor(sort, last.order_id, total=last.total_minor or 0))
    return Page(found[:limit], Cursor(sort, last.order_id, created_at=last.created_at))


async def statuses(asked: Asked, order_ids: Sequence[OrderId]) -> dict[OrderId, Status]:
    """The status of each order whose owner is known, so that its owner finds it; whoever that is."""
    return dict(await asked.fetch(STATUSES, [order_ids]))


async def newest_arrivals(asked: Asked, order_ids: Sequence[OrderId]) -> dict[OrderId, int]:
    """A number for each order that grows with every new line of its timeline."""
    return dict(await asked.fetch(NEWEST_ARRIVALS, [order_ids]))


def _found(row: Row) -> Found:
    events, ids, times, details = (told or () for told in row[12:])
    return Found(
        order_id=row[0],
        status=row[1],
        reason_code=row[2],
        reason=row[3],
        lines=row[4] or [],
        total_minor=row[5],
        currency=row[6],
        payment_id=row[7],
        payment_method_id=row[8],
        payment=None if row[9] is None else PaymentStage(row[9]),
        created_at=row[10],
        updated_at=row[11],
        timeline=[Line(*line) for line in zip(events, ids, times, details, strict=True)],
    )
