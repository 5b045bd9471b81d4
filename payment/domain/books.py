"""What a batch of messages touches, in memory: payments, wallets, attempts, and the ledger entries they cause."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Generic, Literal, TypeAlias, TypeVar
from uuid import NAMESPACE_URL, UUID, uuid5

from libs.contracts.values import Money, OrderId, PaymentId, PaymentMethodId, UserId
from libs.messaging.message import Correlation
from payment.provider import Ask

MethodKind: TypeAlias = Literal["wallet", "card"]
Status: TypeAlias = Literal["pending", "completed", "failed", "refunded", "cancelled"]
AttemptState: TypeAlias = Literal["due", "parked", "done"]
EntryKind: TypeAlias = Literal["deposit", "capture", "refund"]

WALLET_CURRENCY: Final = "EUR"
NOTHING: Final = Money(amount_minor=0, currency=WALLET_CURRENCY)
REVENUE: Final = "revenue"
CARD_CLEARING: Final = "card_clearing"
DEPOSITS: Final = "deposits"

_WALLETS: Final = uuid5(NAMESPACE_URL, "urn:payment:wallet")


def wallet_method_id(user_id: UserId) -> PaymentMethodId:
    """The id of a user's wallet as a payment method; known before the wallet is made."""
    return PaymentMethodId(uuid5(_WALLETS, str(user_id)))


def wallet_account(user_id: UserId) -> str:
    """The ledger account of a user's wallet; its entries add up to the wallet's balance."""
    return f"wallet:{user_id}"


@dataclass(frozen=True, slots=True)
class Payment:
    """What became of an order's payment; a tombstone (a refund came first) has no payment_id and nothing else.

    `captured_at` and `refunded_at` are set with the ledger entries that they stand for, once each.
    """

    order_id: OrderId
    status: Status
    payment_id: PaymentId | None = None
    user_id: UserId | None = None
    method_id: PaymentMethodId | None = None
    method_kind: MethodKind | None = None
    amount: Money = NOTHING
    provider_reference: str | None = None
    reason_code: str | None = None
    reason: str | None = None
    captured_at: datetime | None = None
    refunded_at: datetime | None = None

    @property
    def holds_money(self) -> bool:
        """Whether a capture is booked and not given back."""
        return self.captured_at is not None and self.refunded_at is None


@dataclass(frozen=True, slots=True)
class Card:
    """A customer's card, as the provider's token."""

    id: PaymentMethodId
    user_id: UserId
    token: str


@dataclass(frozen=True, slots=True)
class Wallet:
    """A customer's prepaid balance."""

    user_id: UserId
    balance: Money

    def plus(self, amount_minor: int) -> "Wallet":
        """The wallet with so much more, or less, in it."""
        balance = Money(amount_minor=self.balance.amount_minor + amount_minor, currency=self.balance.currency)
        return Wallet(self.user_id, balance)


@dataclass(frozen=True, slots=True)
class Attempt:
    """What is due at the provider for one card payment, and who waits for the outcome.

    While the payment is pending its waiters want the payment's outcome, afterwards the undo's.
    `claimed_until` names the call in flight: its answer carries the same moment, and an answer with another
    one comes from a call whose lease ran out. `attempts` counts the calls since the charge, or its undo, began.
    """

    order_id: OrderId
    ask: Ask
    state: AttemptState
    next_at: datetime
    token: str | None = None
    first_sent_at: datetime | None = None
    attempts: int = 0
    claimed_until: datetime | None = None
    last_error: str | None = None
    waiters: tuple[Correlation, ...] = ()

    def in_flight(self, now: datetime) -> bool:
        """Whether a call may be under way whose answer is still to come."""
        return self.claimed_until is not None and self.claimed_until > now


@dataclass(frozen=True, slots=True)
class Entry:
    """One side of a ledger transaction: how an account's balance changes."""

    transaction_id: UUID
    account: str
    kind: EntryKind
    amount_minor: int
    currency: str
    order_id: OrderId | None = None


Key = TypeVar("Key")
Row = TypeVar("Row")


class Rows(Generic[Key, Row]):
    """Rows by their key, as they were loaded and as they have changed since."""

    __slots__ = ("_changed", "_loaded")

    def __init__(self, loaded: Mapping[Key, Row] | None = None) -> None:
        self._loaded = loaded or {}
        self._changed: dict[Key, Row] = {}

    def get(self, key: Key) -> Row | None:
        return self._changed.get(key) or self._loaded.get(key)

    def put(self, key: Key, row: Row) -> None:
        self._changed[key] = row

    def inserted(self) -> list[Row]:
        """The rows that are new."""
        return [row for key, row in self._changed.items() if key not in self._loaded]

    def updated(self) -> list[Row]:
        """The rows that were loaded and are different now."""
        return [row for key, row in self._changed.items() if key in self._loaded]

    def changed(self) -> Iterable[Row]:
        """All rows that are new or different."""
        return self._changed.values()


@dataclass(slots=True)
class Books:
    """The state that decide functions work on; every row in it is locked."""

    now: datetime
    payments: Rows[OrderId, Payment] = field(default_factory=Rows)
    attempts: Rows[OrderId, Attempt] = field(default_factory=Rows)
    wallets: Rows[UserId, Wallet] = field(default_factory=Rows)
    cards: Mapping[PaymentMethodId, Card] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)

    def wallet(self, user_id: UserId) -> Wallet:
        """The user's wallet; one that was not made yet is empty."""
        return self.wallets.get(user_id) or Wallet(user_id, NOTHING)

    def put(self, payment: Payment) -> Payment:
        """Keep a payment as it is now."""
        self.payments.put(payment.order_id, payment)
        return payment

    def put_attempt(self, attempt: Attempt) -> None:
        """Keep what is due at the provider."""
        self.attempts.put(attempt.order_id, attempt)

    def open_attempt(self, order_id: OrderId) -> Attempt | None:
        """What is still due at the provider for the order, parked or not."""
        attempt = self.attempts.get(order_id)
        return None if attempt is None or attempt.state == "done" else attempt

    def move(
        self,
        kind: EntryKind,
        amount: Money,
        *,
        source: str,
        target: str,
        transaction_id: UUID,
        order_id: OrderId | None = None,
    ) -> None:
        """Book a transfer between two accounts; an amount of zero needs no entry."""
        if amount.amount_minor == 0:
            return
        for account, sign in ((source, -1), (target, 1)):
            self.entries.append(
                Entry(transaction_id, account, kind, sign * amount.amount_minor, amount.currency, order_id)
            )

    def has_due_attempts(self) -> bool:
        """Whether this batch left something for the provider."""
        return any(attempt.state == "due" for attempt in self.attempts.changed())
