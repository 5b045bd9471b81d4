"""Builders: valid values and messages with as little said as a test needs."""

from datetime import UTC, datetime
from uuid import UUID, uuid4

from uuid_utils.compat import uuid7

from libs.contracts.message import Contract
from libs.contracts.order_saga import SagaCreateOrder
from libs.contracts.values import (
    Line,
    MessageId,
    Money,
    OrderId,
    PaymentMethodId,
    PricedLine,
    ProductId,
    SagaId,
    UserId,
)
from libs.messaging.message import UNCORRELATED, Correlation, Message, Origin
from tests.support.topics import RawRecord


def an_order_id() -> OrderId:
    """A new order's id."""
    return OrderId(uuid7())


def a_user_id() -> UserId:
    """A new customer's id."""
    return UserId(uuid7())


def a_product_id() -> ProductId:
    """A new product's id."""
    return ProductId(uuid7())


def a_message_id() -> MessageId:
    """A new message's id."""
    return MessageId(uuid7())


def euros(minor: int) -> Money:
    """An amount in euro cents."""
    return Money(amount_minor=minor, currency="EUR")


def some_lines(count: int = 2, *, quantity: int = 1) -> tuple[Line, ...]:
    """Lines of different products."""
    return tuple(Line(product_id=a_product_id(), quantity=quantity) for _ in range(count))


def priced(lines: tuple[Line, ...], *, cents: int = 1_000) -> tuple[PricedLine, ...]:
    """The lines as the product service answers them, all at one price."""
    return tuple(
        PricedLine(
            product_id=line.product_id, quantity=line.quantity, name=f"Product {n}", price=euros(cents)
        )
        for n, line in enumerate(lines, start=1)
    )


def an_order(lines: int = 2, *, quantity: int = 1, user_id: UserId | None = None) -> SagaCreateOrder:
    """An order as the gateway sends it to the saga."""
    return SagaCreateOrder(
        order_id=an_order_id(),
        user_id=user_id or a_user_id(),
        payment_method_id=PaymentMethodId(uuid7()),
        lines=some_lines(lines, quantity=quantity),
    )


def a_correlation(saga_id: UUID, step: str, attempt: int = 1) -> Correlation:
    """What a saga puts on a command."""
    return Correlation(saga_id=SagaId(saga_id), step=step, attempt=attempt)


def a_message(
    body: Contract,
    *,
    message_id: MessageId | None = None,
    correlation: Correlation = UNCORRELATED,
) -> Message[Contract]:
    """A message as a decide function gets it."""
    return Message(
        id=message_id or a_message_id(),
        key=body.order_id,
        body=body,
        time=datetime.now(UTC),
        correlation=correlation,
        origin=Origin(body.topic, 0, 0),
    )


def a_record(
    body: Contract,
    *,
    message_id: MessageId | None = None,
    correlation: Correlation = UNCORRELATED,
) -> RawRecord:
    """A message as it lies in its topic."""
    return RawRecord(
        topic=body.topic,
        key=str(body.order_id).encode(),
        value=body.model_dump_json().encode(),
        headers=[*envelope(body.wire, message_id=message_id), *_correlation(correlation)],
    )


def envelope(wire: str, *, message_id: UUID | None = None, source: str = "/test") -> list[tuple[str, bytes]]:
    """The headers that every message has."""
    now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    headers = {
        "ce_specversion": "1.0",
        "ce_id": str(message_id or a_message_id()),
        "ce_source": source,
        "ce_type": wire,
        "ce_time": now,
        "content-type": "application/json",
    }
    return [(name, value.encode()) for name, value in headers.items()]


def a_trace_parent() -> str:
    """A sampled W3C trace parent."""
    return f"00-{uuid4().hex}-{uuid4().hex[:16]}-01"


def _correlation(correlation: Correlation) -> list[tuple[str, bytes]]:
    values = {
        "saga_id": correlation.saga_id,
        "step": correlation.step,
        "attempt": correlation.attempt,
        "causation_id": correlation.causation_id,
        "traceparent": correlation.trace and correlation.trace.parent,
    }
    return [(name, str(value).encode()) for name, value in values.items() if value is not None]
