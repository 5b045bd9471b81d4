"""Which saga a message is about, and what it makes of it; pure."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple

from libs.contracts.message import Event
from libs.contracts.order_saga import SagaCancelOrder, SagaCreateOrder
from libs.contracts.reasons import CANCELLED_BY_CUSTOMER
from libs.contracts.values import MessageId, OrderId, SagaId
from libs.messaging.message import Correlation, Message, Outgoing
from libs.outbox.errors import Undeliverable
from libs.saga.chance import message_id
from libs.saga.decision import Decision, Entry, Rejection
from libs.saga.definition import Saga
from libs.saga.inputs import Action, Cancel, Input, Repeated, Reply, Timeout
from libs.saga.instance import Instance, Reason, Status
from libs.saga.reducer import on, start, start_cancelled
from libs.saga.sagas import Definition, Sagas
from order_saga.cancel_completed_order import Cancellation, cancel_completed_order
from order_saga.create_order import OrderSheet, create_order

CREATE: Final = create_order.name
CANCEL: Final = cancel_completed_order.name


@dataclass(frozen=True, slots=True)
class Book:
    """The definitions that new sagas start with, and all that are known, older versions too."""

    create: Saga[OrderSheet]
    take_back: Saga[Cancellation]
    known: Sagas

    @classmethod
    def of(cls, create: Saga[OrderSheet], take_back: Saga[Cancellation], *older: Definition) -> "Book":
        """The newest versions, and those before them that may still be under way."""
        return cls(create, take_back, Sagas(create, take_back, *older))


@dataclass(slots=True)
class Case:
    """A saga in hand, with what its row holds besides the instance."""

    instance: Instance[object]
    order_id: OrderId
    partition: int
    started_at: datetime
    finished_at: datetime | None = None
    stored: bool = True
    changed: bool = False
    took_room: bool = False
    """Whether it was under way, and not parked, before this batch."""

    @property
    def takes_room(self) -> bool:
        """Whether it counts among the running ones: not ended, and not waiting for a human."""
        return not self.instance.finished and self.instance.parked_at is None


class JournalLine(NamedTuple):
    """An entry with its place in the journal."""

    saga_id: SagaId
    revision: int
    seq: int
    entry: Entry


@dataclass(slots=True)
class Desk:
    """The sagas that a batch is about, locked, and what was written down while deciding.

    `retired` are ended sagas of versions that are no longer known, by order and type.
    """

    book: Book
    now: datetime
    cases: dict[SagaId, Case] = field(default_factory=dict)
    by_order: dict[tuple[OrderId, str], SagaId] = field(default_factory=dict)
    retired: dict[tuple[OrderId, str], SagaId] = field(default_factory=dict)
    journal: list[JournalLine] = field(default_factory=list)
    ended: Counter[tuple[str, Status]] = field(default_factory=Counter)
    fired: int = 0
    rejected: Rejection | None = None

    def put(self, case: Case) -> None:
        """Lay a saga on the desk."""
        self.cases[case.instance.id] = case
        self.by_order[case.order_id, case.instance.type] = case.instance.id

    def of_order(self, order_id: OrderId, saga_type: str) -> Case | None:
        """An order's saga of a type."""
        saga_id = self.by_order.get((order_id, saga_type))
        return None if saga_id is None else self.cases[saga_id]

    @property
    def more_running(self) -> int:
        """By how many the running ones have become more, or, below zero, fewer."""
        return sum(case.takes_room - case.took_room for case in self.cases.values())

    def opened(self) -> Iterable[Case]:
        """The cases that are to be inserted."""
        return (case for case in self.cases.values() if not case.stored)

    def altered(self) -> Iterable[Case]:
        """The cases that are to be updated."""
        return (case for case in self.cases.values() if case.stored and case.changed)


@dataclass(frozen=True, slots=True)
class Due:
    """A saga's deadline was reached."""

    saga_id: SagaId
    timeout: Timeout


@dataclass(frozen=True, slots=True)
class Operate:
    """An operator's action on a saga."""

    saga_id: SagaId
    action: Action


def begin(desk: Desk, message: Message[SagaCreateOrder]) -> list[Outgoing]:
    """Start the order's saga; once more is a repeat, also after a cancel that came first."""
    case = desk.of_order(message.key, CREATE)
    if case is not None:
        return _go_on(desk, case, Repeated(message.id), message)
    if (message.key, CREATE) in desk.retired:
        return []
    saga_id = SagaId(message.key)
    first = start(desk.book.create, saga_id, OrderSheet.asked(message.body), desk.now)
    return _open(desk, first, message, message.key, _partition(message))


def cancel(desk: Desk, message: Message[SagaCancelOrder]) -> list[Outgoing]:
    """Stop the order's saga, or take the completed order back; before its start, see to it that it never is.

    Raises LookupError where the saga has ended in a version that is not known here: what it knew of the order cannot
    be read. The cancel is parked then, as another process of a deployment under way may know it.
    """
    body = message.body
    reason = Reason(CANCELLED_BY_CUSTOMER, body.reason or "Cancelled by the customer.")
    case = desk.of_order(message.key, CREATE)
    if (message.key, CREATE) in desk.retired:
        raise LookupError(f"the saga of order {message.key} has ended in a version that is not known here")
    if case is None:
        sheet = OrderSheet.unseen(body)
        first = start_cancelled(desk.book.create, SagaId(message.key), sheet, reason, desk.now)
        return _open(desk, first, message, message.key, _partition(message))
    if sheet_of(case).user_id != body.user_id:
        raise Undeliverable("not_the_owner", f"order {message.key} is not {body.user_id}'s")
    return _go_on(desk, case, Cancel(reason, message.id), message)


def reply(desk: Desk, message: Message[Event]) -> list[Outgoing]:
    """Give a saga the answer that it waits for, or that comes late; what nobody asked for is passed over."""
    saga_id = message.correlation.saga_id
    if saga_id is None:
        return []
    case = desk.cases.get(saga_id)
    if case is None or case.order_id != message.key:
        retired = saga_id in desk.retired.values()
        reason = "saga_version_retired" if retired else "unknown_saga"
        raise Undeliverable(reason, f"no saga {saga_id} of order {message.key} takes answers")
    asked = message.correlation
    return _go_on(desk, case, Reply(asked.step or "", message.body, asked.attempt, message.id), message)


def fire(desk: Desk, message: Message[Due]) -> list[Outgoing]:
    """Tell a saga that its deadline was reached."""
    desk.fired += 1
    return _go_on(desk, desk.cases[message.body.saga_id], message.body.timeout, message)


def operate(desk: Desk, message: Message[Operate]) -> list[Outgoing]:
    """Take an operator's action, or say in `desk.rejected` why not."""
    return _go_on(desk, desk.cases[message.body.saga_id], message.body.action, message)


def _go_on(desk: Desk, case: Case, received: Input, message: Message[object]) -> list[Outgoing]:
    instance = case.instance
    saga = desk.book.known.of(instance.type, instance.version)
    if saga is None:
        raise LookupError(f"no definition of {instance.type} version {instance.version}")
    decision = on(saga, instance, received, desk.now)
    if decision.rejected is not None:
        desk.rejected = decision.rejected
        return []
    case.instance, case.changed = decision.instance, True
    if decision.instance.finished and case.finished_at is None:
        case.finished_at = desk.now
        desk.ended[instance.type, decision.instance.status] += 1
    sent = _take_down(desk, decision, message)
    if decision.cancel_due is not None:
        sent += _take_back(desk, case, decision.cancel_due, message)
    return sent


def _take_back(desk: Desk, created: Case, reason: Reason, message: Message[object]) -> list[Outgoing]:
    """Start the saga that undoes a completed order; an order has one at most."""
    if (case := desk.of_order(created.order_id, CANCEL)) is not None:
        return _go_on(desk, case, Repeated(MessageId(message.id)), message)
    if (created.order_id, CANCEL) in desk.retired:
        return []
    saga_id = SagaId(message_id(created.instance.id, created.instance.revision, CANCEL, 1, desk.now))
    sheet = sheet_of(created)
    cancellation = Cancellation(
        order_id=sheet.order_id, user_id=sheet.user_id, reason_code=reason.code, reason=reason.text
    )
    first = start(desk.book.take_back, saga_id, cancellation, desk.now)
    return _open(desk, first, message, created.order_id, created.partition)


def _open(
    desk: Desk,
    first: Decision[object],
    message: Message[object],
    order_id: OrderId,
    partition: int,
) -> list[Outgoing]:
    desk.put(Case(first.instance, order_id, partition, desk.now, stored=False))
    return _take_down(desk, first, message)


def _take_down(desk: Desk, decision: Decision[object], message: Message[object]) -> list[Outgoing]:
    saga = decision.instance
    desk.journal += [
        JournalLine(saga.id, saga.revision, seq, entry) for seq, entry in enumerate(decision.journal)
    ]
    cause = None if message.origin is None else message.id
    trace = message.correlation.trace
    return [
        Outgoing(send.body, Correlation(saga.id, send.step, send.attempt, cause, trace), send.id)
        for send in decision.commands
    ]


def sheet_of(case: Case) -> OrderSheet:
    """What the saga that creates an order knows of it."""
    if not isinstance(case.instance.data, OrderSheet):
        raise TypeError(f"{case.instance.type} has no order sheet")
    return case.instance.data


def _partition(message: Message[object]) -> int:
    """The partition of every topic that the order's messages fall in: topics are co-partitioned."""
    if message.origin is None:
        raise LookupError("a saga is started by a record")
    return message.origin.partition
