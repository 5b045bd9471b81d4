"""The payment service: what it is asked for and what it tells."""

from typing import ClassVar, Never

from libs.contracts.message import Command, Event, Refusal
from libs.contracts.topics import PAYMENT_COMMANDS, PAYMENT_EVENTS
from libs.contracts.values import Money, PaymentId, PaymentMethodId, UserId


class PaymentCompleted(Event):
    """The whole amount is captured."""

    wire: ClassVar[str] = "payment.PaymentCompleted.v1"
    topic: ClassVar[str] = PAYMENT_EVENTS

    payment_id: PaymentId
    amount: Money
    provider_reference: str | None


class PaymentFailed(Refusal):
    """Nothing was captured; reason says whether wallet, card or method was the cause."""

    wire: ClassVar[str] = "payment.PaymentFailed.v1"
    topic: ClassVar[str] = PAYMENT_EVENTS


class PaymentRefunded(Event):
    """Nothing is captured any more; `was_captured` is false when nothing ever was."""

    wire: ClassVar[str] = "payment.PaymentRefunded.v1"
    topic: ClassVar[str] = PAYMENT_EVENTS

    amount: Money
    was_captured: bool


class ProcessPayment(Command[PaymentCompleted, PaymentFailed]):
    """Capture the amount from the customer's method."""

    wire: ClassVar[str] = "payment.ProcessPayment.v1"
    topic: ClassVar[str] = PAYMENT_COMMANDS

    user_id: UserId
    payment_method_id: PaymentMethodId
    amount: Money


class RefundPayment(Command[PaymentRefunded, Never]):
    """Give back or void what was captured for the order; before its payment: a tombstone."""

    wire: ClassVar[str] = "payment.RefundPayment.v1"
    topic: ClassVar[str] = PAYMENT_COMMANDS
