"""A desk with sagas on it, and messages to decide on: the orchestrator without a database."""

from dataclasses import dataclass, field
from typing import Self

from libs.contracts.message import Contract, Event
from libs.contracts.order_saga import SagaCancelOrder, SagaCreateOrder
from libs.contracts.values import SagaId
from libs.messaging.message import Correlation, Message, Outgoing
from libs.saga.inputs import Timeout
from libs.saga.instance import Instance
from libs.saga.testing import BEGINNING
from order_saga import domain
from order_saga.app import routes
from order_saga.cancel_completed_order import cancel_completed_order
from order_saga.create_order import create_order
from order_saga.domain import Book, Case, Desk, Due
from tests.order_saga.answers import good_answers
from tests.support.builders import a_message, an_order

BOOK = Book.of(create_order, cancel_completed_order)
DECIDE = {route.body: route.decide for route in routes(BOOK)}
FORWARD = ("open_order", "validate_products", "reserve_inventory", "process_payment", "complete_order")


@dataclass
class Office:
    """One order at the orchestrator, and all that was sent for it."""

    order: SagaCreateOrder = field(default_factory=an_order)
    desk: Desk = field(default_factory=lambda: Desk(BOOK, BEGINNING))
    sent: list[Outgoing] = field(default_factory=list)

    def take(self, message: Message[Contract] | Message[Due]) -> list[Outgoing]:
        """Decide on a message as the host would; what is sent for it."""
        answer = DECIDE[type(message.body)](self.desk, message)
        assert isinstance(answer, list)
        self.sent += answer
        return answer

    def starts(self) -> Self:
        """The order's start comes."""
        self.take(a_message(self.order))
        return self

    def cancel(self, reason: str = "Too late.") -> list[Outgoing]:
        """The customer's cancel comes."""
        body = SagaCancelOrder(order_id=self.order.order_id, user_id=self.order.user_id, reason=reason)
        return self.take(a_message(body))

    def answer(self, step: str, event: Event | None = None) -> list[Outgoing]:
        """A step's last command is answered, well unless said otherwise."""
        [*_, command] = [o for o in self.sent if o.correlation and o.correlation.step == step]
        reply = event or good_answers(self.order)[step]
        return self.take(a_message(reply, correlation=command.correlation or Correlation()))

    def goes_on_to(self, step: str) -> Self:
        """Everything before a step is answered well."""
        self.starts()
        for before in FORWARD[: FORWARD.index(step)]:
            self.answer(before)
        return self

    def completed(self) -> Self:
        """The order is completed."""
        self.goes_on_to("complete_order").answer("complete_order")
        return self

    def times_out(self) -> list[Outgoing]:
        """The saga's deadline is met."""
        timeout = Timeout.of(self.creating)
        assert timeout is not None
        self.desk.now = timeout.deadline
        key = self.order.order_id
        message = a_message(self.order)
        return self.take(Message(message.id, key, Due(SagaId(key), timeout), message.time))

    @property
    def creating(self) -> Instance[object]:
        """The saga that creates the order."""
        return self.case(domain.CREATE).instance

    def case(self, saga_type: str) -> Case:
        """The order's saga of a type."""
        found = self.desk.of_order(self.order.order_id, saga_type)
        assert found is not None
        return found

    def kinds(self) -> list[str]:
        """The journal of all its sagas."""
        return [line.entry.kind.value for line in self.desk.journal]


def steps(sent: list[Outgoing]) -> list[str | None]:
    """The steps that messages were sent for."""
    return [o.correlation.step if o.correlation else None for o in sent]
