"""Orders on their way in: POST /api/orders, kept lean, and cancellations."""

from functools import partial
from typing import Annotated, Final

import uuid_utils.compat
from fastapi import APIRouter, Depends, Header, Path
from starlette.requests import Request
from starlette.responses import Response

from gateway.api import history, views
from gateway.api.bodies.orders import CancelIn, OrderAccepted, OrderIn
from gateway.api.gate import Caller, Gate
from gateway.api.strict import Id, Json, StrictRoute, read
from gateway.domain.idempotency import parse_key
from gateway.domain.orders import CANCELLED, CANCELLING, PENDING, message, overfull
from gateway.domain.preferences import wait_seconds
from gateway.store import intents
from gateway.store.intake import Accepted, InUse, Reused, Unavailable
from gateway.store.intents import Claim
from libs.contracts.order_saga import SagaCancelOrder
from libs.contracts.values import MessageId, OrderId, UserId
from libs.crash_points import reach
from libs.messaging.message import Trace
from libs.service.auth import bearer
from libs.service.direct import DirectRoute
from libs.service.problems import Fault, Problem, trace_id, unprocessable

_DEFAULT_REASON: Final = "Cancelled by the customer."

MAX_TRACE_STATE: Final = 512

OrderPath = Annotated[Id, Path(description="the order's id")]


def accepting(gate: Gate) -> DirectRoute:
    """POST /api/orders, without FastAPI's layers."""

    async def create_order(
        body: OrderIn,
        idempotency_key: Annotated[str, Header(min_length=1, max_length=257, pattern=r"^[\x21-\x7e]+$")],
        prefer: Annotated[str | None, Header(examples=["wait=5"])] = None,
    ) -> OrderAccepted:
        """Accept an order: answered 202 once it is durable; what becomes of it is at the Location."""
        raise NotImplementedError("described here, answered by _accept")

    return DirectRoute(
        views.ORDERS,
        create_order,
        partial(_accept, gate),
        methods=["POST"],
        status_code=202,
        tags=["orders"],
        operation_id="createOrder",
    )


def cancelling(gate: Gate) -> APIRouter:
    """POST /api/orders/{order_id}/cancel."""
    routes = APIRouter(route_class=StrictRoute, tags=["orders"])

    @routes.post("/api/orders/{order_id}/cancel", status_code=202, operation_id="cancelOrder")
    async def cancel_order(
        order_id: OrderPath,
        request: Request,
        caller: Annotated[Caller, Depends(gate.user)],
        body: CancelIn | None = None,
    ) -> OrderAccepted:
        """Stop the order, or undo it when it is completed."""
        reason = body.reason if body is not None else None
        status = await _cancel(gate, request, caller, OrderId(order_id), reason or _DEFAULT_REASON)
        return OrderAccepted.model_validate(
            {"order_id": order_id, "status": status, "links": views.links(OrderId(order_id))}
        )

    return routes


async def _accept(gate: Gate, request: Request) -> Response:
    principal = await gate.runtime.guard.signed_in(request)
    claim = await _claim(request, principal.user_id)
    await _shed(gate)
    accepted = await _admit(gate, claim)
    request.scope["log_fields"] = {"order_id": str(accepted.order_id), "message_id": str(claim.message_id)}
    headers = {"Location": f"{views.ORDERS}/{accepted.order_id}", "Retry-After": "1"}
    if accepted.replayed:
        headers["Idempotency-Replayed"] = "true"
    status = PENDING
    if (
        seconds := wait_seconds(request.headers.getlist("prefer"), gate.settings.max_wait_seconds)
    ) is not None:
        headers["Preference-Applied"] = f"wait={seconds}"
        caller = Caller(principal, bearer(request))
        status = await history.reached(gate, request, caller, accepted.order_id, seconds)
    content = {"order_id": str(accepted.order_id), "status": status, "links": views.links(accepted.order_id)}
    return Json(content, 202, headers)


async def _claim(request: Request, user_id: UserId) -> Claim:
    """What the request asks for, and nothing that it was read from: up to some thousand wait for a commit at once."""
    key = idempotency_key(request)
    body = await read(request, OrderIn)
    asked = body.asked_by(user_id)
    if too_many := overfull(asked.lines):
        detail = "The lines of this product add up to more than 1000."
        raise unprocessable([Fault(f"#/lines/{n}/quantity", detail, "quantity_too_large") for n in too_many])
    order_id = OrderId(uuid_utils.compat.uuid7())
    message_id = MessageId(uuid_utils.compat.uuid7())
    return Claim(user_id, key, asked.fingerprint, asked.as_order(order_id), message_id, trace(request))


async def _admit(gate: Gate, claim: Claim) -> Accepted:
    match await gate.intake.accept(claim):
        case Accepted() as accepted:
            return accepted
        case InUse():
            detail = "The first request with this Idempotency-Key is still being worked on."
            raise Problem(409, "idempotency_key_in_use", detail, headers={"Retry-After": "1"})
        case Reused():
            detail = "This Idempotency-Key was used for another order."
            raise Problem(422, "idempotency_key_reused", detail)
        case Unavailable():
            detail = "The order could not be stored in time. The same request with the same key settles it."
            raise Problem(503, "unavailable", detail, headers={"Retry-After": "1"})


async def _shed(gate: Gate) -> None:
    """Refuse orders only when the outbox is far behind; Kafka being down for a while is not that."""
    settings, backlog = gate.settings, gate.intake.backlog
    if backlog.rows > settings.shed_outbox_rows or backlog.age > settings.shed_outbox_age_seconds:
        await gate.intake.measure_backlog()
    if backlog.rows > settings.shed_outbox_rows or backlog.age > settings.shed_outbox_age_seconds:
        detail = "Orders are worked off more slowly than they come in. Try again later."
        raise Problem(503, "overloaded", detail, headers={"Retry-After": "30"})


def idempotency_key(request: Request) -> str:
    """The request's Idempotency-Key, or a 400."""
    given = request.headers.getlist("idempotency-key")
    if not given:
        detail = "Send an Idempotency-Key, so that a repeat of the request does nothing twice."
        raise Problem(400, "idempotency_key_missing", detail)
    key = parse_key(given[0]) if len(given) == 1 else None
    if key is None:
        detail = "An Idempotency-Key has 1 to 255 characters from ! to ~, bare or in quotation marks."
        raise Problem(400, "idempotency_key_invalid", detail)
    return key


def trace(request: Request) -> Trace | None:
    """The trace that the request belongs to, where its sender keeps one; the messages that it causes carry it."""
    parent = request.headers.get("traceparent")
    if parent is None or parent[3:35] != trace_id(request.scope):
        return None
    state = request.headers.get("tracestate", "")
    return Trace(parent, state if 0 < len(state) <= MAX_TRACE_STATE and state.isascii() else None)


async def _cancel(gate: Gate, request: Request, caller: Caller, order_id: OrderId, reason: str) -> str:
    known = await intents.of_order(gate.database, order_id, caller.user_id)
    order = await history.find(gate, request, caller, order_id, known)
    if order["status"] == CANCELLED:
        raise Problem(409, "order_not_cancellable", "The order is cancelled already.")
    if order["status"] != CANCELLING:
        cancel = SagaCancelOrder(order_id=order_id, user_id=caller.user_id, reason=reason)
        await open_cancel(gate, cancel, trace(request))
    request.scope["log_fields"] = {"order_id": str(order_id)}
    return CANCELLING


async def open_cancel(gate: Gate, cancel: SagaCancelOrder, traced: Trace | None) -> None:
    """Make a cancellation durable; one that is open already stays as it is."""
    message_id = gate.runtime.new_id()
    async with gate.database.transaction() as tx:
        if await intents.open_cancel(tx, cancel, message_id):
            await gate.runtime.outbox(tx, [message(cancel, message_id, traced)])
        reach("cancel.written")
    reach("cancel.committed")
