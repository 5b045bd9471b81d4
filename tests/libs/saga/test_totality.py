"""Any input in any state: no exception, no way back from an end, a deadline exactly while under way."""

from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from libs.contracts.message import Event
from libs.contracts.values import MessageId, SagaId
from libs.saga.decision import Decision, Kind
from libs.saga.definition import Join, Role, Saga
from libs.saga.inputs import (
    Cancel,
    Compensate,
    Force,
    Gap,
    Happened,
    Input,
    Outcome,
    Repeated,
    Reply,
    Resend,
    Resume,
    Timeout,
)
from libs.saga.instance import Instance, Reason, Status
from libs.saga.memory import dump, restore
from libs.saga.reducer import on, start, start_cancelled
from libs.saga.testing import BEGINNING, SAGA_ID
from order_saga.create_order import OrderSheet, create_order
from tests.libs.saga import orders, trips
from tests.libs.saga.trips import Trip, booking_of

TRIP_EVENTS: list[Event] = [
    trips.HOTEL_BOOKED,
    trips.HOTEL_FULL,
    trips.HOTEL_CANCELLED,
    trips.FLIGHT_BOOKED,
    trips.FLIGHT_FULL,
    trips.FLIGHT_CANCELLED,
    trips.VISA_GRANTED,
    trips.TRIP_PAID,
    trips.PAYMENT_DECLINED,
    trips.TICKETS_SENT,
    trips.TRAVELLER_TOLD,
]
ORDER_EVENTS = [*orders.DONE.values(), *orders.REFUSED.values()]

CANCELLED = Reason("cancelled_by_customer", "No.")


@dataclass(frozen=True)
class TimesOut:
    """Stands for the timeout that the instance waits for, whatever that is by then."""

    unwatched: Gap | None = None


def inputs(saga: Saga[object], events: list[Event]) -> st.SearchStrategy[Input | TimesOut]:
    """Everything that may happen: likely answers, deadlines met and stale, nonsense."""
    steps = st.sampled_from([*saga.steps, "no_such_step"])
    fitting = [
        Reply(name, event)
        for name, step in saga.steps.items()
        for event in events
        if step.command and isinstance(event, (step.command.done, step.refused or step.command.done))
    ]
    moments = st.integers(0, 90).map(lambda second: BEGINNING + timedelta(seconds=second))
    gaps = st.none() | st.builds(Gap, moments, moments)
    revisions = st.integers(0, 12)
    who = st.just("ann")
    why = st.just("why")
    return st.one_of(
        st.sampled_from(fitting),
        st.builds(TimesOut, gaps),
        st.builds(Reply, steps, st.sampled_from(events), st.integers(0, 3)),
        st.builds(Timeout, steps, st.integers(0, 3), moments, gaps),
        st.just(Cancel(CANCELLED)),
        st.builds(Happened, st.sampled_from(events)),
        st.just(Repeated(MessageId(UUID(int=9)))),
        st.builds(Resume, revisions, who, why),
        st.builds(Resend, revisions, who, why),
        st.builds(Compensate, revisions, who, why),
        st.builds(
            Force,
            revisions,
            who,
            why,
            steps,
            st.sampled_from(Outcome),
            st.none() | st.sampled_from(events),
        ),
    )


TRIP_SAGAS = [booking_of(), booking_of(Join.WAIT_ALL), booking_of(deadline=timedelta(seconds=40))]
PASSING = st.integers(0, 45).map(lambda seconds: timedelta(seconds=seconds))


def check(saga: Saga[object], before: Instance[object] | None, decision: Decision[object]) -> None:
    """What holds after every input."""
    after = decision.instance
    under_way = after.status in {Status.RUNNING, Status.COMPENSATING}
    assert under_way is (after.deadline is not None) is (not after.finished)
    assert (after.parked_at is not None) == any(flight.due is None for flight in after.flights)
    assert len({flight.step for flight in after.flights}) == len(after.flights)
    assert len(set(after.armed)) == len(after.armed)
    assert len({send.id for send in decision.commands}) == len(decision.commands)
    assert hash(after) == hash(decision.instance)
    undone = [entry.kind for entry in decision.journal].count(Kind.COMPENSATING)
    assert undone <= 1
    if after.status is Status.COMPENSATED:
        assert not after.armed
    if decision.rejected is not None:
        assert after is before
        assert not decision.commands
        assert not decision.journal
        return
    assert decision.journal
    if before is None:
        assert after.revision == 1
        return
    assert after.revision == before.revision + 1
    if before.finished:
        assert not decision.commands
        assert after.status is before.status
        assert after.data == before.data
    if before.status is Status.COMPENSATING:
        assert after.status in {Status.COMPENSATING, Status.COMPENSATED}
        assert set(after.armed) <= set(before.armed)
    for send in decision.commands:
        step = saga.steps[send.step]
        if step.role is Role.COMPENSABLE and step.undo:
            assert step.name in after.armed, "armed in the decision that sends it"
        if step.role is Role.UNDO:
            assert saga.undoes[step.name] == after.armed[-1], "in reverse order"


def meant(received: Input | TimesOut, instance: Instance[object]) -> Input | None:
    """The input, or the timeout that it stands for."""
    if not isinstance(received, TimesOut):
        return received
    due = Timeout.of(instance)
    return due and replace(due, unwatched=received.unwatched)


def run(
    saga: Saga[object], first: Decision[object], script: list[tuple[timedelta, Input | TimesOut]]
) -> None:
    now = BEGINNING
    check(saga, None, first)
    instance = first.instance
    completed = compensating = 0
    for passing, received in script:
        now += passing
        happening = meant(received, instance)
        if happening is None:
            continue
        decision = on(saga, instance, happening, now)
        assert decision == on(saga, instance, happening, now), "the same input decides the same"
        check(saga, instance, decision)
        kinds = [entry.kind for entry in decision.journal]
        completed += Kind.COMPLETED in kinds
        compensating += Kind.COMPENSATING in kinds
        assert completed + compensating <= 1, "it turns back once, or completes once, and never both"
        instance = decision.instance
        text = dump(instance)
        stored = restore(saga, instance.id, instance.status, instance.revision, instance.parked_at, text)
        assert stored == instance


def erased(saga: Saga[Trip] | Saga[OrderSheet]) -> Saga[object]:
    return saga  # type: ignore[return-value]


@settings(max_examples=150, deadline=None)
@given(
    saga=st.sampled_from(TRIP_SAGAS),
    cancelled=st.booleans(),
    script=st.lists(st.tuples(PASSING, inputs(erased(TRIP_SAGAS[0]), TRIP_EVENTS)), max_size=30),
)
def test_a_trip_takes_anything(
    saga: Saga[Trip], cancelled: bool, script: list[tuple[timedelta, Input | TimesOut]]
) -> None:
    started = start(saga, SAGA_ID, Trip(), BEGINNING)
    never_started = start_cancelled(saga, SAGA_ID, Trip(), CANCELLED, BEGINNING)
    run(erased(saga), never_started if cancelled else started, script)


@settings(max_examples=150, deadline=None)
@given(script=st.lists(st.tuples(PASSING, inputs(erased(create_order), ORDER_EVENTS)), max_size=30))
def test_an_order_takes_anything(script: list[tuple[timedelta, Input | TimesOut]]) -> None:
    first = start(create_order, SagaId(orders.ORDER), orders.SHEET, BEGINNING)
    run(erased(create_order), first, script)
