"""Tries what a definition may say, and what is refused when it is constructed."""

from datetime import timedelta
from typing import Never

import pytest

from libs.contracts.message import Command, Event
from libs.saga.definition import (
    DefinitionError,
    Retry,
    Role,
    Saga,
    compensable,
    pause,
    pivot,
    retriable,
    seconds,
    together,
)
from libs.saga.instance import Reason
from libs.saga.sagas import Sagas
from order_saga.cancel_completed_order import cancel_completed_order
from order_saga.create_order import OrderSheet, create_order
from tests.libs.saga.trips import (
    BookFlight,
    BookHotel,
    CancelHotel,
    Trip,
    book_flight,
    book_hotel,
    book_trip,
    cancel_flight,
    cancel_hotel,
    keep_room,
    pay_trip,
    send_tickets,
    wait_for_visa,
)

HOTEL = compensable(book_hotel, undo=cancel_hotel)
FLIGHT = compensable(book_flight, undo=cancel_flight)


class Unfinished(Command[Event, Never]):
    """A command that nobody gave a wire name or a topic."""


def do_unfinished(trip: Trip) -> Unfinished:
    return Unfinished(order_id=trip.order_id)


def book_for_order(sheet: OrderSheet) -> BookHotel:
    return BookHotel(order_id=sheet.order_id)


def untold(trip) -> BookHotel:  # type: ignore[no-untyped-def]  # noqa: ANN001
    return BookHotel(order_id=trip.order_id)


def test_a_step_is_called_as_its_function_and_knows_its_command() -> None:
    step = create_order.steps["reserve_inventory"]
    assert (step.role, step.service, step.within) == (Role.COMPENSABLE, "inventory", timedelta(seconds=15))
    assert step.undo is create_order.steps["release_inventory"]
    assert create_order.undoes["refund_payment"] == "process_payment"


def test_the_point_of_no_return_is_the_pivot_or_the_first_retriable_step() -> None:
    assert create_order.stages[create_order.no_return].name == "complete_order"
    assert book_trip.stages[book_trip.no_return].name == "pay_trip"
    assert Saga[Trip]("t", version=1, steps=[HOTEL]).no_return == 1


@pytest.mark.parametrize(
    ("steps", "complaint"),
    [
        ([], "no steps"),
        ([HOTEL, HOTEL], "more than one step called book_hotel, cancel_hotel"),
        ([HOTEL, compensable(book_flight, undo=cancel_hotel)], "more than one step called cancel_hotel"),
        ([pivot(pay_trip), HOTEL], "after the point of no return"),
        ([retriable(send_tickets), HOTEL], "after the point of no return"),
        ([retriable(send_tickets), pivot(pay_trip)], "after the point of no return"),
        ([pivot(pay_trip), pivot(book_hotel)], "after the point of no return"),
        ([together(HOTEL, retriable(send_tickets))], "all compensable or all retriable"),
        ([together(HOTEL, pause(wait_for_visa))], "all compensable or all retriable"),
        ([together(pivot(pay_trip), pivot(book_hotel))], "all compensable or all retriable"),
        ([HOTEL, compensable(book_for_order, undo=None)], "different data"),
    ],
)
def test_a_saga_that_could_not_be_run_is_refused(steps: list[object], complaint: str) -> None:
    with pytest.raises(DefinitionError, match=complaint):
        Saga("wrong", version=1, steps=steps)  # type: ignore[arg-type]


def test_a_command_without_a_contract_is_refused() -> None:
    with pytest.raises(DefinitionError, match="Unfinished has no contract"):
        retriable(do_unfinished)


def test_a_compensable_step_says_what_undoes_it_or_that_nothing_does() -> None:
    with pytest.raises(TypeError, match="undo"):
        compensable(book_hotel)  # type: ignore[call-arg]
    assert compensable(book_hotel, undo=None).undo is None


def test_a_step_needs_a_name_and_says_what_it_works_on() -> None:
    with pytest.raises(DefinitionError, match="no name of its own"):
        compensable(lambda trip: BookFlight(order_id=trip.order_id), undo=None)
    with pytest.raises(DefinitionError, match="untold does not say what data"):
        compensable(untold, undo=None)


def test_a_pause_keeps_nothing_of_an_event_that_it_does_not_wait_for() -> None:
    with pytest.raises(DefinitionError, match="does not wait for"):
        pause(wait_for_visa, keep=keep_room)


def test_an_empty_group_is_refused() -> None:
    with pytest.raises(DefinitionError, match="has steps"):
        together()


def test_times_can_be_set_by_the_names_of_steps() -> None:
    tuned = create_order.tuned(reserve_inventory=seconds(3), grace_period=seconds(9))
    assert tuned.steps["reserve_inventory"].within == seconds(3)
    assert tuned.steps["process_payment"].within == seconds(60)
    assert tuned.notice is not None
    assert create_order.steps["reserve_inventory"].within == seconds(15)
    with pytest.raises(DefinitionError, match="no step lunch"):
        create_order.tuned(lunch=seconds(1))


def test_retries_slow_down_to_five_minutes_at_most() -> None:
    retry = Retry(attempts=1, first=seconds(10))
    waits = [retry.wait(attempt, 1.0) for attempt in (1, 2, 3, 6, 7, 5_000)]
    assert waits == [seconds(10), seconds(20), seconds(40), seconds(300), seconds(300), seconds(300)]
    assert retry.wait(1, 0.75) == seconds(7.5)


def test_versions_live_side_by_side_and_strangers_are_named() -> None:
    newer = Saga[Trip]("book_trip", version=2, steps=[HOTEL])
    sagas = Sagas(book_trip, newer)
    assert sagas.of("book_trip", 1) is not None
    assert sagas.unknown([("book_trip", 2), ("book_trip", 3), ("other", 1)]) == [
        ("book_trip", 3),
        ("other", 1),
    ]
    with pytest.raises(DefinitionError, match="defined twice"):
        Sagas(book_trip, book_trip)


def test_the_answers_and_their_topics_follow_from_the_definitions() -> None:
    sagas = Sagas(create_order, cancel_completed_order)
    names = [event.__name__ for event in sagas.replies]
    assert "OrderCancelling" in names
    assert "InventoryReserveFailed" in names
    assert len(names) == len(set(names)) == 14
    assert sagas.reply_topics == ["inventory-events", "order-events", "payment-events", "product-events"]


def test_the_reason_given_to_an_undo_is_the_sagas() -> None:
    make = book_trip.steps["cancel_hotel"].make
    assert make is not None
    assert make(Trip(), Reason("full", "No room.")) == CancelHotel(order_id=Trip().order_id, why="full")
