"""Decides on what sagas ask for: capture an order's amount, or give it back."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from libs.contracts.payment import (
    PaymentCompleted,
    PaymentFailed,
    PaymentRefunded,
    ProcessPayment,
    RefundPayment,
)
from libs.contracts.values import Money, PaymentId
from libs.messaging.message import Correlation, Message, Outgoing
from payment.domain import booking
from payment.domain.books import Attempt, Books, Card, Payment, wallet_method_id

MAX_WAITERS: Final = 20
"""So many commands wait for one outcome; beyond that a step's later repeat takes an earlier one's place."""
NOT_YOUR_METHOD: Final = "This payment method is not one of yours, or not any more."


def process(books: Books, message: Message[ProcessPayment]) -> PaymentCompleted | PaymentFailed | None:
    """Capture the amount once per order; a card's answer comes later, and a repeat is answered as before."""
    command = message.body
    payment = books.payments.get(command.order_id)
    if payment is not None:
        return _repeated(books, payment, message)
    payment = Payment(
        order_id=command.order_id,
        status="pending",
        payment_id=PaymentId(message.id),
        user_id=command.user_id,
        method_id=command.payment_method_id,
        amount=command.amount,
    )
    if command.payment_method_id == wallet_method_id(command.user_id):
        return _charge_wallet(books, replace(payment, method_kind="wallet"), message)
    card = books.cards.get(command.payment_method_id)
    if card is None or card.user_id != command.user_id:
        return booking.refuse(books, payment, NOT_YOUR_METHOD)
    return _charge_card(books, replace(payment, method_kind="card"), card, message)


def refund(
    books: Books, message: Message[RefundPayment]
) -> PaymentRefunded | Sequence[PaymentRefunded | Outgoing] | None:
    """Give back what was captured for the order, or see to it that nothing ever will be; a repeat changes nothing.

    Answered once that is certain: a charge under way is waited for, and what the provider would not give back
    is asked for again, by this command at once.
    """
    order_id = message.body.order_id
    payment = books.payments.get(order_id)
    if payment is None:
        return booking.refunded(books.put(Payment(order_id, "cancelled")))
    if (attempt := books.open_attempt(order_id)) is None:
        return _give_back(books, payment, message)
    if payment.status == "pending":
        return _cancel(books, payment, attempt, message)
    _join(books, attempt, message)
    return None


def _repeated(
    books: Books, payment: Payment, message: Message[ProcessPayment]
) -> PaymentCompleted | PaymentFailed | None:
    attempt = books.open_attempt(payment.order_id)
    match payment.status:
        case "pending" if attempt is not None:
            _join(books, attempt, message)
            return None
        case "completed" if attempt is None:
            return booking.completed(payment)
        case "failed":
            return booking.refused(payment)
        case "completed" | "refunded" | "cancelled":
            return booking.undone(payment)
        case "pending":
            raise ValueError(f"the payment of order {payment.order_id} is pending without an attempt")


def _charge_wallet(
    books: Books, payment: Payment, message: Message[ProcessPayment]
) -> PaymentCompleted | PaymentFailed:
    wallet = books.wallet(message.body.user_id)
    amount = payment.amount
    if amount.currency != wallet.balance.currency:
        currencies = f"The wallet is in {wallet.balance.currency}, and the order is in {amount.currency}."
        return booking.refuse(books, payment, currencies)
    if amount.amount_minor > wallet.balance.amount_minor:
        short = f"The wallet holds {_readable(wallet.balance)}, and the order costs {_readable(amount)}."
        return booking.refuse(books, payment, short)
    if amount.amount_minor > 0:
        books.wallets.put(wallet.user_id, wallet.plus(-amount.amount_minor))
    return booking.complete(books, payment, message)


def _charge_card(
    books: Books, payment: Payment, card: Card, message: Message[ProcessPayment]
) -> PaymentCompleted | None:
    if payment.amount.amount_minor == 0:  # nothing that a provider could be asked for
        return booking.complete(books, payment, message)
    books.put(payment)
    books.put_attempt(
        Attempt(
            payment.order_id, "charge", "due", books.now, token=card.token, waiters=(message.answering(),)
        )
    )
    return None


def _give_back(books: Books, payment: Payment, message: Message[RefundPayment]) -> PaymentRefunded | None:
    """Undo a payment that nothing is under way for: the wallet's at once, the card's through the provider."""
    match payment.status:
        case "failed" | "refunded" | "cancelled":
            return booking.refunded(payment)
        case "pending":
            raise ValueError(f"the payment of order {payment.order_id} is pending without an attempt")
        case "completed":
            pass
    if payment.amount.amount_minor > 0 and payment.method_kind == "card":
        _refund_card(books, payment, message.answering())
        return None
    if payment.amount.amount_minor > 0 and payment.user_id is not None:
        wallet = books.wallet(payment.user_id)
        books.wallets.put(wallet.user_id, wallet.plus(payment.amount.amount_minor))
    payment = booking.given_back(books, payment, message)
    return booking.refunded(books.put(replace(payment, status="refunded")))


def _refund_card(books: Books, payment: Payment, waiter: Correlation) -> None:
    charged = books.attempts.get(payment.order_id) or Attempt(
        payment.order_id, "refund", "done", next_at=books.now
    )
    books.put_attempt(
        replace(
            charged,
            ask="refund",
            state="due",
            next_at=books.now,
            claimed_until=None,
            attempts=0,
            last_error=None,
            waiters=(waiter,),
        )
    )


def _cancel(
    books: Books, payment: Payment, attempt: Attempt, message: Message[RefundPayment]
) -> Sequence[PaymentRefunded | Outgoing]:
    """Undo a payment whose charge is not settled: it can complete no more, and who waited for it hears so."""
    payment = books.put(replace(payment, status="cancelled"))
    answers = [Outgoing(booking.undone(payment), waiter) for waiter in attempt.waiters]
    if attempt.first_sent_at is None:  # and will never be: what is sent is claimed first, in this row
        books.put_attempt(replace(attempt, state="done", token=None, waiters=()))
        return [*answers, booking.refunded(payment)]
    undo = replace(attempt, ask="query", token=None, attempts=0, waiters=())
    _join(books, undo, message)
    return answers


def _join(books: Books, attempt: Attempt, message: Message[object]) -> None:
    """Wait for the attempt's outcome too, and make it due at once; a call under way is let finish."""
    attempt = replace(attempt, state="due", waiters=_with(attempt.waiters, message.answering()))
    if not attempt.in_flight(books.now):
        attempt = replace(attempt, next_at=books.now, claimed_until=None)
    books.put_attempt(attempt)


def _with(waiters: tuple[Correlation, ...], waiter: Correlation) -> tuple[Correlation, ...]:
    """One more who waits; any answer settles a step, so one of its earlier commands may go when it gets crowded."""
    if len(waiters) < MAX_WAITERS:
        return (*waiters, waiter)
    step = (waiter.saga_id, waiter.step)
    repeat = next((n for n, known in enumerate(waiters) if (known.saga_id, known.step) == step), 0)
    return (*waiters[:repeat], *waiters[repeat + 1 :], waiter)


def _readable(money: Money) -> str:
    return f"{money.amount_minor // 100}.{money.amount_minor % 100:02d} {money.currency}"
