"""The order service: what it is asked for and what it tells."""

from typing import ClassVar, Never

from libs.contracts.message import Command, Event, Refusal
from libs.contracts.topics import ORDER_COMMANDS, ORDER_EVENTS
from libs.contracts.values import (
    Lines,
    Money,
    PaymentId,
    PaymentMethodId,
    PricedLines,
    UserId,
)


class OrderCreated(Event):
    """The order stands, as pending."""

    wire: ClassVar[str] = "order.OrderCreated.v1"
    topic: ClassVar[str] = ORDER_EVENTS

    user_id: UserId
    payment_method_id: PaymentMethodId
    lines: Lines


class OrderCreateFailed(Refusal):
    """The order could not be created, for instance because its cancellation came first."""

    wire: ClassVar[str] = "order.OrderCreateFailed.v1"
    topic: ClassVar[str] = ORDER_EVENTS

    user_id: UserId


class OrderCompleted(Event):
    """The order is paid for and final; inventory turns its hold into a sale."""

    wire: ClassVar[str] = "order.OrderCompleted.v1"
    topic: ClassVar[str] = ORDER_EVENTS

    user_id: UserId
    lines: PricedLines
    total: Money
    payment_id: PaymentId


class OrderCancelling(Event):
    """The order is being cancelled: its effects are being undone."""

    wire: ClassVar[str] = "order.OrderCancelling.v1"
    topic: ClassVar[str] = ORDER_EVENTS

    user_id: UserId
    reason_code: str
    reason: str


class OrderCancelRefused(Refusal):
    """The order can no longer be cancelled."""

    wire: ClassVar[str] = "order.OrderCancelRefused.v1"
    topic: ClassVar[str] = ORDER_EVENTS

    user_id: UserId


class OrderCancelled(Event):
    """The order is cancelled and nothing of it is held any more."""

    wire: ClassVar[str] = "order.OrderCancelled.v1"
    topic: ClassVar[str] = ORDER_EVENTS

    user_id: UserId
    reason_code: str
    reason: str


class CreateOrder(Command[OrderCreated, OrderCreateFailed]):
    """Write the order down as pending."""

    wire: ClassVar[str] = "order.CreateOrder.v1"
    topic: ClassVar[str] = ORDER_COMMANDS

    user_id: UserId
    payment_method_id: PaymentMethodId
    lines: Lines


class CompleteOrder(Command[OrderCompleted, Never]):
    """Make the order final, with the prices that were charged."""

    wire: ClassVar[str] = "order.CompleteOrder.v1"
    topic: ClassVar[str] = ORDER_COMMANDS

    user_id: UserId
    lines: PricedLines
    total: Money
    payment_id: PaymentId


class BeginCancellation(Command[OrderCancelling, OrderCancelRefused]):
    """Show the order as cancelling; refused when it can no longer be cancelled."""

    wire: ClassVar[str] = "order.BeginCancellation.v1"
    topic: ClassVar[str] = ORDER_COMMANDS

    user_id: UserId
    reason_code: str
    reason: str


class CancelOrder(Command[OrderCancelled, Never]):
    """Make the order cancelled; an order that is not there yet becomes a tombstone."""

    wire: ClassVar[str] = "order.CancelOrder.v1"
    topic: ClassVar[str] = ORDER_COMMANDS

    user_id: UserId
    reason_code: str
    reason: str
