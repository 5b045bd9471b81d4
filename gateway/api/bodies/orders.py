"""Orders, as clients send and get them."""

from datetime import datetime
from typing import Annotated, Final, Literal
from uuid import UUID

from pydantic import ConfigDict, Field

from gateway.api.bodies.fields import Answer, Money
from gateway.api.strict import AS_TEXT, WHOLE, Id, StrictBody, trimmed
from gateway.domain.orders import Asked
from libs.contracts.values import MAX_LINES, MAX_QUANTITY, Line, PaymentMethodId, ProductId, UserId

MAX_REASON: Final = 500


class LineIn(StrictBody):
    """One product and how many of it."""

    product_id: Id
    quantity: Annotated[int, WHOLE] = Field(ge=1, le=MAX_QUANTITY, examples=[2])


class OrderIn(StrictBody):
    """An order: what, and how it is paid. Prices are the shop's, not the client's."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "payment_method_id": "01890a5d-ac96-774b-bcce-b302099a8057",
                    "lines": [{"product_id": "7e528b60-cdb1-598c-8777-286b90f3b47f", "quantity": 2}],
                }
            ]
        }
    )

    payment_method_id: Id
    lines: list[LineIn] = Field(min_length=1, max_length=MAX_LINES)

    def asked_by(self, user_id: UserId) -> Asked:
        """What this user asks for."""
        lines = tuple(
            Line(product_id=ProductId(line.product_id), quantity=line.quantity) for line in self.lines
        )
        return Asked(user_id, PaymentMethodId(self.payment_method_id), lines)


class CancelIn(StrictBody):
    """Why the order is no longer wanted."""

    reason: Annotated[str, Field(max_length=MAX_REASON), trimmed(MAX_REASON), AS_TEXT] | None = Field(
        None, examples=["Ordered by mistake"]
    )


class OrderLinks(Answer):
    """Where the order is, where its events are streamed, where it is cancelled."""

    self: str
    events: str
    cancel: str


class OrderAccepted(Answer):
    """An order that is durable; what becomes of it is at `links.self`."""

    order_id: UUID
    status: Literal["pending", "cancelling", "completed", "cancelled"]
    links: OrderLinks


class OrderLine(Answer):
    """A line; name and price are known once the products were validated."""

    product_id: UUID
    name: str | None
    quantity: int
    price: Money | None


class OrderPayment(Answer):
    """How the order is paid."""

    payment_id: UUID | None
    method_id: UUID | None
    status: str | None


class TimelineEntry(Answer):
    """Something that happened to the order."""

    event: Literal[
        "created",
        "validated",
        "reserved",
        "paid",
        "completed",
        "cancelling",
        "released",
        "refunded",
        "cancelled",
    ]
    at: datetime
    detail: dict[str, object] | None = None


class Order(Answer):
    """An order as its owner sees it."""

    order_id: UUID
    status: Literal["pending", "cancelling", "completed", "cancelled"]
    reason_code: str | None
    reason: str | None
    lines: list[OrderLine]
    total: Money | None
    payment: OrderPayment
    timeline: list[TimelineEntry]
    created_at: datetime
    updated_at: datetime
    links: OrderLinks
    stale: bool | None = Field(
        None, description="true when the history is away and the order may have moved on"
    )


class OrderPage(Answer):
    """Some of one's own orders; the token of the next page, or null on the last one."""

    items: list[Order]
    next_page_token: str | None
