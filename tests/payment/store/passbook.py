"""What the service must answer and have in its books, reckoned by hand: orders of customers with a wallet or a card."""

from dataclasses import dataclass, field
from typing import Literal, TypeAlias
from uuid import UUID

from libs.contracts.values import MessageId, OrderId, PaymentMethodId, UserId
from payment.domain.commands import MAX_WAITERS

By: TypeAlias = Literal["wallet", "approved", "refused", "another's"]
State: TypeAlias = Literal["pending", "completed", "refunding", "failed", "refunded", "cancelled"]
Told: TypeAlias = tuple[MessageId, str, object]
"""Which command is answered, with what kind of message, and what matters of it."""


@dataclass(frozen=True, slots=True)
class Purchase:
    """An order's payment as it is asked for, and whose money it is about."""

    order_id: OrderId
    user_id: UserId
    method_id: PaymentMethodId
    by: By
    minor: int


@dataclass(slots=True)
class Paid:
    """How far an order's payment is; a tombstone has no id."""

    state: State
    payment_id: MessageId | None = None
    minor: int = 0
    was_captured: bool = False
    waiting: list[MessageId] = field(default_factory=list)


@dataclass(slots=True)
class Passbook:
    """Wallets, payments and deposits; a card's provider answers when it is let."""

    wallets: dict[UserId, int] = field(default_factory=dict)
    payments: dict[OrderId, Paid] = field(default_factory=dict)
    deposits: dict[tuple[UserId, str], tuple[UUID, int, int]] = field(default_factory=dict)

    def pay(self, purchase: Purchase, asked: MessageId) -> list[Told]:
        """An order is to be paid for, for the first time or again."""
        paid = self.payments.get(purchase.order_id)
        if paid is None:
            paid = self.payments[purchase.order_id] = self._first(purchase, asked)
        match paid.state:
            case "pending":
                self._wait(paid, asked)
                return []
            case "completed":
                return [(asked, "completed", (paid.payment_id, paid.minor))]
            case "failed":
                return [(asked, "failed", "payment_refused")]
            case "refunding" | "refunded" | "cancelled":
                return [(asked, "failed", "already_undone")]

    def undo(self, purchase: Purchase, asked: MessageId) -> list[Told]:
        """An order's payment is to be undone, whatever became of it."""
        paid = self.payments.setdefault(purchase.order_id, Paid("cancelled"))
        hear_of_it: list[Told] = []
        if paid.state == "pending":
            hear_of_it = [(waiter, "failed", "already_undone") for waiter in paid.waiting]
            paid.state, paid.waiting = "cancelled", []
        if paid.state == "completed":
            by_wallet = purchase.by == "wallet"
            paid.state = "refunded" if by_wallet or not paid.minor else "refunding"
            if by_wallet and paid.minor:
                self.wallets[purchase.user_id] += paid.minor
        if paid.state == "refunding":
            self._wait(paid, asked)
            return []
        return [*hear_of_it, _refunded(paid, asked)]

    def provider_answers(self, purchases: list[Purchase]) -> list[Told]:
        """Whatever is due at the provider happens, and those who wait hear of it."""
        told: list[Told] = []
        for purchase in purchases:
            paid = self.payments.get(purchase.order_id)
            if paid is None or paid.state not in {"pending", "refunding"}:
                continue
            waiting, paid.waiting = paid.waiting, []
            if paid.state == "refunding":
                paid.state = "refunded"
                told += [_refunded(paid, waiter) for waiter in waiting]
            elif purchase.by == "approved":
                paid.state, paid.was_captured = "completed", True
                told += [(waiter, "completed", (paid.payment_id, paid.minor)) for waiter in waiting]
            else:
                paid.state = "failed"
                told += [(waiter, "failed", "payment_refused") for waiter in waiting]
        return told

    def deposit(self, user_id: UserId, key: str, minor: int, deposit_id: UUID) -> tuple[UUID, int, int]:
        """The deposit under the key, the first if there was one: its id, its amount, the balance after it."""
        if (user_id, key) not in self.deposits:
            self.wallets[user_id] = self.wallets.get(user_id, 0) + minor
            self.deposits[user_id, key] = (deposit_id, minor, self.wallets[user_id])
        return self.deposits[user_id, key]

    def asks_provider(self) -> bool:
        """Whether a payment waits for its provider's answer."""
        return any(paid.state in {"pending", "refunding"} for paid in self.payments.values())

    def held(self, order_id: OrderId) -> int:
        """What is captured for the order and not given back."""
        paid = self.payments.get(order_id)
        return paid.minor if paid is not None and paid.state in {"completed", "refunding"} else 0

    def _first(self, purchase: Purchase, asked: MessageId) -> Paid:
        minor = purchase.minor
        match purchase.by:
            case "wallet" if minor > self.wallets.get(purchase.user_id, 0):
                return Paid("failed", asked, minor)
            case "another's":
                return Paid("failed", asked, minor)
            case "approved" | "refused" if minor:
                return Paid("pending", asked, minor)
        if minor and purchase.by == "wallet":
            self.wallets[purchase.user_id] -= minor
        return Paid("completed", asked, minor, was_captured=True)

    def _wait(self, paid: Paid, asked: MessageId) -> None:
        paid.waiting = [*paid.waiting, asked][-MAX_WAITERS:]


def _refunded(paid: Paid, asked: MessageId) -> Told:
    return (asked, "refunded", (paid.minor if paid.was_captured else 0, paid.was_captured))
