"""Decides on what the card provider answered: the payment's next state, what is due there next, who is told."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from libs.contracts.message import Event
from libs.contracts.values import OrderId
from libs.messaging.message import Message, Outgoing
from payment.domain import booking
from payment.domain.books import Attempt, Books, Payment
from payment.provider import Ask, Outcome

CHARGE_WITHIN: Final = timedelta(hours=12)
"""No charge is sent under a key later than this after its first: providers forget keys, and then charge twice."""

FIRST_DELAY: Final = timedelta(milliseconds=250)
MAX_DELAY_OF_CHARGE: Final = timedelta(seconds=5)
MAX_DELAY_OF_UNDO: Final = timedelta(minutes=5)
MAX_REASON_LENGTH: Final = 200
UNREACHED: Final = "unreached"
TOO_LATE: Final = "parked: the provider knows no charge, and it is too late to send one under this key"


@dataclass(frozen=True, slots=True)
class ProviderAnswered:
    """What came of a call; `claimed_until` is the claim's that it was made under, `jitter` is in [0, 1)."""

    order_id: OrderId
    asked: Ask
    claimed_until: datetime
    outcome: Outcome
    jitter: float


def settle(books: Books, message: Message[ProviderAnswered]) -> Sequence[Outgoing]:
    """Move the payment on, and answer those who wait once it is settled.

    A call whose claim has run out says nothing new, as another one is under way, except that money was captured.
    """
    answer = message.body
    payment = books.payments.get(answer.order_id)
    if payment is None:
        return ()
    attempt = books.attempts.get(answer.order_id)
    if attempt is None:
        attempt = Attempt(answer.order_id, "query", "done", books.now)
    current = attempt.claimed_until == answer.claimed_until
    if not current and (answer.outcome.verdict != "captured" or payment.status == "completed"):
        return ()
    if current:
        attempt = replace(attempt, claimed_until=None, last_error=_error(answer.outcome))
    match payment.status:
        case "pending":
            return _charging(books, payment, attempt, message)
        case "completed":
            return _refunding(books, payment, attempt, message)
        case "failed" | "refunded" | "cancelled":
            return _undoing(books, payment, attempt, message)


def _charging(
    books: Books, payment: Payment, attempt: Attempt, message: Message[ProviderAnswered]
) -> Sequence[Outgoing]:
    answer = message.body
    outcome = answer.outcome
    match outcome.verdict:
        case "captured":
            paid = replace(payment, provider_reference=_reference(payment, outcome))
            return _finish(books, attempt, booking.complete(books, paid, message))
        case "refused":
            declined = replace(payment, provider_reference=_reference(payment, outcome))
            return _finish(books, attempt, booking.refuse(books, declined, _declined(outcome)))
        case "voided" | "refunded":
            return _finish(
                books,
                attempt,
                booking.refuse(books, payment, "The card's charge was given back by its provider."),
            )
        case "not_found" if answer.asked == "query":
            return _charge_again(books, attempt)
        case "not_found" | "pending" | "denied" | "unknown":
            _later(books, attempt, "query", answer, MAX_DELAY_OF_CHARGE)
            return ()


def _refunding(
    books: Books, payment: Payment, attempt: Attempt, message: Message[ProviderAnswered]
) -> Sequence[Outgoing]:
    answer = message.body
    if attempt.state == "done":  # a late answer to the charge; nobody asked for a refund
        return ()
    match answer.outcome.verdict:
        case "voided" | "refunded":
            payment = booking.given_back(books, replace(payment, status="refunded"), message)
            return _finish(books, attempt, booking.refunded(books.put(payment)))
        case "captured" | "refused" | "pending" | "not_found" | "denied" | "unknown":
            _later(books, attempt, "refund", answer, MAX_DELAY_OF_UNDO)
            return ()


def _undoing(
    books: Books, payment: Payment, attempt: Attempt, message: Message[ProviderAnswered]
) -> Sequence[Outgoing]:
    """Make sure that nothing stays captured of a payment that is not to be, whatever its saga has come to."""
    answer = message.body
    match answer.outcome.verdict:
        case "captured":
            seen = replace(payment, provider_reference=_reference(payment, answer.outcome))
            books.put(booking.captured(books, seen, message))
            _due(books, attempt, "void")
        case "voided" | "refunded":
            payment = books.put(booking.given_back(books, payment, message))
            return _finish(books, attempt, booking.refunded(payment))
        case "refused" if not payment.holds_money:
            return _finish(books, attempt, booking.refunded(payment))
        case "pending" | "not_found" if answer.asked == "query":
            _due(books, attempt, "void")
        case "refused" | "pending" | "not_found" | "denied" | "unknown":
            # The two take turns: a void may be refused where the query says that there is nothing to void.
            _later(books, attempt, "void" if answer.asked == "query" else "query", answer, MAX_DELAY_OF_UNDO)
    return ()


def _finish(books: Books, attempt: Attempt, event: Event) -> Sequence[Outgoing]:
    books.put_attempt(
        replace(attempt, state="done", token=None, claimed_until=None, last_error=None, waiters=())
    )
    return [Outgoing(event, waiter) for waiter in attempt.waiters]


def _charge_again(books: Books, attempt: Attempt) -> Sequence[Outgoing]:
    """Repeat a charge that the provider has not seen, while its key is safe; then only a human may go on."""
    if may_charge(attempt, books.now):
        _due(books, attempt, "charge")
    else:
        books.put_attempt(replace(attempt, ask="query", state="parked", last_error=TOO_LATE))
    return ()


def may_charge(attempt: Attempt, now: datetime) -> bool:
    """Whether a charge may still be sent under the order's key."""
    return attempt.first_sent_at is None or now - attempt.first_sent_at <= CHARGE_WITHIN


def _due(books: Books, attempt: Attempt, ask: Ask) -> None:
    attempt = replace(attempt, ask=ask, state="due")
    books.put_attempt(attempt if attempt.in_flight(books.now) else replace(attempt, next_at=books.now))


def _later(books: Books, attempt: Attempt, ask: Ask, answer: ProviderAnswered, limit: timedelta) -> None:
    """Ask after a while: twice as long each time up to the limit, and the lower half of it by chance."""
    delay = min(FIRST_DELAY * 2 ** min(attempt.attempts, 20), limit) * (0.5 + answer.jitter / 2)
    books.put_attempt(replace(attempt, ask=ask, state="due", next_at=books.now + delay))


def _reference(payment: Payment, outcome: Outcome) -> str | None:
    return outcome.reference or payment.provider_reference


def _error(outcome: Outcome) -> str | None:
    if not outcome.reached:
        return f"{UNREACHED}: {_printable(outcome.reason or '')}"
    if outcome.verdict in {"unknown", "denied"}:
        return f"{outcome.verdict}: {_printable(outcome.reason or '')}"
    return None


def _declined(outcome: Outcome) -> str:
    reason = _printable(outcome.reason or "").replace("_", " ")
    return f"The card was refused: {reason}." if reason else "The card was refused."


def _printable(text: str) -> str:
    """A provider's words, so that they can be stored and shown."""
    return "".join(letter for letter in text if letter.isprintable())[:MAX_REASON_LENGTH].strip()
