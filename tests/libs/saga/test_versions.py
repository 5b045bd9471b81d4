"""Tries two versions of one saga side by side: each instance ends by the steps it was started with."""

from libs.saga.definition import Saga, compensable, retriable
from libs.saga.memory import dump, restore
from libs.saga.sagas import Sagas
from libs.saga.testing import given
from tests.libs.saga.trips import (
    FLIGHT_BOOKED,
    FLIGHT_CANCELLED,
    HOTEL_BOOKED,
    HOTEL_FULL,
    TICKETS_SENT,
    BookFlight,
    BookHotel,
    CancelFlight,
    SendTickets,
    Trip,
    book_flight,
    book_hotel,
    cancel_flight,
    cancel_hotel,
    send_tickets,
)

HOTEL = compensable(book_hotel, undo=cancel_hotel)
FLIGHT = compensable(book_flight, undo=cancel_flight)

first_version = Saga[Trip]("weekend", version=1, steps=[HOTEL, retriable(send_tickets)])
second_version = Saga[Trip]("weekend", version=2, steps=[FLIGHT, HOTEL, retriable(send_tickets)])
known = Sagas(first_version, second_version)


def test_what_was_started_before_the_deployment_ends_as_it_began() -> None:
    before = given(first_version, Trip()).expect(BookHotel)
    stored = dump(before.instance)
    saga = known.of(before.instance.type, before.instance.version)
    assert saga is not None
    after = restore(saga, before.instance.id, before.instance.status, before.instance.revision, None, stored)
    assert after == before.instance
    before.when(HOTEL_BOOKED).expect(SendTickets).when(TICKETS_SENT).expect_completed()


def test_what_is_started_after_it_runs_the_new_steps() -> None:
    saga = given(second_version, Trip()).expect(BookFlight).when(FLIGHT_BOOKED).expect(BookHotel)
    saga.when(HOTEL_FULL).expect(CancelFlight).when(FLIGHT_CANCELLED).expect_compensated("hotel_full")


def test_an_answer_to_a_step_of_another_version_is_late() -> None:
    given(first_version, Trip()).expect(BookHotel).when(FLIGHT_BOOKED, to="book_flight").expect_nothing()
