"""What is known of an order, and how two such knowledges become one.

Events arrive on four topics, in any order and more than once. So `History` is a join semilattice: `join` is
associative, commutative and idempotent, and the same events give the same row however they come. The furthest
stage wins; of two accounts of a field, the one with the lower provenance.
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum
from typing import Final, Generic, Literal, NewType, TypeAlias, TypeVar

from libs.contracts.values import MessageId, Money, OrderId, PaymentId, PaymentMethodId, UserId

T = TypeVar("T")

Json = NewType("Json", str)
Status: TypeAlias = Literal["pending", "completed", "cancelling", "cancelled"]
EventName: TypeAlias = Literal[
    "created",
    "validated",
    "reserved",
    "paid",
    "completed",
    "cancelling",
    "released",
    "refunded",
    "cancelled",
]

TIMELINE: Final[tuple[EventName, ...]] = (
    "created",
    "validated",
    "reserved",
    "paid",
    "completed",
    "cancelling",
    "released",
    "refunded",
    "cancelled",
)
"""Every entry that a timeline can have, in the order in which it is shown."""
TERMINAL: Final[frozenset[Status]] = frozenset({"completed", "cancelled"})


class Stage(IntEnum):
    """How far an order has come; the highest ever told wins."""

    CREATED = 1
    VALIDATED = 2
    RESERVED = 3
    PAID = 4
    COMPLETED = 5
    CANCELLING = 6
    CANCELLED = 7

    @property
    def status(self) -> Status:
        """What a customer reads."""
        match self:
            case Stage.COMPLETED:
                return "completed"
            case Stage.CANCELLING:
                return "cancelling"
            case Stage.CANCELLED:
                return "cancelled"
            case _:
                return "pending"


class PaymentStage(IntEnum):
    """What the payment's own events have told; the highest wins."""

    FAILED = 1
    COMPLETED = 2
    CANCELLED = 3
    REFUNDED = 4


@dataclass(frozen=True, slots=True)
class Account(Generic[T]):
    """A value and who told it: a byte of precedence (the lower, the better its source), then the message's id."""

    provenance: bytes
    value: T


@dataclass(frozen=True, slots=True)
class Origin:
    """Whose order it is and since when; user and method are unknown until an order event tells them."""

    user_id: UserId | None
    payment_method_id: PaymentMethodId | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Contents:
    """The lines as JSON, without name and price until product has told them, and the total."""

    lines: Json
    total: Money | None


@dataclass(frozen=True, slots=True)
class Reason:
    """Why the order did not go through."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class History:
    """Everything known of one order but its timeline; `updated_at` is the time of its latest event."""

    stage: Stage
    updated_at: datetime
    origin: Account[Origin]
    contents: Account[Contents] | None = None
    reason: Account[Reason] | None = None
    payment_id: Account[PaymentId] | None = None
    payment: PaymentStage | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a timeline; `detail` is a JSON object."""

    event: EventName
    ce_id: MessageId
    at: datetime
    detail: Json | None = None


@dataclass(slots=True)
class Histories:
    """The orders that a batch touches, as they were loaded and as they have become.

    `entries` holds what this batch tells for the timelines, in order of arrival; it is not loaded.
    """

    loaded: frozenset[OrderId] = frozenset()
    orders: dict[OrderId, History] = field(default_factory=dict)
    changed: set[OrderId] = field(default_factory=set)
    entries: dict[tuple[OrderId, EventName], Entry] = field(default_factory=dict)

    def take(self, order_id: OrderId, told: History, entry: Entry | None) -> None:
        """Take in what one event tells; a repeat changes nothing."""
        known = self.orders.get(order_id)
        joined = told if known is None else join(known, told)
        if joined != known:
            self.orders[order_id] = joined
            self.changed.add(order_id)
        if entry is not None:
            place = order_id, entry.event
            standing = self.entries.get(place, entry)
            self.entries[place] = min(standing, entry, key=lambda one: one.ce_id)

    def has_ended(self, order_id: OrderId) -> bool:
        """Whether an order of the batch is at its end, by what this process knows."""
        return self.orders[order_id].stage.status in TERMINAL


def join(one: History, other: History) -> History:
    """What both know together."""
    return History(
        stage=max(one.stage, other.stage),
        updated_at=max(one.updated_at, other.updated_at),
        origin=_better(one.origin, other.origin),
        contents=_either(one.contents, other.contents),
        reason=_either(one.reason, other.reason),
        payment_id=_either(one.payment_id, other.payment_id),
        payment=max((p for p in (one.payment, other.payment) if p is not None), default=None),
    )


def is_settled(status: Status, events: frozenset[str]) -> bool:
    """Whether an order is at its end and everything that must have come before it has arrived too.

    The topics have no common order: `completed` may be here before `paid`.
    """
    match status:
        case "completed":
            return events.issuperset(("created", "validated", "reserved", "paid", "completed"))
        case "cancelled":
            undone = {"reserved": "released", "paid": "refunded"}
            return all(undo in events for done, undo in undone.items() if done in events)
        case _:
            return False


def payment_status(stage: PaymentStage | None, status: Status) -> str:
    """The payment as a customer reads it: pending until told otherwise, cancelled with an order never paid."""
    if stage is not None:
        return stage.name.lower()
    return "cancelled" if status == "cancelled" else "pending"


def _better(one: Account[T], other: Account[T]) -> Account[T]:
    return other if other.provenance < one.provenance else one


def _either(one: Account[T] | None, other: Account[T] | None) -> Account[T] | None:
    if one is None or other is None:
        return other if one is None else one
    return _better(one, other)
