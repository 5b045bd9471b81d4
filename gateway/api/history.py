"""Orders as their owners see them: the read model's, joined with the gateway's open intents."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from gateway.api import views
from gateway.api.bodies.orders import Order, OrderPage
from gateway.api.gate import Caller, Gate
from gateway.api.paging import MAX_SIZE, next_link
from gateway.api.queries import WHOLE, Moment, Nothing, Page
from gateway.api.strict import Id, Json, StrictRoute
from gateway.api.upstream import Call
from gateway.domain.orders import PENDING, TERMINAL
from gateway.store import intents
from gateway.store.intents import Intent
from libs.contracts.order_saga import SagaCreateOrder
from libs.contracts.values import MAX_MINOR, OrderId
from libs.service.problems import Problem

View = dict[str, Any]

_LIST: Final = "orders"
_NOT_FOUND: Final = 404
_AWAY: Final = 503
_SLACK_SECONDS: Final = 2.0
_PAUSE_SECONDS: Final = 0.25

OrderPath = Annotated[Id, Path(description="the order's id")]


class Listing(Page):
    """Which of one's own orders; `from` is within, `to` is the first moment after."""

    status: Literal["pending", "cancelling", "completed", "cancelled"] | None = None
    created_from: Moment | None = Field(None, alias="from")
    created_to: Moment | None = Field(None, alias="to")
    product_id: Id | None = None
    min_total: Annotated[int, Field(ge=0, le=MAX_MINOR), WHOLE] | None = None
    max_total: Annotated[int, Field(ge=0, le=MAX_MINOR), WHOLE] | None = None
    sort: Literal["-created_at", "created_at", "-total", "total"] = "-created_at"

    def filters(self) -> dict[str, str | int | None]:
        """The filters and the order, as they are passed on and as page tokens are bound to them."""
        return {
            "status": self.status,
            "from": None if self.created_from is None else views.rfc3339(self.created_from),
            "to": None if self.created_to is None else views.rfc3339(self.created_to),
            "product_id": None if self.product_id is None else str(self.product_id),
            "min_total": self.min_total,
            "max_total": self.max_total,
            "sort": self.sort,
        }

    def matches(self, intent: Intent, view: View) -> bool:
        """Whether an order that the read model does not know yet belongs into the list."""
        if not isinstance(intent.body, SagaCreateOrder):
            return False
        priced = self.min_total is not None or self.max_total is not None
        return (
            not priced
            and self.status in {None, view["status"]}
            and (self.created_from is None or intent.created_at >= self.created_from)
            and (self.created_to is None or intent.created_at < self.created_to)
            and (
                self.product_id is None or self.product_id in {line.product_id for line in intent.body.lines}
            )
        )


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a list goes on: behind these open intents, or at the read model's cursor.

    `shown` are orders that were listed from intents on the pages before; the read model has them by now, perhaps.
    """

    before: OrderId | None = None
    cursor: str | None = None
    shown: tuple[str, ...] = ()

    def packed(self) -> object:
        return [None if self.before is None else str(self.before), self.cursor, list(self.shown)]

    @classmethod
    def unpacked(cls, place: object) -> "_Place":
        match place:
            case [str() as before, None, [*shown]]:
                return cls(OrderId(UUID(before)), None, tuple(str(one) for one in shown))
            case [None, str() as cursor, [*shown]]:
                return cls(None, cursor, tuple(str(one) for one in shown))
            case _:
                return cls()


def router(gate: Gate) -> APIRouter:
    """GET /api/orders, its alias /api/my-orders, and GET /api/orders/{order_id}."""
    routes = APIRouter(route_class=StrictRoute, tags=["orders"])

    async def list_orders(
        request: Request,
        asked: Annotated[Listing, Query()],
        caller: Annotated[Caller, Depends(gate.user)],
    ) -> Response:
        """One's own orders, the newest first, those included that were accepted a moment ago."""
        return await _list(gate, request, caller, asked)

    for path, operation in ((views.ORDERS, "listOrders"), ("/api/my-orders", "listMyOrders")):
        routes.add_api_route(path, list_orders, operation_id=operation, response_model=OrderPage)

    @routes.get("/api/orders/{order_id}", operation_id="getOrder", response_model=Order)
    async def get_order(
        order_id: OrderPath,
        request: Request,
        _query: Annotated[Nothing, Query()],
        caller: Annotated[Caller, Depends(gate.user)],
    ) -> Response:
        """One of one's own orders."""
        known = await intents.of_order(gate.database, OrderId(order_id), caller.user_id)
        view = await find(gate, request, caller, OrderId(order_id), known)
        return Json(view, headers={"Cache-Control": "no-store"})

    return routes


async def find(
    gate: Gate, request: Request, caller: Caller, order_id: OrderId, known: Sequence[Intent]
) -> View:
    """The caller's order, or a 404 that does not tell whether it is somebody else's.

    `known` are its open intents, read before: an intent is closed only after the read model knows the order, so
    one of the two always has it. While the read model is away, an open intent answers, marked stale.
    """
    call = Call("order_history", "GET", f"/orders/{order_id}", token=caller.token)
    try:
        reply = await gate.ask(request, call)
    except Problem as problem:
        view = views.intended(known, stale=problem.status == _AWAY)
        if view is None or problem.status not in {_NOT_FOUND, _AWAY}:
            raise _as_ours(problem, order_id) from problem
        return view
    return views.told(reply.body, known)


async def reached(gate: Gate, request: Request, caller: Caller, order_id: OrderId, seconds: int) -> str:
    """The status that an order has when it ended, after so many seconds, or when the gateway stops.

    Pending when nobody can tell. A read model that is away is asked again while there is time: it may come back.
    """
    async with asyncio.TaskGroup() as group:
        waits = [
            group.create_task(_ended(gate, request, caller, order_id, seconds)),
            group.create_task(_stopping(gate)),
        ]
        ended, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
    return waits[0].result() if waits[0] in ended else PENDING


async def _stopping(gate: Gate) -> str:
    await gate.runtime.stopping.wait()
    return PENDING


async def _ended(gate: Gate, request: Request, caller: Caller, order_id: OrderId, seconds: int) -> str:
    until = time.monotonic() + seconds
    status = PENDING
    left = float(seconds)
    while True:
        call = Call(
            "order_history",
            "GET",
            f"/orders/{order_id}",
            query={"wait_seconds": int(left)},
            token=caller.token,
            seconds=left + _SLACK_SECONDS,
        )
        try:
            status = str((await gate.ask(request, call)).body["status"])
        except Problem as problem:
            gate.runtime.log.info("wait.broken", order_id=str(order_id), problem=problem.code)
        left = until - time.monotonic()
        if status in TERMINAL or left <= 0:
            return status
        await asyncio.sleep(min(left, _PAUSE_SECONDS))
        left = max(0.0, until - time.monotonic())


async def _list(gate: Gate, request: Request, caller: Caller, asked: Listing) -> Response:
    filters = asked.filters()
    scope = f"{_LIST} {caller.user_id}"
    place = _Place()
    if asked.page_token is not None:
        place = _Place.unpacked(gate.pages.read(scope, filters, asked.page_token))
    items, following = await _page(gate, request, caller, asked, place)
    token = None if following is None else gate.pages.make(scope, filters, following.packed())
    headers = {"Cache-Control": "no-store"}
    if token is not None:
        headers["Link"] = next_link(request.url.path, filters | {"page_size": asked.page_size}, token)
    return Json({"items": items, "next_page_token": token}, headers=headers)


async def _page(
    gate: Gate, request: Request, caller: Caller, asked: Listing, place: _Place
) -> tuple[list[View], _Place | None]:
    """Orders of open intents first, for they are the newest, then the read model's."""
    known = await intents.of_user(gate.database, caller.user_id, place.before, MAX_SIZE * 2)
    unseen = [] if place.cursor is not None else await _unseen(gate, asked, known)
    items = unseen[: asked.page_size]
    shown = (*place.shown, *(str(one["order_id"]) for one in items))[-MAX_SIZE:]
    if len(unseen) > asked.page_size:
        return items, _Place(before=OrderId(UUID(items[-1]["order_id"])), shown=shown)
    room = max(asked.page_size - len(items), 1)
    reply = await gate.ask(
        request,
        Call(
            "order_history",
            "GET",
            "/orders",
            query=asked.filters() | {"limit": room, "after": place.cursor},
            token=caller.token,
        ),
    )
    told = [views.told(one, _of(known, one)) for one in reply.body["items"] if one["order_id"] not in shown]
    if len(items) == asked.page_size:
        more = _Place(before=OrderId(UUID(items[-1]["order_id"])), shown=shown) if told else None
        return items, more
    cursor = reply.body["next"]
    return [*items, *told], None if cursor is None else _Place(cursor=cursor, shown=shown)


async def _unseen(gate: Gate, asked: Listing, known: Sequence[Intent]) -> list[View]:
    """The orders of open intents that belong into the list and that the read model does not know yet."""
    by_order: dict[OrderId, list[Intent]] = {}
    for intent in known:
        by_order.setdefault(intent.order_id, []).append(intent)
    views_of = {
        order_id: view for order_id, found in by_order.items() if (view := views.intended(found)) is not None
    }
    seen = await statuses(gate, list(views_of)) if views_of else {}
    return [
        view
        for order_id, view in views_of.items()
        if str(order_id) not in seen and any(asked.matches(intent, view) for intent in by_order[order_id])
    ]


async def statuses(gate: Gate, order_ids: Sequence[OrderId]) -> dict[str, str]:
    """What the read model knows of these orders: the status of each by its id."""
    call = Call(
        "order_history",
        "POST",
        "/orders/lookup",
        token=await gate.issuer.service_token(),
        body={"order_ids": [str(one) for one in order_ids]},
    )
    reply = await gate.upstream.ask(call)
    return {str(order_id): str(status) for order_id, status in reply.body.items()}


def _of(known: Sequence[Intent], order: View) -> list[Intent]:
    return [one for one in known if str(one.order_id) == order["order_id"]]


def _as_ours(problem: Problem, order_id: OrderId) -> Problem:
    if problem.status != _NOT_FOUND:
        return problem
    return Problem(404, "not_found", f"There is no order {order_id} of yours.")
