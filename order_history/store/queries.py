"""The SQL that answers questions; the owner is part of every query about an order's contents."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias

from sqlalchemy import ColumnElement, Select, Text, cast, func, literal, select, true, tuple_
from sqlalchemy.dialects.postgresql import aggregate_order_by

from libs.contracts.values import MessageId, OrderId, PaymentId, PaymentMethodId, ProductId, UserId
from libs.outbox.transaction import Row, Transaction
from order_history.domain.history import EventName, PaymentStage, Status
from order_history.tables import order_timeline, orders

Sort: TypeAlias = Literal["-created_at", "created_at", "-total", "total"]

ORDER: Final = """
    SELECT orders.order_id, status, reason_code, reason, lines, total_minor, currency,
           payment_id, payment_method_id, payment_rank, created_at, updated_at,
           told.events, told.ids, told.times, told.details
    FROM orders LEFT JOIN LATERAL (
        SELECT array_agg(event ORDER BY arrived) AS events, array_agg(ce_id ORDER BY arrived) AS ids,
               array_agg(at ORDER BY arrived) AS times, array_agg(detail ORDER BY arrived) AS details
        FROM order_timeline WHERE order_timeline.order_id = orders.order_id
    ) AS told ON true
    WHERE orders.order_id = %s::uuid AND user_id = %s::uuid
"""
STATUSES: Final = """
    SELECT order_id, status FROM orders WHERE order_id = ANY(%s::uuid[]) AND user_id IS NOT NULL
"""
NEWEST_ARRIVALS: Final = """
    SELECT order_id, max(arrived) FROM order_timeline WHERE order_id = ANY(%s::uuid[]) GROUP BY order_id
"""


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


async def order(tx: Transaction, order_id: OrderId, owner: UserId) -> Found | None:
    """One order with its timeline, if it is there and the owner's."""
    rows = await tx.fetch(ORDER, [order_id, owner])
    return _found(rows[0]) if rows else None


async def page(
    tx: Transaction, owner: UserId, filters: Filters, sort: Sort, limit: int, after: Cursor | None
) -> Page:
    """The owner's orders, sorted, from behind the cursor on; an order without a total counts as zero."""
    statement = _sorted(_own(owner, filters), sort, after).limit(limit + 1)
    found = [_found(row) for row in await tx.select(statement)]
    if len(found) <= limit:
        return Page(found, None)
    last = found[limit - 1]
    if sort.endswith("total"):
        return Page(found[:limit], Cursor(sort, last.order_id, total=last.total_minor or 0))
    return Page(found[:limit], Cursor(sort, last.order_id, created_at=last.created_at))


async def statuses(tx: Transaction, order_ids: Sequence[OrderId]) -> dict[OrderId, Status]:
    """The status of each order whose owner is known, so that its owner finds it; whoever that is."""
    return dict(await tx.fetch(STATUSES, [order_ids]))


async def newest_arrivals(tx: Transaction, order_ids: Sequence[OrderId]) -> dict[OrderId, int]:
    """A number for each order that grows with every new line of its timeline."""
    return dict(await tx.fetch(NEWEST_ARRIVALS, [order_ids]))


def _own(owner: UserId, filters: Filters) -> Select[Any]:
    line = order_timeline.c
    in_order = [aggregate_order_by(c, line.arrived) for c in (line.event, line.ce_id, line.at, line.detail)]
    told = (
        select(*(func.array_agg(c).label(f"c{n}") for n, c in enumerate(in_order)))
        .where(line.order_id == orders.c.order_id)
        .lateral("told")
    )
    mine = orders.c
    statement = (
        select(
            mine.order_id,
            mine.status,
            mine.reason_code,
            mine.reason,
            mine.lines,
            mine.total_minor,
            mine.currency,
            mine.payment_id,
            mine.payment_method_id,
            mine.payment_rank,
            mine.created_at,
            mine.updated_at,
            *told.c,
        )
        .select_from(orders.outerjoin(told, true()))
        .where(mine.user_id == owner)
    )
    return statement.where(*_conditions(filters))


def _conditions(filters: Filters) -> list[ColumnElement[bool]]:
    mine, conditions = orders.c, list[ColumnElement[bool]]()
    if filters.status is not None:
        conditions.append(mine.status == filters.status)
    if filters.created_from is not None:
        conditions.append(mine.created_at >= filters.created_from)
    if filters.created_to is not None:
        conditions.append(mine.created_at < filters.created_to)
    if filters.product_id is not None:
        product = func.jsonb_build_object("product_id", cast(str(filters.product_id), Text))
        conditions.append(mine.lines.contains(func.jsonb_build_array(product)))
    if filters.min_total is not None:
        conditions.append(mine.total_minor >= filters.min_total)
    if filters.max_total is not None:
        conditions.append(mine.total_minor <= filters.max_total)
    return conditions


def _sorted(statement: Select[Any], sort: Sort, after: Cursor | None) -> Select[Any]:
    key: ColumnElement[Any] = (
        func.coalesce(orders.c.total_minor, 0) if sort.endswith("total") else orders.c.created_at
    )
    columns = (key, orders.c.order_id)
    if after is not None:
        place = tuple_(literal(after.total if after.created_at is None else after.created_at), after.order_id)
        here = tuple_(*columns)
        statement = statement.where(here < place if sort.startswith("-") else here > place)
    return statement.order_by(*(c.desc() if sort.startswith("-") else c.asc() for c in columns))


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
