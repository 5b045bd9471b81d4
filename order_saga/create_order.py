"""The saga that creates an order."""

from datetime import timedelta
from typing import Final, Self, TypeVar

from libs.contracts.inventory import ReleaseInventory, ReserveInventory
from libs.contracts.order import BeginCancellation, CancelOrder, CompleteOrder, CreateOrder
from libs.contracts.order_saga import SagaCancelOrder, SagaCreateOrder
from libs.contracts.payment import PaymentCompleted, ProcessPayment, RefundPayment
from libs.contracts.product import ProductsValidated, ValidateProducts
from libs.contracts.values import (
    Line,
    Money,
    OrderId,
    PaymentId,
    PaymentMethodId,
    PricedLine,
    UserId,
    Value,
)
from libs.saga.definition import Saga, compensable, pause, retriable, seconds
from libs.saga.instance import Reason

Known = TypeVar("Known")


class OrderSheet(Value):
    """What the saga knows of its order; it is filled in as the steps answer.

    A sheet made by a cancel that came before the start has no method and no lines.
    """

    order_id: OrderId
    user_id: UserId
    payment_method_id: PaymentMethodId | None = None
    lines: tuple[Line, ...] = ()
    priced: tuple[PricedLine, ...] = ()
    total: Money | None = None
    payment_id: PaymentId | None = None

    @classmethod
    def asked(cls, start: SagaCreateOrder) -> Self:
        """The sheet of an order that a customer asked for."""
        return cls(
            order_id=start.order_id,
            user_id=start.user_id,
            payment_method_id=start.payment_method_id,
            lines=start.lines,
        )

    @classmethod
    def unseen(cls, cancel: SagaCancelOrder) -> Self:
        """The sheet of an order of which only the cancel has come."""
        return cls(order_id=cancel.order_id, user_id=cancel.user_id)


def known(value: Known | None) -> Known:
    """A part of the sheet that an earlier step has filled in."""
    if value is None:
        raise LookupError("the sheet lacks what an earlier step should have filled in")
    return value


def open_order(sheet: OrderSheet) -> CreateOrder:
    return CreateOrder(
        order_id=sheet.order_id,
        user_id=sheet.user_id,
        payment_method_id=known(sheet.payment_method_id),
        lines=sheet.lines,
    )


def cancel_order(sheet: OrderSheet, reason: Reason) -> CancelOrder:
    return CancelOrder(
        order_id=sheet.order_id, user_id=sheet.user_id, reason_code=reason.code, reason=reason.text
    )


def begin_cancellation(sheet: OrderSheet, reason: Reason) -> BeginCancellation:
    return BeginCancellation(
        order_id=sheet.order_id, user_id=sheet.user_id, reason_code=reason.code, reason=reason.text
    )


def grace_period(_sheet: OrderSheet) -> timedelta:
    """Time for second thoughts; set by `GRACE_PERIOD_SECONDS`."""
    return timedelta(0)


def validate_products(sheet: OrderSheet) -> ValidateProducts:
    return ValidateProducts(order_id=sheet.order_id, lines=sheet.lines)


def keep_prices(sheet: OrderSheet, validated: ProductsValidated) -> OrderSheet:
    return sheet.model_copy(update={"priced": validated.lines, "total": validated.total})


def reserve_inventory(sheet: OrderSheet) -> ReserveInventory:
    return ReserveInventory(order_id=sheet.order_id, lines=sheet.lines)


def release_inventory(sheet: OrderSheet, _reason: Reason) -> ReleaseInventory:
    return ReleaseInventory(order_id=sheet.order_id)


def process_payment(sheet: OrderSheet) -> ProcessPayment:
    return ProcessPayment(
        order_id=sheet.order_id,
        user_id=sheet.user_id,
        payment_method_id=known(sheet.payment_method_id),
        amount=known(sheet.total),
    )


def keep_payment(sheet: OrderSheet, payment: PaymentCompleted) -> OrderSheet:
    return sheet.model_copy(update={"payment_id": payment.payment_id})


def refund_payment(sheet: OrderSheet, _reason: Reason) -> RefundPayment:
    return RefundPayment(order_id=sheet.order_id)


def complete_order(sheet: OrderSheet) -> CompleteOrder:
    return CompleteOrder(
        order_id=sheet.order_id,
        user_id=sheet.user_id,
        lines=sheet.priced,
        total=known(sheet.total),
        payment_id=known(sheet.payment_id),
    )


create_order = Saga[OrderSheet](
    "create_order",
    version=1,
    steps=[
        compensable(open_order, undo=cancel_order),
        pause(grace_period),
        compensable(validate_products, undo=None, keep=keep_prices),
        compensable(reserve_inventory, undo=release_inventory, within=seconds(15)),
        compensable(process_payment, undo=refund_payment, keep=keep_payment, within=seconds(60)),
        retriable(complete_order),
    ],
    on_compensation=begin_cancellation,
)

earlier: Final[tuple[Saga[OrderSheet], ...]] = ()
"""Versions before this one that may still be under way."""
