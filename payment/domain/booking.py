"""What is booked in the ledger for a payment, and what is answered about it."""

from dataclasses import replace

from libs.contracts.payment import PaymentCompleted, PaymentFailed, PaymentRefunded
from libs.contracts.reasons import ALREADY_UNDONE, PAYMENT_REFUSED
from libs.contracts.values import Money
from libs.messaging.message import Message
from payment.domain.books import CARD_CLEARING, REVENUE, Books, Payment, wallet_account


def captured(books: Books, payment: Payment, message: Message[object]) -> Payment:
    """Book the capture, once per order; gives the payment with it."""
    if payment.captured_at is not None:
        return payment
    books.move(
        "capture",
        payment.amount,
        source=_source(payment),
        target=REVENUE,
        transaction_id=message.id,
        order_id=payment.order_id,
    )
    return replace(payment, captured_at=books.now)


def given_back(books: Books, payment: Payment, message: Message[object]) -> Payment:
    """Book that what was captured went back where it came from, once per order."""
    if not payment.holds_money:
        return payment
    books.move(
        "refund",
        payment.amount,
        source=REVENUE,
        target=_source(payment),
        transaction_id=message.id,
        order_id=payment.order_id,
    )
    return replace(payment, refunded_at=books.now)


def complete(books: Books, payment: Payment, message: Message[object]) -> PaymentCompleted:
    """Book the capture, and answer that the payment is complete."""
    return completed(books.put(replace(captured(books, payment, message), status="completed")))


def refuse(books: Books, payment: Payment, reason: str) -> PaymentFailed:
    """Remember the refusal, and answer it."""
    return refused(books.put(replace(payment, status="failed", reason_code=PAYMENT_REFUSED, reason=reason)))


def completed(payment: Payment) -> PaymentCompleted:
    """The answer of a completed payment."""
    if payment.payment_id is None:
        raise ValueError(f"the payment of order {payment.order_id} is a tombstone, and completed")
    return PaymentCompleted(
        order_id=payment.order_id,
        payment_id=payment.payment_id,
        amount=payment.amount,
        provider_reference=payment.provider_reference,
    )


def refused(payment: Payment) -> PaymentFailed:
    """The answer of a failed payment."""
    return PaymentFailed(
        order_id=payment.order_id,
        reason_code=payment.reason_code or PAYMENT_REFUSED,
        reason=payment.reason or "The payment was refused.",
    )


def undone(payment: Payment) -> PaymentFailed:
    """The answer to who asks for a payment that was undone."""
    return PaymentFailed(
        order_id=payment.order_id, reason_code=ALREADY_UNDONE, reason="The payment was undone before."
    )


def refunded(payment: Payment) -> PaymentRefunded:
    """The answer of a payment of which nothing is captured any more; the amount is what went back."""
    back = payment.amount.amount_minor if payment.captured_at is not None else 0
    return PaymentRefunded(
        order_id=payment.order_id,
        amount=Money(amount_minor=back, currency=payment.amount.currency),
        was_captured=payment.captured_at is not None,
    )


def _source(payment: Payment) -> str:
    """The account that the money came from."""
    if payment.method_kind == "wallet" and payment.user_id is not None:
        return wallet_account(payment.user_id)
    return CARD_CLEARING
