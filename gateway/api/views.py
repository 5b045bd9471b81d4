"""How orders look: what the read model tells, joined with what the gateway has answered for."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from gateway.domain.orders import CANCEL, CANCELLING, COMPLETED, CREATE, PENDING
from gateway.store.intents import Intent
from libs.contracts.order_saga import SagaCreateOrder
from libs.contracts.values import OrderId

View = dict[str, Any]

ORDERS: Final = "/api/orders"


def links(order_id: OrderId | str) -> dict[str, str]:
    """Where to go from an order."""
    here = f"{ORDERS}/{order_id}"
    return {"self": here, "events": f"{here}/events", "cancel": f"{here}/cancel"}


def told(order: Mapping[str, Any], intents: Iterable[Intent]) -> View:
    """The read model's order; as cancelling while a cancellation that was answered 202 shows no effect."""
    view = {**order, "links": links(order["order_id"])}
    asked = next((one for one in intents if one.kind == CANCEL), None)
    if asked is not None and order["status"] in {PENDING, COMPLETED}:
        view["status"] = CANCELLING
    return view


def intended(intents: Iterable[Intent], *, stale: bool = False) -> View | None:
    """An order that the read model does not know yet; None where it was not asked for here."""
    by_kind = {one.kind: one for one in intents}
    create = by_kind.get(CREATE)
    if create is None or not isinstance(create.body, SagaCreateOrder):
        return None
    newest = max(one.created_at for one in by_kind.values())
    view: View = {
        "order_id": str(create.order_id),
        "status": CANCELLING if CANCEL in by_kind else PENDING,
        "reason_code": None,
        "reason": None,
        "lines": [
            {"product_id": str(line.product_id), "name": None, "quantity": line.quantity, "price": None}
            for line in create.body.lines
        ],
        "total": None,
        "payment": {"payment_id": None, "method_id": str(create.body.payment_method_id), "status": None},
        "timeline": [],
        "created_at": rfc3339(create.created_at),
        "updated_at": rfc3339(newest),
        "links": links(create.order_id),
    }
    return view | {"stale": True} if stale else view


def rfc3339(moment: datetime) -> str:
    """A moment in UTC with microseconds and Z."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
