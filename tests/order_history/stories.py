"""Builders of orders' stories: the events of one order, as the services tell them, and any events at all."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import strategies as st
from uuid_utils.compat import uuid7

from libs.contracts.inventory import InventoryReleased, InventoryReserved, InventoryReserveFailed
from libs.contracts.message import Contract
from libs.contracts.order import (
    OrderCancelled,
    OrderCancelling,
    OrderCancelRefused,
    OrderCompleted,
    OrderCreated,
    OrderCreateFailed,
)
from libs.contracts.payment import PaymentCompleted, PaymentFailed, PaymentRefunded
from libs.contracts.product import ProductsValidated, ProductsValidationFailed
from libs.contracts.reasons import (
    ALREADY_UNDONE,
    CANCELLED_BY_CUSTOMER,
    OUT_OF_STOCK,
    PAYMENT_REFUSED,
    PAYMENT_TIMEOUT,
    PRODUCTS_UNKNOWN,
)
from libs.contracts.values import (
    MessageId,
    OrderId,
    PaymentId,
    PaymentMethodId,
    PricedLines,
    Shortage,
    UserId,
)
from libs.messaging.message import Message
from tests.support.builders import (
    a_message,
    a_user_id,
    an_order_id,
    euros,
    priced,
    some_lines,
)

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Story:
    """One order's events; every one of them can be told on its own."""

    def __init__(
        self,
        order_id: OrderId | None = None,
        user_id: UserId | None = None,
        *,
        lines: int = 2,
        cents: int = 1_000,
    ) -> None:
        self.order_id = order_id or an_order_id()
        self.user_id = user_id or a_user_id()
        self.method_id = PaymentMethodId(uuid7())
        self.payment_id = PaymentId(uuid7())
        self.lines = some_lines(lines)
        self.priced: PricedLines = priced(self.lines, cents=cents)
        self.total = euros(cents * lines)

    def created(self) -> OrderCreated:
        return OrderCreated(
            order_id=self.order_id,
            user_id=self.user_id,
            payment_method_id=self.method_id,
            lines=self.lines,
        )

    def validated(self) -> ProductsValidated:
        return ProductsValidated(order_id=self.order_id, lines=self.priced, total=self.total)

    def reserved(self) -> InventoryReserved:
        return InventoryReserved(order_id=self.order_id)

    def paid(self) -> PaymentCompleted:
        return PaymentCompleted(
            order_id=self.order_id, payment_id=self.payment_id, amount=self.total, provider_reference="ref"
        )

    def completed(self) -> OrderCompleted:
        return OrderCompleted(
            order_id=self.order_id,
            user_id=self.user_id,
            lines=self.priced,
            total=self.total,
            payment_id=self.payment_id,
        )

    def unknown(self) -> ProductsValidationFailed:
        return ProductsValidationFailed(
            order_id=self.order_id,
            reason_code=PRODUCTS_UNKNOWN,
            reason="nobody sells that",
            product_ids=(self.lines[0].product_id,),
        )

    def short(self) -> InventoryReserveFailed:
        line = self.lines[0]
        shortage = Shortage(product_id=line.product_id, requested=line.quantity, available=0)
        return InventoryReserveFailed(
            order_id=self.order_id, reason_code=OUT_OF_STOCK, reason="none left", shortages=(shortage,)
        )

    def unpaid(self, reason_code: str = PAYMENT_REFUSED) -> PaymentFailed:
        return PaymentFailed(order_id=self.order_id, reason_code=reason_code, reason="the card said no")

    def released(self) -> InventoryReleased:
        return InventoryReleased(order_id=self.order_id)

    def refunded(self, *, was_captured: bool = True) -> PaymentRefunded:
        return PaymentRefunded(order_id=self.order_id, amount=self.total, was_captured=was_captured)

    def cancelling(self, reason_code: str = OUT_OF_STOCK) -> OrderCancelling:
        return OrderCancelling(
            order_id=self.order_id, user_id=self.user_id, reason_code=reason_code, reason="being undone"
        )

    def cancelled(self, reason_code: str = OUT_OF_STOCK) -> OrderCancelled:
        return OrderCancelled(
            order_id=self.order_id, user_id=self.user_id, reason_code=reason_code, reason="none of it is left"
        )

    def never_created(self) -> OrderCreateFailed:
        return OrderCreateFailed(
            order_id=self.order_id, user_id=self.user_id, reason_code=ALREADY_UNDONE, reason="too late"
        )

    def not_cancellable(self) -> OrderCancelRefused:
        return OrderCancelRefused(
            order_id=self.order_id,
            user_id=self.user_id,
            reason_code="order_not_cancellable",
            reason="it is on its way",
        )

    def completes(self) -> list[Message[Contract]]:
        """The story of an order that goes well."""
        return told(self.created(), self.validated(), self.reserved(), self.paid(), self.completed())

    def runs_short(self) -> list[Message[Contract]]:
        """The story of an order for which stock is short."""
        return told(self.created(), self.validated(), self.short(), self.cancelling(), self.cancelled())

    def times_out(self) -> list[Message[Contract]]:
        """The story of an order whose payment does not answer in time, and does so later."""
        return told(
            self.created(),
            self.validated(),
            self.reserved(),
            self.cancelling(PAYMENT_TIMEOUT),
            self.refunded(was_captured=False),
            self.unpaid(ALREADY_UNDONE),
            self.released(),
            self.cancelled(PAYMENT_TIMEOUT),
        )

    def is_taken_back(self) -> list[Message[Contract]]:
        """The story of an order that its customer cancels after its completion."""
        return told(
            self.created(),
            self.validated(),
            self.reserved(),
            self.paid(),
            self.completed(),
            self.cancelling(CANCELLED_BY_CUSTOMER),
            self.refunded(),
            self.released(),
            self.cancelled(CANCELLED_BY_CUSTOMER),
        )


def told(*bodies: Contract) -> list[Message[Contract]]:
    """The bodies as messages, a second apart, with rising ids."""
    messages = [a_message(body) for body in bodies]
    return [m._replace(time=START + timedelta(seconds=n)) for n, m in enumerate(messages)]


def events_of(story: Story) -> st.SearchStrategy[Contract]:
    """Any event that can be told of an order, with contents that differ from telling to telling."""
    reasons = st.sampled_from([OUT_OF_STOCK, PAYMENT_TIMEOUT, CANCELLED_BY_CUSTOMER, ALREADY_UNDONE])
    others = st.builds(Story, st.just(story.order_id), cents=st.integers(0, 5_000), lines=st.integers(1, 3))
    makers = st.sampled_from(
        [
            Story.created,
            Story.validated,
            Story.reserved,
            Story.paid,
            Story.completed,
            Story.unknown,
            Story.short,
            Story.released,
            Story.never_created,
            Story.not_cancellable,
        ]
    )
    return st.one_of(
        st.builds(lambda make, other: make(other), makers, others),
        st.builds(Story.unpaid, others, reasons),
        st.builds(Story.cancelling, others, reasons),
        st.builds(Story.cancelled, others, reasons),
        st.builds(lambda other, captured: other.refunded(was_captured=captured), others, st.booleans()),
    )


@st.composite
def tellings(draw: st.DrawFn, orders: int = 1) -> list[Message[Contract]]:
    """Events of some orders, each with its own id and with a time that says nothing about the id."""
    stories = [Story() for _ in range(orders)]
    bodies = draw(st.lists(st.one_of([events_of(story) for story in stories]), min_size=1, max_size=20))
    numbers = draw(st.permutations(range(len(bodies))))
    seconds = draw(st.lists(st.integers(0, 30), min_size=len(bodies), max_size=len(bodies)))
    return [
        a_message(body)._replace(
            id=MessageId(UUID(int=(0x7 << 76) | (0x2 << 62) | (number << 80))),
            time=START + timedelta(seconds=second),
        )
        for body, number, second in zip(bodies, numbers, seconds, strict=True)
    ]


def retold(messages: Sequence[Message[Contract]]) -> st.SearchStrategy[list[Message[Contract]]]:
    """The same messages in any order, some of them more than once."""
    return st.lists(st.sampled_from(messages), max_size=8).flatmap(
        lambda again: st.permutations([*messages, *again])
    )
