"""An order and every answer that its steps may get, for tests of the sagas themselves."""

from typing import Final
from uuid import UUID

from libs.contracts.inventory import InventoryReleased, InventoryReserved, InventoryReserveFailed
from libs.contracts.message import Event, Refusal
from libs.contracts.order import (
    OrderCancelled,
    OrderCancelling,
    OrderCancelRefused,
    OrderCompleted,
    OrderCreated,
    OrderCreateFailed,
)
from libs.contracts.payment import PaymentCompleted, PaymentFailed, PaymentRefunded
from libs.contracts.product import ProductsValidated, ProductsValidationFailed
from libs.contracts.values import (
    Line,
    Money,
    OrderId,
    PaymentId,
    PaymentMethodId,
    PricedLine,
    ProductId,
    UserId,
)
from order_saga.create_order import OrderSheet


def _id(number: int) -> UUID:
    return UUID(f"01900000-0000-7000-8000-{number:012x}")


ORDER: Final = OrderId(_id(1))
USER: Final = UserId(_id(2))
METHOD: Final = PaymentMethodId(_id(3))
PAYMENT: Final = PaymentId(_id(4))
LINES: Final = (Line(product_id=ProductId(_id(5)), quantity=2),)
TOTAL: Final = Money(amount_minor=2_000, currency="EUR")
PRICED: Final = (
    PricedLine(
        product_id=ProductId(_id(5)),
        quantity=2,
        name="A lamp",
        price=Money(amount_minor=1_000, currency="EUR"),
    ),
)
SHEET: Final = OrderSheet(order_id=ORDER, user_id=USER, payment_method_id=METHOD, lines=LINES)

DONE: Final[dict[str, Event]] = {
    "open_order": OrderCreated(order_id=ORDER, user_id=USER, payment_method_id=METHOD, lines=LINES),
    "validate_products": ProductsValidated(order_id=ORDER, lines=PRICED, total=TOTAL),
    "reserve_inventory": InventoryReserved(order_id=ORDER),
    "process_payment": PaymentCompleted(
        order_id=ORDER, payment_id=PAYMENT, amount=TOTAL, provider_reference="r1"
    ),
    "complete_order": OrderCompleted(
        order_id=ORDER, user_id=USER, lines=PRICED, total=TOTAL, payment_id=PAYMENT
    ),
    "refund_payment": PaymentRefunded(order_id=ORDER, amount=TOTAL, was_captured=True),
    "release_inventory": InventoryReleased(order_id=ORDER),
    "cancel_order": OrderCancelled(order_id=ORDER, user_id=USER, reason_code="x", reason="y"),
    "begin_cancellation": OrderCancelling(order_id=ORDER, user_id=USER, reason_code="x", reason="y"),
}
"""The good answer of every step, undos and notice included."""

REFUSED: Final[dict[str, Refusal]] = {
    "open_order": OrderCreateFailed(order_id=ORDER, user_id=USER, reason_code="no_order", reason="No."),
    "validate_products": ProductsValidationFailed(
        order_id=ORDER, reason_code="products_unknown", reason="Unknown.", product_ids=()
    ),
    "reserve_inventory": InventoryReserveFailed(
        order_id=ORDER, reason_code="out_of_stock", reason="Short.", shortages=()
    ),
    "process_payment": PaymentFailed(order_id=ORDER, reason_code="payment_refused", reason="No cover."),
    "begin_cancellation": OrderCancelRefused(
        order_id=ORDER, user_id=USER, reason_code="order_not_cancellable", reason="Shipped."
    ),
}
"""The refusal of every step that has one."""
