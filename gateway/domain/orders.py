"""What an order is before anybody but the gateway has seen it."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from libs.contracts.order_saga import SagaCancelOrder, SagaCreateOrder
from libs.contracts.values import (
    MAX_QUANTITY,
    Line,
    MessageId,
    OrderId,
    PaymentMethodId,
    ProductId,
    SagaId,
    UserId,
)
from libs.messaging.message import Correlation, Outgoing, Trace

CREATE: Final = "create"
CANCEL: Final = "cancel"

PENDING: Final = "pending"
CANCELLING: Final = "cancelling"
COMPLETED: Final = "completed"
CANCELLED: Final = "cancelled"
TERMINAL: Final = frozenset({COMPLETED, CANCELLED})


@dataclass(frozen=True, slots=True)
class Asked:
    """What a customer asked for, before it has an id."""

    user_id: UserId
    payment_method_id: PaymentMethodId
    lines: tuple[Line, ...]

    @property
    def fingerprint(self) -> bytes:
        """What two requests that ask for the same have in common; order and splitting of lines count."""
        parts = [self.payment_method_id.bytes]
        for line in self.lines:
            parts += (line.product_id.bytes, line.quantity.to_bytes(4))
        return sha256(b"".join(parts)).digest()

    def as_order(self, order_id: OrderId) -> SagaCreateOrder:
        """The order, with its lines merged."""
        return SagaCreateOrder(
            order_id=order_id,
            user_id=self.user_id,
            payment_method_id=self.payment_method_id,
            lines=merged(self.lines),
        )


def merged(lines: Sequence[Line]) -> tuple[Line, ...]:
    """One line per product, in order of first mention, quantities added up; `overfull` must be empty."""
    if len(lines) == 1:
        return tuple(lines)
    sums = _sums(lines)
    return tuple(Line(product_id=product_id, quantity=quantity) for product_id, quantity in sums.items())


def overfull(lines: Sequence[Line]) -> list[int]:
    """Positions of the lines by which a product's merged quantity goes past what one line may hold."""
    sums: dict[ProductId, int] = {}
    found = []
    for position, line in enumerate(lines):
        before = sums.get(line.product_id, 0)
        sums[line.product_id] = before + line.quantity
        if before <= MAX_QUANTITY < before + line.quantity:
            found.append(position)
    return found


def _sums(lines: Sequence[Line]) -> dict[ProductId, int]:
    sums: dict[ProductId, int] = {}
    for line in lines:
        sums[line.product_id] = sums.get(line.product_id, 0) + line.quantity
    return sums


def message(
    body: SagaCreateOrder | SagaCancelOrder, message_id: MessageId, trace: Trace | None = None
) -> Outgoing:
    """The command as it is put into the outbox; the saga that creates an order has the order's id."""
    return Outgoing(body, Correlation(saga_id=SagaId(body.order_id), trace=trace), message_id)
