"""What an order may become: pending, completed, cancelling, cancelled; every answer can be given again."""

from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias, assert_never

from libs.contracts.order import (
    BeginCancellation,
    CancelOrder,
    CompleteOrder,
    CreateOrder,
    OrderCancelled,
    OrderCancelling,
    OrderCancelRefused,
    OrderCompleted,
    OrderCreated,
    OrderCreateFailed,
)
from libs.contracts.reasons import ALREADY_UNDONE, ORDER_NOT_CANCELLABLE
from libs.contracts.values import (
    Line,
    Money,
    OrderId,
    PaymentId,
    PaymentMethodId,
    PricedLine,
    UserId,
)

Status: TypeAlias = Literal["pending", "completed", "cancelling", "cancelled"]


@dataclass(frozen=True, slots=True)
class Placed:
    """What the customer asked for."""

    payment_method_id: PaymentMethodId
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Charged:
    """What the order came to; its lines are the placed ones, named and priced."""

    lines: tuple[PricedLine, ...]
    total: Money
    payment_id: PaymentId


@dataclass(frozen=True, slots=True)
class Reason:
    """Why an order is cancelled."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Order:
    """One order; without `placed` it is a tombstone: cancelled before it was created.

    `charged` is there from its completion on, also when it is taken back later; `reason` from the
    moment its cancellation begins.
    """

    id: OrderId
    user_id: UserId
    status: Status
    placed: Placed | None = None
    charged: Charged | None = None
    reason: Reason | None = None


class UnknownOrderError(Exception):
    """An order is to be completed that was never created here: rows were lost; no machine can settle that."""


class OtherLinesError(Exception):
    """An order is to be completed with other lines than were asked for."""


@dataclass(slots=True)
class Orders:
    """The orders that a batch touches, locked; what is not there does not exist.

    `new`, `changed` and `priced` name what a save has to write.
    """

    by_id: dict[OrderId, Order]
    new: set[OrderId] = field(default_factory=set)
    changed: set[OrderId] = field(default_factory=set)
    priced: set[OrderId] = field(default_factory=set)

    def put(self, order: Order) -> Order:
        """Keep an order in its new state."""
        before = self.by_id.get(order.id)
        (self.new if before is None else self.changed).add(order.id)
        if before is not None and order.charged is not before.charged:
            self.priced.add(order.id)
        self.by_id[order.id] = order
        return order


def create(orders: Orders, command: CreateOrder) -> OrderCreated | OrderCreateFailed:
    """Write the order down. A repeat is answered as before, whatever became of the order; a tombstone refuses."""
    order = orders.by_id.get(command.order_id) or orders.put(
        Order(
            command.order_id,
            command.user_id,
            "pending",
            placed=Placed(command.payment_method_id, command.lines),
        )
    )
    if order.placed is None:
        return OrderCreateFailed(
            order_id=order.id,
            user_id=order.user_id,
            reason_code=ALREADY_UNDONE,
            reason="The order was cancelled before it was created.",
        )
    return OrderCreated(
        order_id=order.id,
        user_id=order.user_id,
        payment_method_id=order.placed.payment_method_id,
        lines=order.placed.lines,
    )


def complete(orders: Orders, command: CompleteOrder) -> OrderCompleted:
    """Make a pending order final.

    The command cannot be refused, so one that finds the order past that is told once more that the
    order was completed, and changes nothing: what was sold and paid is taken back by a saga that
    runs already, and no hold or payment of such an order can come to life again.
    Raises UnknownOrderError and OtherLinesError.
    """
    order = orders.by_id.get(command.order_id)
    if order is None:
        raise UnknownOrderError(f"order {command.order_id} is paid for and not known here")
    charged = order.charged or Charged(command.lines, command.total, command.payment_id)
    match order.status:
        case "pending":
            if order.placed is None or not _same_lines(order.placed, charged):
                raise OtherLinesError(f"order {order.id} was charged for other lines than it has")
            orders.put(replace(order, status="completed", charged=charged))
        case "completed" | "cancelling" | "cancelled":
            pass
        case unreachable:
            assert_never(unreachable)
    return OrderCompleted(
        order_id=order.id,
        user_id=order.user_id,
        lines=charged.lines,
        total=charged.total,
        payment_id=charged.payment_id,
    )


def begin_cancellation(orders: Orders, command: BeginCancellation) -> OrderCancelling | OrderCancelRefused:
    """Show the order as being cancelled; refused when it is cancelled already, or not there."""
    order = orders.by_id.get(command.order_id)
    if order is None:
        return _not_cancellable(command, "There is no such order.")
    match order.status:
        case "pending" | "completed":
            reason = Reason(command.reason_code, command.reason)
            orders.put(replace(order, status="cancelling", reason=reason))
        case "cancelling":
            reason = order.reason or Reason(command.reason_code, command.reason)
        case "cancelled":
            return _not_cancellable(command, "The order is cancelled already.")
        case unreachable:
            assert_never(unreachable)
    return OrderCancelling(
        order_id=order.id, user_id=order.user_id, reason_code=reason.code, reason=reason.text
    )


def cancel(orders: Orders, command: CancelOrder) -> OrderCancelled:
    """Make the order cancelled, for the reason that its cancellation began with; before its creation, a tombstone."""
    order = orders.by_id.get(command.order_id) or Order(command.order_id, command.user_id, "pending")
    reason = order.reason or Reason(command.reason_code, command.reason)
    if order.status != "cancelled":
        order = orders.put(replace(order, status="cancelled", reason=reason))
    return OrderCancelled(
        order_id=order.id, user_id=order.user_id, reason_code=reason.code, reason=reason.text
    )


def _same_lines(placed: Placed, charged: Charged) -> bool:
    asked = [(line.product_id, line.quantity) for line in placed.lines]
    return asked == [(line.product_id, line.quantity) for line in charged.lines]


def _not_cancellable(command: BeginCancellation, why: str) -> OrderCancelRefused:
    return OrderCancelRefused(
        order_id=command.order_id,
        user_id=command.user_id,
        reason_code=ORDER_NOT_CANCELLABLE,
        reason=why,
    )
