"""The routes of the read model; every one but the lookup answers for the caller's own orders only."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Query
from starlette.responses import Response, StreamingResponse

from libs.contracts.values import OrderId
from libs.service.auth import Principal
from libs.service.problems import Problem
from libs.service.runtime import Runtime
from order_history import store
from order_history.api import views
from order_history.api.arrivals import DEFAULT_PACE, Arrivals, Pace
from order_history.api.queries import Listing, Lookup, Nothing, Waiting, once_each
from order_history.api.stream import Reading, last_event_id, stream


def router(runtime: Runtime, arrivals: Arrivals, pace: Pace = DEFAULT_PACE) -> APIRouter:
    """The routes on this runtime; `arrivals` wakes those who wait."""
    api = APIRouter(dependencies=[Depends(once_each)])

    @api.get("/orders")
    async def list_orders(
        who: Annotated[Principal, Depends(runtime.signed_in)], asked: Annotated[Listing, Query()]
    ) -> Response:
        """One's own orders."""
        async with runtime.database.transaction() as tx:
            found = await store.page(tx, who.user_id, asked.filters, asked.sort, asked.limit, asked.cursor)
        return views.answer(views.page(found))

    @api.get("/orders/{order_id}")
    async def get_order(
        who: Annotated[Principal, Depends(runtime.signed_in)],
        order_id: UUID,
        asked: Annotated[Waiting, Query()],
    ) -> Response:
        """One order; with `wait_seconds`, as soon as it has ended."""
        reading = Reading(runtime, arrivals, pace, OrderId(order_id), who.user_id)
        found = await reading.ended(asked.wait_seconds)
        if found is None:
            raise _not_found(order_id)
        return views.answer(views.order(found))

    @api.get("/orders/{order_id}/events")
    async def stream_order(
        who: Annotated[Principal, Depends(runtime.signed_in)],
        order_id: UUID,
        _asked: Annotated[Nothing, Query()],
        last_seen: Annotated[str | None, Header(alias="Last-Event-ID")] = None,
    ) -> Response:
        """An order's timeline as it comes."""
        reading = Reading(runtime, arrivals, pace, OrderId(order_id), who.user_id)
        if await reading.look() is None:
            raise _not_found(order_id)
        return StreamingResponse(
            stream(reading, last_event_id(last_seen)),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )

    @api.post("/orders/lookup", dependencies=[Depends(runtime.service)])
    async def look_up(asked: Lookup, _query: Annotated[Nothing, Query()]) -> Response:
        """The status of each order that is known, by its id."""
        known = await store.statuses(runtime.database, [OrderId(one) for one in asked.order_ids])
        return views.answer({str(order_id): status for order_id, status in known.items()})

    return api


def _not_found(order_id: UUID) -> Problem:
    return Problem(404, "order_not_found", f"There is no order {order_id} of yours.")
