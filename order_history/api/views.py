"""Orders as JSON, as http_api.md shows them (without links, which are the gateway's)."""

from datetime import datetime

import orjson
from starlette.responses import Response

from libs.messaging.codec import rfc3339
from order_history.api.queries import write_cursor
from order_history.domain.history import TIMELINE, payment_status
from order_history.store import Found, Line, Page


def order(found: Found) -> dict[str, object]:
    """One order, its timeline in the order in which things happen."""
    total = None
    if found.total_minor is not None:
        total = {"amount_minor": found.total_minor, "currency": found.currency}
    return {
        "order_id": found.order_id,
        "status": found.status,
        "reason_code": found.reason_code,
        "reason": found.reason,
        "lines": found.lines,
        "total": total,
        "payment": {
            "payment_id": found.payment_id,
            "method_id": found.payment_method_id,
            "status": payment_status(found.payment, found.status),
        },
        "timeline": [
            entry(line) for line in sorted(found.timeline, key=lambda one: TIMELINE.index(one.event))
        ],
        "created_at": _time(found.created_at),
        "updated_at": _time(found.updated_at),
    }


def entry(line: Line) -> dict[str, object]:
    """One entry of a timeline."""
    told: dict[str, object] = {"event": line.event, "at": _time(line.at)}
    return told if line.detail is None else {**told, "detail": line.detail}


def page(found: Page) -> dict[str, object]:
    """A page, with the cursor of the next one."""
    following = None if found.next is None else write_cursor(found.next)
    return {"items": [order(one) for one in found.orders], "next": following}


def answer(content: dict[str, object]) -> Response:
    """Content as a response."""
    return Response(orjson.dumps(content), media_type="application/json")


def server_sent(line: Line) -> bytes:
    """A timeline's entry as a server-sent event."""
    data = orjson.dumps(entry(line)).decode()
    return f"id: {line.ce_id}\nevent: {line.event}\ndata: {data}\n\n".encode()


def _time(moment: datetime) -> str:
    return rfc3339(moment)
