"""An order's history as its events tell it, folded from the topics alone: what every row of the read model must be."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

Body = Mapping[str, Any]
Row = Mapping[str, object]

STATUS: Final = MappingProxyType({5: "completed", 6: "cancelling", 7: "cancelled"})
UNSPOKEN: Final = "already_undone"
"""A reason that no customer reads."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """What one type of event says: how far the order is, its line in the timeline, and what it is believed about.

    Of several events that tell a field, the one with the lowest number is believed, then the lowest id.
    """

    rank: int
    line: str | None = None
    detail: Callable[[Body], object] = lambda _: None
    owner: int = 2
    contents: int | None = None
    reason: int | None = None
    payment_id: int | None = None
    payment: Callable[[Body], int | None] = lambda _: None


def _why(body: Body) -> object:
    if body["reason_code"] == UNSPOKEN:
        return None
    return {"reason_code": body["reason_code"], "reason": body["reason"]}


def _refusal(*more: str, **rest: Any) -> Meaning:
    def detail(body: Body) -> object:
        return {"reason_code": body["reason_code"], "reason": body["reason"]} | {n: body[n] for n in more}

    return Meaning(6, "cancelling", detail, **rest)


MEANINGS: Final[Mapping[str, Meaning]] = MappingProxyType(
    {
        "order.OrderCreated.v1": Meaning(1, "created", owner=0, contents=2),
        "product.ProductsValidated.v1": Meaning(
            2, "validated", lambda body: {"total": body["total"]}, contents=1
        ),
        "inventory.InventoryReserved.v1": Meaning(3, "reserved"),
        "payment.PaymentCompleted.v1": Meaning(
            4, "paid", lambda body: {"amount": body["amount"]}, payment_id=1, payment=lambda _: 2
        ),
        "order.OrderCompleted.v1": Meaning(
            5,
            "completed",
            lambda body: {"total": body["total"]},
            owner=1,
            contents=0,
            payment_id=0,
            payment=lambda _: 2,
        ),
        "product.ProductsValidationFailed.v1": _refusal("product_ids"),
        "inventory.InventoryReserveFailed.v1": _refusal("shortages"),
        "payment.PaymentFailed.v1": _refusal(payment=lambda _: 1),
        "inventory.InventoryReleased.v1": Meaning(6, "released"),
        "payment.PaymentRefunded.v1": Meaning(
            6,
            "refunded",
            lambda body: {"amount": body["amount"], "was_captured": body["was_captured"]},
            payment=lambda body: 4 if body["was_captured"] else 3,
        ),
        "order.OrderCancelling.v1": Meaning(6, "cancelling", _why, owner=1, reason=1),
        "order.OrderCancelled.v1": Meaning(7, "cancelled", _why, owner=1, reason=0),
        "order.OrderCreateFailed.v1": Meaning(7, "cancelled", _why, owner=1, reason=2),
        "order.OrderCancelRefused.v1": Meaning(1, owner=1),
    }
)


@dataclass(frozen=True, slots=True, order=True)
class Told:
    """A value, and who told it."""

    precedence: int
    message: str
    value: Any = field(compare=False)


@dataclass(slots=True)
class Folded:
    """One order, in whatever order its events come, and however often."""

    rank: int = 0
    payment: int | None = None
    updated_at: datetime | None = None
    owner: Told | None = None
    contents: Told | None = None
    reason: Told | None = None
    payment_id: Told | None = None
    timeline: dict[str, tuple[str, datetime, object]] = field(default_factory=dict)

    def see(self, wire: str, message: str, at: datetime, body: Body) -> None:
        """Fold one event in; one that the read model does not look at changes nothing."""
        meaning = MEANINGS.get(wire)
        if meaning is None:
            return
        self.rank = max(self.rank, meaning.rank)
        self.payment = max((p for p in (self.payment, meaning.payment(body)) if p is not None), default=None)
        self.updated_at = max(self.updated_at or at, at)
        owner = (body.get("user_id"), body.get("payment_method_id"), at)
        self.owner = _better(self.owner, Told(meaning.owner, message, owner))
        if meaning.contents is not None:
            contents = [_line(line) for line in body["lines"]], body.get("total")
            self.contents = _better(self.contents, Told(meaning.contents, message, contents))
        if meaning.reason is not None and body["reason_code"] != UNSPOKEN:
            reason = body["reason_code"], body["reason"]
            self.reason = _better(self.reason, Told(meaning.reason, message, reason))
        if meaning.payment_id is not None:
            self.payment_id = _better(self.payment_id, Told(meaning.payment_id, message, body["payment_id"]))
        if meaning.line is not None and not _says_nothing(meaning, body):
            line = message, at, meaning.detail(body)
            self.timeline[meaning.line] = min(
                self.timeline.get(meaning.line, line), line, key=lambda one: one[0]
            )

    def row(self) -> Row:
        """The row of the read model's `orders`."""
        user_id, method_id, created_at = self.owner.value if self.owner else (None, None, None)
        lines, total = self.contents.value if self.contents else (None, None)
        code, text = self.reason.value if self.reason else (None, None)
        return {
            "status": STATUS.get(self.rank, "pending"),
            "rank": self.rank,
            "user_id": user_id,
            "payment_method_id": method_id,
            "created_at": created_at,
            "updated_at": self.updated_at,
            "lines": lines,
            "total_minor": total and total["amount_minor"],
            "currency": total and total["currency"],
            "reason_code": code,
            "reason": text,
            "payment_id": self.payment_id.value if self.payment_id else None,
            "payment_rank": self.payment,
        }


COLUMNS: Final[Sequence[str]] = tuple(Folded().row())


def _says_nothing(meaning: Meaning, body: Body) -> bool:
    """A refusal because the undo came first begins no cancellation."""
    return meaning.line == "cancelling" and body["reason_code"] == UNSPOKEN and meaning.reason is None


def _better(one: Told | None, other: Told) -> Told:
    return other if one is None else min(one, other)


def _line(line: Body) -> dict[str, object]:
    return {name: line.get(name) for name in ("product_id", "name", "quantity", "price")}
