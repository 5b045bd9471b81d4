"""An in-memory twin of the service's tables: decide functions run on it batch by batch, as in the service."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from libs.contracts.message import Contract
from libs.contracts.values import Money, OrderId, PaymentMethodId, UserId
from libs.messaging.message import Message, Outgoing
from libs.service.service import Answer
from payment.domain import ProviderAnswered, process, refund, settle
from payment.domain.books import Attempt, Books, Card, Entry, Payment, Rows, Wallet
from payment.domain.outcome import CHARGE_WITHIN
from payment.provider import Ask, Outcome
from tests.payment.till import asking, pay, undo
from tests.support.builders import a_message_id, a_user_id

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
LEASE = timedelta(seconds=15)

Body = TypeVar("Body")


@dataclass(frozen=True, slots=True)
class Claimed:
    """A call that was claimed."""

    order_id: OrderId
    ask: Ask
    until: datetime


@dataclass(slots=True)
class Vault:
    """Rows between batches, and a clock that only tests move."""

    now: datetime = NOON
    payments: dict[OrderId, Payment] = field(default_factory=dict)
    attempts: dict[OrderId, Attempt] = field(default_factory=dict)
    wallets: dict[UserId, Wallet] = field(default_factory=dict)
    cards: dict[PaymentMethodId, Card] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)

    def card(self, token: str = "tok_approve") -> Card:  # noqa: S107 - a token for tests
        """A new customer's card."""
        card = Card(PaymentMethodId(a_message_id()), a_user_id(), token)
        self.cards[card.id] = card
        return card

    def wallet(self, minor: int, currency: str = "EUR") -> UserId:
        """A new customer with so much in the wallet."""
        user_id = a_user_id()
        self.wallets[user_id] = Wallet(user_id, Money(amount_minor=minor, currency=currency))
        return user_id

    def send(self, message: Message[Contract]) -> list[Contract | Outgoing]:
        """Handle a command; what is answered."""
        decide: Callable[[Books, Message[object]], Answer] = (
            process if message.body.wire == "payment.ProcessPayment.v1" else refund  # type: ignore[assignment]
        )
        return self.run(lambda books: decide(books, message))

    def pay_by(self, card: Card, order_id: OrderId | None = None) -> OrderId:
        """Ask for a payment by card; the order."""
        command = pay(order_id, user_id=card.user_id, method_id=card.id)
        assert self.send(asking(command)) == []
        return command.order_id

    def undo(self, order_id: OrderId) -> list[Contract | Outgoing]:
        """Ask for the undo; what is answered."""
        return self.send(undo(order_id))

    def claim(self, order_id: OrderId) -> Claimed:
        """Take what is due for the order, as the card desk does."""
        attempt = self.attempts[order_id]
        assert attempt.state == "due"
        assert attempt.next_at <= self.now
        old = attempt.first_sent_at is not None and attempt.first_sent_at < self.now - CHARGE_WITHIN
        ask: Ask = "query" if attempt.ask == "charge" and old else attempt.ask
        until = self.now + LEASE
        self.attempts[order_id] = replace(
            attempt,
            ask=ask,
            attempts=attempt.attempts + 1,
            claimed_until=until,
            next_at=until,
            first_sent_at=(attempt.first_sent_at or self.now) if ask == "charge" else attempt.first_sent_at,
        )
        return Claimed(order_id, ask, until)

    def answer(self, claimed: Claimed, outcome: Outcome, jitter: float = 0.5) -> list[Contract | Outgoing]:
        """Feed a call's outcome back; what is answered to those who wait."""
        body = ProviderAnswered(claimed.order_id, claimed.ask, claimed.until, outcome, jitter)
        message = Message(a_message_id(), claimed.order_id, body, self.now)
        return self.run(lambda books: settle(books, message))

    def run(self, decide: Callable[[Books], Answer]) -> list[Contract | Outgoing]:
        """One batch of one message."""
        books = Books(
            self.now, Rows(self.payments), Rows(self.attempts), Rows(self.wallets), dict(self.cards), []
        )
        answer = decide(books)
        for payment in books.payments.changed():
            self.payments[payment.order_id] = payment
        for attempt in books.attempts.changed():
            self.attempts[attempt.order_id] = attempt
        for wallet in books.wallets.changed():
            self.wallets[wallet.user_id] = wallet
        self.entries += books.entries
        self.check()
        match answer:
            case None:
                return []
            case Contract() | Outgoing():
                return [answer]
            case _:
                return list(answer)

    def booked(self, account: str, order_id: OrderId | None = None) -> int:
        """An account's balance, of all orders or one."""
        return sum(
            entry.amount_minor
            for entry in self.entries
            if entry.account == account and order_id in {None, entry.order_id}
        )

    def check(self) -> None:
        """Assert what the tables' constraints demand, and that the books balance."""
        assert sum(entry.amount_minor for entry in self.entries) == 0
        sides = [(entry.order_id, entry.kind, entry.account) for entry in self.entries if entry.order_id]
        assert len(sides) == len(set(sides)), "a capture or refund is booked twice"
        for wallet in self.wallets.values():
            assert wallet.balance.amount_minor >= 0
        for payment in self.payments.values():
            self._check_payment(payment)
        for attempt in self.attempts.values():
            if attempt.state == "done":
                assert (attempt.token, attempt.claimed_until, attempt.waiters) == (None, None, ())
            else:
                assert attempt.ask != "charge" or attempt.token is not None

    def _check_payment(self, payment: Payment) -> None:
        captured, returned = payment.captured_at is not None, payment.refunded_at is not None
        assert captured or not returned
        match payment.status:
            case "pending":
                assert not captured
                assert self.attempts[payment.order_id].state != "done"
            case "completed":
                assert captured
                assert not returned
            case "refunded":
                assert returned
            case "failed" | "cancelled":
                pass
        assert (payment.status == "failed") == (payment.reason_code is not None)
        earned = payment.amount.amount_minor if payment.holds_money else 0
        assert self.booked("revenue", payment.order_id) == earned
