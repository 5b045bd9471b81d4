"""What the participants would do without their safeguards, one function for each."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import payment.domain.commands
import payment.domain.outcome
from inventory.domain import Hold, Shelves, quantities
from inventory.domain import release as released
from inventory.domain import reserve as reserved
from inventory.domain import sell as sold
from libs.contracts.inventory import (
    InventoryReleased,
    InventoryReserved,
    InventoryReserveFailed,
    ReleaseInventory,
    ReserveInventory,
)
from libs.contracts.order import CancelOrder, CompleteOrder, CreateOrder, OrderCancelled, OrderCompleted
from libs.contracts.payment import PaymentRefunded, ProcessPayment, RefundPayment
from libs.contracts.reasons import OUT_OF_STOCK
from libs.messaging.message import Message, Outgoing
from order.domain import Orders
from order.domain import cancel as cancelled
from order.domain import complete as completed
from order.domain import create as created
from payment.domain import booking
from payment.domain.books import Attempt, Books, Payment, Rows
from payment.domain.commands import process as processed
from payment.domain.commands import refund as refunded


def cancel_without_trace(orders: Orders, command: CancelOrder) -> OrderCancelled:
    known = command.order_id in orders.by_id
    answer = cancelled(orders, command)
    if not known:
        del orders.by_id[command.order_id]
    return answer


def create_again(orders: Orders, command: CreateOrder) -> object:
    orders.by_id.pop(command.order_id, None)
    return created(orders, command)


def complete_anything(orders: Orders, command: CompleteOrder) -> OrderCompleted:
    order = orders.by_id[command.order_id]
    orders.by_id[command.order_id] = replace(order, status="pending")
    return completed(orders, command)


def reserve_again(shelves: Shelves, command: ReserveInventory) -> object:
    shelves.holds.pop(command.order_id, None)
    return reserved(shelves, command)


def reserve_reconsidered(shelves: Shelves, command: ReserveInventory) -> object:
    """Answer a repeat by what there is now."""
    hold = shelves.holds.get(command.order_id)
    if hold is not None and hold.state == "refused":
        del shelves.holds[command.order_id]
    return reserved(shelves, command)


def reserve_what_is_there(
    shelves: Shelves, command: ReserveInventory
) -> InventoryReserved | InventoryReserveFailed:
    """Hold the lines that there is enough of, and refuse for the others."""
    if command.order_id in shelves.holds:
        return shelves.holds[command.order_id].answer()
    wanted = quantities(command.lines)
    short = shelves.shortages(wanted)
    missing = {shortage.product_id for shortage in short}
    hold = Hold(command.order_id, "held", tuple(line for line in wanted if line[0] not in missing))
    shelves.put(hold)
    if not short:
        return hold.answer()
    return InventoryReserveFailed(
        order_id=command.order_id, reason_code=OUT_OF_STOCK, reason="Short.", shortages=short
    )


def release_without_trace(shelves: Shelves, command: ReleaseInventory) -> InventoryReleased:
    if command.order_id in shelves.holds:
        return released(shelves, command)
    return InventoryReleased(order_id=command.order_id)


def release_only_held(shelves: Shelves, command: ReleaseInventory) -> InventoryReleased:
    hold = shelves.holds.get(command.order_id)
    if hold is not None and hold.state == "sold":
        return InventoryReleased(order_id=command.order_id)
    return released(shelves, command)


def sell_released(shelves: Shelves, event: OrderCompleted) -> None:
    hold = shelves.holds.get(event.order_id)
    if hold is not None and hold.state == "released" and hold.quantities:
        del shelves.holds[event.order_id]
        shelves.put(replace(hold, state="held"))
    sold(shelves, event)


def pay_again(books: Books, message: Message[ProcessPayment]) -> object:
    books.payments, books.attempts = Rows(), Rows()
    return processed(books, message)


def refund_without_trace(books: Books, message: Message[RefundPayment]) -> object:
    if books.payments.get(message.key) is None:
        return booking.refunded(Payment(message.key, "cancelled"))
    return refunded(books, message)


def cancel_at_once(
    books: Books, payment: Payment, attempt: Attempt, _message: Message[RefundPayment]
) -> Sequence[PaymentRefunded | Outgoing]:
    """Call a payment cancelled while its charge is under way, and forget the charge."""
    done = replace(attempt, state="done", token=None, claimed_until=None, waiters=())
    books.put_attempt(done)
    return [booking.refunded(books.put(replace(payment, status="cancelled")))]


_undoing, _refunding = payment.domain.outcome._undoing, payment.domain.outcome._refunding
_give_back = payment.domain.commands._give_back


def undone_when_not_found(books: Books, payment_: Payment, attempt: Attempt, message: Any) -> object:
    if message.body.outcome.verdict == "not_found":
        return payment.domain.outcome._finish(books, attempt, booking.refunded(payment_))
    return _undoing(books, payment_, attempt, message)


def refunded_though_denied(books: Books, payment_: Payment, attempt: Attempt, message: Any) -> object:
    if message.body.outcome.verdict in {"denied", "unknown"}:
        told = replace(message.body, outcome=replace(message.body.outcome, verdict="refunded"))
        message = replace(message, body=told)
    return _refunding(books, payment_, attempt, message)


def give_back_in_books(books: Books, payment_: Payment, message: Message[RefundPayment]) -> object:
    """Book a refund without asking the card's provider for it."""
    if payment_.status == "completed" and payment_.method_kind == "card":
        back = booking.given_back(books, payment_, message)
        return booking.refunded(books.put(replace(back, status="refunded")))
    return _give_back(books, payment_, message)
