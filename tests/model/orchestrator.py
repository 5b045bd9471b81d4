"""The orchestrator as the model runs it: its real routes on sagas held in memory, and what must hold of each turn."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import Enum
from typing import Any, Final

from libs.contracts.reasons import ALREADY_UNDONE
from libs.contracts.values import MessageId, OrderId
from libs.messaging.message import Message
from libs.saga.definition import Saga
from libs.saga.inputs import Action, Gap, Timeout
from libs.saga.instance import Instance
from libs.service.service import Answer
from order_saga import app, store
from order_saga.cancel_completed_order import cancel_completed_order
from order_saga.create_order import create_order
from order_saga.domain import CANCEL, CREATE, Book, Case, Desk, Due, Operate
from tests.model.mail import Letter
from tests.model.participants import Deciders, answers
from tests.model.scenario import NOW
from tests.model.second_version import create_order_2
from tests.model.substitution import digest
from tests.model.turns import earlier, judged, moved, not_a_step, read_out

SECOND: Final = timedelta(seconds=1)
LONG: Final = 60 * SECOND
"""How long the orchestrator was away when a deadline is met late."""


class Away(Enum):
    """When the orchestrator was away: past a deadline, or for nine seconds until one second before it."""

    PAST_IT = "past it"
    BEFORE_IT = "before it"


UNREVISED: Final = 1
"""Every saga's revision, while it lies in a state: what it counts is checked turn by turn."""


@dataclass(frozen=True, slots=True)
class Sagas:
    """What the orchestrator's tables hold of one order, and what is remembered beside them to judge it.

    `owed` are the steps that were sent and whose undo is owed, as the journal tells it. `seen` says whether an
    operator has looked at a saga, and whether it is still as he saw it.
    """

    create: Instance[object] | None = None
    back: Instance[object] | None = None
    owed: tuple[str, ...] = ()
    seen: bool | None = None

    @property
    def each(self) -> tuple[Instance[object], ...]:
        """The sagas that there are."""
        return tuple(saga for saga in (self.create, self.back) if saga is not None)

    @property
    def under_way(self) -> Instance[object] | None:
        """The one that has not ended; there is one at most."""
        return next((saga for saga in self.each if not saga.finished), None)

    @property
    def finished(self) -> bool:
        """Whether there are sagas and all have ended."""
        return self.create is not None and self.under_way is None


@dataclass(frozen=True, slots=True)
class Timer:
    """A deadline that was claimed, and is not decided on yet.

    `away`: nobody watched for a part of the time. `overtakes`: the answer of a step lay in its topic by then.
    """

    due: Due
    away: Away | None = None
    overtakes: bool = False


@dataclass(frozen=True, slots=True)
class Turned:
    """What a turn made of an order's sagas."""

    sagas: Sagas
    sent: tuple[Letter, ...] = ()
    said: tuple[str, ...] = ()
    wrong: str | None = None


class NotHere(Exception):  # noqa: N818 - not an error: another process will do it
    """This process leaves a message to another: it does not know the version of its saga."""


def book(times: dict[str, timedelta]) -> Book:
    """The two sagas as they run, with other times where the scenario wants them."""
    ours = {name: time for name, time in times.items() if name in create_order.steps}
    theirs = {name: time for name, time in times.items() if name in cancel_completed_order.steps}
    return Book.of(create_order.tuned(**ours), cancel_completed_order.tuned(**theirs))


def next_book(now: Book) -> Book:
    """The book of a process that was deployed with a next version of the first saga."""
    return Book.of(create_order_2, now.take_back, now.create)


def deciders(of: Book) -> Deciders:
    """The orchestrator's own table of routes."""
    return {route.body: route.decide for route in app.routes(of)}


def receive(of: Book, decide: Deciders, sagas: Sagas, message: Message[object]) -> Turned:
    """Run one message through the orchestrator, on just those sagas that its store would load.

    Raises NotHere where a saga's version is unknown: the batch is rolled back, or the message parked.
    """
    ids, orders = store._sought([message])
    desk = Desk(of, NOW)
    for saga in sagas.each:
        if saga.id not in ids and message.key not in orders:
            continue
        if of.known.of(saga.type, saga.version) is not None:
            desk.put(Case(saga, message.key, 0, NOW, NOW if saga.finished else None))
        elif saga.finished:
            desk.retired[message.key, saga.type] = saga.id
        else:
            raise NotHere
    try:
        given: Answer = decide[type(message.body)](desk, message)
    except LookupError as error:
        if desk.retired:
            raise NotHere from error
        return Turned(sagas, wrong=f"the orchestrator raised {error!r}")
    except Exception as error:  # noqa: BLE001 - whatever it raises, it is a violation
        return Turned(sagas, wrong=f"the orchestrator raised {error!r}")
    return _taken_down(of, sagas, desk, answers(given, message))


def _taken_down(of: Book, sagas: Sagas, desk: Desk, sent: tuple[Letter, ...]) -> Turned:
    changed = {case.instance.type: case for case in desk.cases.values() if case.changed or not case.stored}
    if desk.rejected is not None:
        return Turned(replace(sagas, seen=None), said=(f"rejected: {desk.rejected.value}",))
    said = tuple(read_out(line.entry) for line in desk.journal)
    owed: dict[str, tuple[str, ...]] = {CREATE: sagas.owed, CANCEL: ()}
    wrong: str | None = None
    for kind, before in ((CREATE, sagas.create), (CANCEL, sagas.back)):
        if (case := changed.get(kind)) is None:
            continue
        lines = [line.entry for line in desk.journal if line.saga_id == case.instance.id]
        wrong = wrong or _not_stored(before, case) or _not_a_step(of, before, case.instance)
        owed[kind], finding = judged(_definition(of, case.instance), before, lines, owed[kind])
        wrong = wrong or finding
    create, back = (
        _settled(changed[kind].instance) if kind in changed else before
        for kind, before in ((CREATE, sagas.create), (CANCEL, sagas.back))
    )
    after = Sagas(create, back, owed[CREATE], None if sagas.seen is None else False)
    return Turned(after, sent, said, wrong)


def _settled(instance: Instance[object]) -> Instance[object]:
    return instance._replace(revision=UNREVISED, parked_at=None if instance.parked_at is None else NOW)


def _not_stored(before: Instance[object] | None, case: Case) -> str | None:
    """What the tables would refuse: a second row of a type, a changed identity."""
    after = case.instance
    if (before is not None) != case.stored:
        return f"{after.type} was opened twice for one order (unique business key)"
    if before is not None and (before.id, before.version) != (after.id, after.version):
        return f"{after.type} changed its identity"
    return None


def _not_a_step(of: Book, before: Instance[object] | None, after: Instance[object]) -> str | None:
    if after.reason is not None and after.reason.code == ALREADY_UNDONE:
        return "a customer would read already_undone as the reason"
    return not_a_step(_definition(of, after), before, after)


def _definition(of: Book, saga: Instance[object]) -> Saga[Any]:
    definition = of.known.of(saga.type, saga.version)
    if definition is None:
        raise LookupError(f"{saga.type} version {saga.version} is not defined")
    return definition


def claimed(
    sagas: Sagas, timers: Sequence[Timer], unread: Sequence[Letter], away: Away | None
) -> tuple[Sagas, tuple[Timer, ...]] | None:
    """Time passes to the deadline, and it is claimed; None where there is none."""
    waiting = sagas.under_way
    timeout = None if waiting is None else Timeout.of(waiting)
    if waiting is None or timeout is None:
        return None
    flight = waiting.flight(timeout.step)
    ends = flight is not None and flight.due is not None and flight.due <= timeout.deadline
    overtakes = ends and any(
        letter.saga_id == waiting.id and waiting.flight(letter.step or "") is not None for letter in unread
    )
    passes = max(timeout.deadline - NOW, timedelta(0)) + (LONG if away is Away.PAST_IT else timedelta(0))
    gap = Gap(NOW - 9 * SECOND, NOW - SECOND) if away is Away.BEFORE_IT else None
    met = replace(timeout, deadline=timeout.deadline - passes, unwatched=gap)
    others = [
        replace(timer, due=replace(timer.due, timeout=moved(timer.due.timeout, passes))) for timer in timers
    ]
    mine = Timer(Due(waiting.id, met), away, overtakes)
    return _passed(sagas, passes), tuple(sorted((*others, mine), key=repr))


def _passed(sagas: Sagas, passes: timedelta) -> Sagas:
    create, back = (None if saga is None else earlier(saga, passes) for saga in (sagas.create, sagas.back))
    return replace(sagas, create=create, back=back)


def fire(of: Book, decide: Deciders, sagas: Sagas, order_id: OrderId, timer: Timer) -> Turned:
    """Decide on a claimed deadline."""
    message: Message[object] = Message(MessageId(digest("due", order_id)), order_id, timer.due, NOW)
    before = sagas.under_way
    turned = receive(of, decide, sagas, message)
    if turned.wrong is not None:
        return turned
    after = turned.sagas
    same = next((saga for saga in after.each if before is not None and saga.id == before.id), None)
    if before is None or same is None:
        return turned
    given_up = [f for f in before.flights if same.flight(f.step) is None and f.awaiting is not None]
    if given_up and timer.overtakes:
        return replace(turned, wrong="a deadline overtook an answer that lay in its topic already")
    if given_up and timer.away is not None:
        return replace(turned, wrong="an outage of the orchestrator made a step's outcome unknown")
    if any(flight.due is not None and flight.due > NOW for flight in given_up):
        return replace(turned, wrong="a step was given up before its deadline")
    return turned


def operate(of: Book, decide: Deciders, sagas: Sagas, order_id: OrderId, action: Action) -> Turned:
    """Take an operator's action; one on a saga that has gone on since he saw it must be rejected."""
    saga = sagas.under_way or sagas.each[-1]
    body = Operate(saga.id, replace(action, revision=UNREVISED if sagas.seen else UNREVISED - 1))
    message: Message[object] = Message(MessageId(digest("operate", order_id)), order_id, body, NOW)
    turned = receive(of, decide, sagas, message)
    if turned.wrong is None and not sagas.seen and not turned.said[0].startswith("rejected"):
        return replace(
            turned, wrong="I7: an operator's action was taken on a saga that he had not seen like this"
        )
    return replace(turned, sagas=replace(turned.sagas, seen=None))


def steps_in_flight(saga: Instance[object]) -> Iterator[str]:
    """The steps that wait for an answer."""
    return (flight.step for flight in saga.flights if flight.awaiting is not None)
