"""Tries what an operator may do, and what is turned down."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from libs.contracts.message import Event
from libs.saga.decision import Kind, Rejection
from libs.saga.definition import seconds
from libs.saga.inputs import Action, Compensate, Force, Outcome, Resend, Resume
from libs.saga.instance import Status
from libs.saga.testing import Dialogue, given
from tests.libs.saga.trips import (
    FLIGHT_BOOKED,
    FLIGHT_CANCELLED,
    HOTEL_BOOKED,
    HOTEL_CANCELLED,
    HOTEL_FULL,
    TICKETS_SENT,
    TRIP_PAID,
    VISA_GRANTED,
    BookFlight,
    BookHotel,
    CancelFlight,
    CancelHotel,
    PayTrip,
    SendTickets,
    TellTraveller,
    Trip,
    book_trip,
)

WHY = "seen on the phone"


def resume(revision: int) -> Action:
    return Resume(revision, "ann", WHY)


def resend(revision: int) -> Action:
    return Resend(revision, "ann", WHY)


def compensate(revision: int) -> Action:
    return Compensate(revision, "ann", WHY)


def force(step: str, outcome: Outcome, event: Event | None = None) -> Callable[[int], Action]:
    return lambda revision: Force(revision, "ann", WHY, step, outcome, event)


def started() -> Dialogue[Trip]:
    return given(book_trip, Trip()).whatever_was_sent()


def paying() -> Dialogue[Trip]:
    saga = started().when(FLIGHT_BOOKED).when(HOTEL_BOOKED).happened(VISA_GRANTED)
    return saga.expect(PayTrip)


def parked_undo() -> Dialogue[Trip]:
    """An undo that nobody answers has called for a human."""
    saga = started().when(HOTEL_BOOKED).when(FLIGHT_BOOKED).cancelled()
    return saga.after(seconds(31)).whatever_was_sent().expect_parked()


def test_resume_sends_again_and_starts_the_time_anew() -> None:
    saga = parked_undo().operated(resume).expect(CancelFlight).expect_parked(False)
    assert saga.journal[-2].kind is Kind.OPERATOR
    assert dict(saga.journal[-2].detail) == {"action": "resume", "operator": "ann", "why": WHY}
    saga.after(seconds(29)).expect_parked(False).after(seconds(1)).expect_parked()
    saga.when(FLIGHT_CANCELLED).when(HOTEL_CANCELLED).whatever_was_sent().expect_compensated()


def test_retry_sends_every_command_in_flight_once_more() -> None:
    saga = started().operated(resend).expect(BookHotel, BookFlight)
    assert {sent.attempt for sent in saga.sent[-2:]} == {2}
    parked_undo().operated(resend).expect(CancelFlight).expect_parked()


def test_compensate_turns_the_saga_back() -> None:
    saga = started().when(HOTEL_BOOKED).operated(compensate).expect(TellTraveller, CancelFlight)
    saga.when(FLIGHT_CANCELLED).expect(CancelHotel).when(HOTEL_CANCELLED)
    saga.expect_compensated("cancelled_by_operator")


def test_a_forced_success_goes_on_as_an_answer_would() -> None:
    saga = started().when(FLIGHT_BOOKED).happened(VISA_GRANTED)
    saga.operated(force("book_hotel", Outcome.SUCCEEDED, HOTEL_BOOKED)).expect(PayTrip)
    assert saga.instance.data.room == "12"


def test_a_forced_refusal_counts_as_unknown_and_is_undone() -> None:
    saga = started().when(FLIGHT_BOOKED).operated(force("book_hotel", Outcome.REFUSED))
    saga.expect(TellTraveller, CancelFlight).when(FLIGHT_CANCELLED)
    saga.expect(CancelHotel).when(HOTEL_CANCELLED).expect_compensated("cancelled_by_operator")


def test_a_forced_undo_goes_on_to_the_next() -> None:
    saga = parked_undo().operated(force("cancel_flight", Outcome.SUCCEEDED)).expect(CancelHotel)
    saga.when(HOTEL_CANCELLED).expect_compensated()


def test_a_pause_can_be_ended() -> None:
    saga = started().when(FLIGHT_BOOKED).when(HOTEL_BOOKED)
    saga.operated(force("wait_for_visa", Outcome.SUCCEEDED)).expect_rejected(Rejection.EVENT_NEEDED)
    saga.operated(force("wait_for_visa", Outcome.SUCCEEDED, VISA_GRANTED)).expect(PayTrip)
    waiting = started().when(FLIGHT_BOOKED).when(HOTEL_BOOKED)
    waiting.operated(resend).expect_rejected(Rejection.NOTHING_TO_SEND)
    waiting.operated(force("wait_for_visa", Outcome.REFUSED)).expect(TellTraveller, CancelFlight)


@pytest.mark.parametrize("action", [resume, resend, compensate, force("book_hotel", Outcome.REFUSED)])
def test_an_action_on_another_revision_is_turned_down(action: Callable[[int], Action]) -> None:
    saga = started()
    before = saga.instance
    saga.hear(action(before.revision + 1)).expect_rejected(Rejection.REVISION_CHANGED).expect_nothing()
    assert saga.instance is before


@pytest.mark.parametrize("action", [resume, resend, compensate, force("book_hotel", Outcome.REFUSED)])
def test_nothing_can_be_done_to_a_saga_that_has_ended(action: Callable[[int], Action]) -> None:
    saga = paying().when(TRIP_PAID).when(TICKETS_SENT).whatever_was_sent()
    saga.operated(action).expect_rejected(Rejection.FINISHED).expect_completed()


@pytest.mark.parametrize(
    ("saga", "action", "rejection"),
    [
        (started(), resume, Rejection.NOT_PARKED),
        (paying(), compensate, Rejection.POINT_OF_NO_RETURN),
        (paying().when(TRIP_PAID).expect(SendTickets), compensate, Rejection.POINT_OF_NO_RETURN),
        (paying(), force("pay_trip", Outcome.REFUSED), Rejection.POINT_OF_NO_RETURN),
        (parked_undo(), compensate, Rejection.ALREADY_COMPENSATING),
        (started(), force("pay_trip", Outcome.SUCCEEDED), Rejection.NOT_IN_FLIGHT),
        (started(), force("book_hotel", Outcome.SUCCEEDED), Rejection.EVENT_NEEDED),
        (started(), force("book_hotel", Outcome.SUCCEEDED, HOTEL_FULL), Rejection.EVENT_NEEDED),
        (parked_undo(), force("cancel_flight", Outcome.REFUSED), Rejection.CANNOT_BE_REFUSED),
    ],
)
def test_what_makes_no_sense_is_turned_down_and_leaves_no_trace(
    saga: Dialogue[Trip], action: Callable[[int], Action], rejection: Rejection
) -> None:
    before = saga.instance
    saga.operated(action).expect_rejected(rejection).expect_nothing()
    assert saga.instance is before


def test_a_pivot_that_an_operator_declares_done_goes_on() -> None:
    saga = paying().after(timedelta(minutes=1)).whatever_was_sent().expect_parked()
    saga.operated(force("pay_trip", Outcome.SUCCEEDED)).expect(SendTickets)
    saga.when(TICKETS_SENT).expect_status(Status.COMPLETED)
