"""The saga that takes a completed order back: refund, restock, cancel.

Its first step decides: refused (the order is shipped), nothing has happened; done, the rest follows.
An unanswered one must not end the saga, since the order may show as cancelling by then: it is a
pivot, asked until it is answered.
"""

from libs.contracts.inventory import ReleaseInventory
from libs.contracts.order import BeginCancellation, CancelOrder
from libs.contracts.payment import RefundPayment
from libs.contracts.values import OrderId, UserId, Value
from libs.saga.definition import Saga, pivot, retriable


class Cancellation(Value):
    """Which order is taken back, and why."""

    order_id: OrderId
    user_id: UserId
    reason_code: str
    reason: str


def begin_cancellation(cancellation: Cancellation) -> BeginCancellation:
    return BeginCancellation(
        order_id=cancellation.order_id,
        user_id=cancellation.user_id,
        reason_code=cancellation.reason_code,
        reason=cancellation.reason,
    )


def refund_payment(cancellation: Cancellation) -> RefundPayment:
    return RefundPayment(order_id=cancellation.order_id)


def release_inventory(cancellation: Cancellation) -> ReleaseInventory:
    return ReleaseInventory(order_id=cancellation.order_id)


def cancel_order(cancellation: Cancellation) -> CancelOrder:
    return CancelOrder(
        order_id=cancellation.order_id,
        user_id=cancellation.user_id,
        reason_code=cancellation.reason_code,
        reason=cancellation.reason,
    )


cancel_completed_order = Saga[Cancellation](
    "cancel_completed_order",
    version=1,
    steps=[
        pivot(begin_cancellation),
        retriable(refund_payment),
        retriable(release_inventory),
        retriable(cancel_order),
    ],
)
