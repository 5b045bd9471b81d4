"""Tries the reducer's rules on a trip: parallel steps, pivot, awaited event, deadlines, cancels."""

from dataclasses import replace
from datetime import timedelta

import pytest

from libs.saga.decision import Kind
from libs.saga.definition import Join, Retry, Saga, compensable, seconds
from libs.saga.inputs import Gap, Repeated, Timeout
from libs.saga.instance import Reason, Status
from libs.saga.testing import BEGINNING, Dialogue, given, given_cancelled
from tests.libs.saga.trips import (
    FLIGHT_BOOKED,
    FLIGHT_CANCELLED,
    FLIGHT_FULL,
    HOTEL_BOOKED,
    HOTEL_CANCELLED,
    HOTEL_FULL,
    PAYMENT_DECLINED,
    TICKETS_SENT,
    TRAVELLER_TOLD,
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
    book_hotel,
    book_trip,
    booking_of,
    cancel_hotel,
)


def started() -> Dialogue[Trip]:
    return given(book_trip, Trip()).expect(BookHotel, BookFlight)


def booked() -> Dialogue[Trip]:
    """Both are booked; the visa is awaited."""
    return started().when(FLIGHT_BOOKED).when(HOTEL_BOOKED).expect_nothing()


def paying() -> Dialogue[Trip]:
    """The pivot is in flight."""
    return booked().happened(VISA_GRANTED).expect(PayTrip)


# Parallel steps


def test_a_group_goes_on_when_all_its_steps_are_done_in_whatever_order() -> None:
    saga = paying().when(TRIP_PAID).expect(SendTickets).when(TICKETS_SENT).expect_completed()
    assert saga.instance.data == Trip(room="12", seat="4A", visa=7)


def test_fail_fast_shows_compensating_at_once_and_undoes_when_the_sibling_is_known() -> None:
    saga = started().when(HOTEL_FULL).expect(TellTraveller).expect_status(Status.COMPENSATING)
    saga.when(FLIGHT_BOOKED).expect(CancelFlight(order_id=Trip().order_id, why="hotel_full"))
    saga.when(FLIGHT_CANCELLED).expect_compensated("hotel_full")


def test_a_sibling_that_is_refused_too_is_not_undone() -> None:
    started().when(HOTEL_FULL).expect(TellTraveller).when(FLIGHT_FULL).expect_compensated("hotel_full")


def test_a_sibling_that_stays_silent_is_undone() -> None:
    saga = started().when(HOTEL_FULL).expect(TellTraveller)
    saga.after(seconds(60)).expect(CancelFlight).when(FLIGHT_CANCELLED).expect_compensated("hotel_full")


def test_wait_all_turns_back_with_the_last_answer_for_the_first_reason() -> None:
    saga = given(booking_of(Join.WAIT_ALL), Trip()).expect(BookHotel, BookFlight)
    saga.when(HOTEL_FULL).expect_nothing().expect_status(Status.RUNNING)
    saga.when(FLIGHT_BOOKED).expect(TellTraveller, CancelFlight)
    saga.when(FLIGHT_CANCELLED).expect_compensated("hotel_full")


def test_wait_all_gives_the_first_of_several_reasons() -> None:
    saga = given(booking_of(Join.WAIT_ALL), Trip()).expect(BookHotel, BookFlight)
    saga.when(HOTEL_FULL).when(FLIGHT_FULL).expect_compensated("hotel_full")


def test_a_group_is_undone_in_the_reverse_order_of_its_sending() -> None:
    saga = booked().cancelled().expect(TellTraveller, CancelFlight)
    saga.when(FLIGHT_CANCELLED).expect(CancelHotel).when(HOTEL_CANCELLED).expect_compensated()


def test_the_deadline_is_the_earliest_of_the_group() -> None:
    saga = started()
    flights = {flight.step: flight.wakes_at for flight in saga.instance.flights}
    assert saga.instance.deadline == min(flights.values())
    assert saga.instance.step == min(flights, key=lambda step: flights[step])


# Pauses


def test_a_pause_that_waits_for_an_event_remembers_one_that_came_early() -> None:
    saga = started().happened(VISA_GRANTED).expect_journal(Kind.REMEMBERED)
    saga.when(HOTEL_BOOKED).when(FLIGHT_BOOKED).expect(PayTrip)
    assert saga.instance.data.visa == 7


def test_an_awaited_event_that_does_not_come_undoes_the_saga() -> None:
    saga = booked().after(timedelta(days=30)).expect(TellTraveller, CancelFlight)
    assert saga.instance.reason is not None
    assert saga.instance.reason.code == "wait_for_visa_timeout"


def test_an_event_that_nothing_waits_for_is_journalled() -> None:
    paying().happened(VISA_GRANTED).expect_nothing().expect_journal(Kind.LATE)
    started().happened(TRIP_PAID).expect_journal(Kind.LATE)


# The pivot and what follows


def test_a_refused_pivot_undoes_everything_before_it() -> None:
    saga = paying().when(PAYMENT_DECLINED).expect(TellTraveller, CancelFlight)
    saga.when(FLIGHT_CANCELLED).expect(CancelHotel).when(HOTEL_CANCELLED).expect_compensated("declined")


def test_a_pivot_is_asked_until_it_answers_and_parks_meanwhile() -> None:
    saga = paying().after(timedelta(minutes=20)).expect_parked().expect_status(Status.RUNNING)
    asked = [sent for sent in saga.sent if sent.step == "pay_trip"]
    assert [sent.attempt for sent in asked] == list(range(1, len(asked) + 1))
    assert 5 < len(asked) < 12, "slower and slower, five minutes at most"
    saga.whatever_was_sent().when(TRIP_PAID).expect(SendTickets).expect_parked(False)


def test_a_cancel_while_the_pivot_is_in_flight_is_met_by_its_refusal() -> None:
    saga = paying().cancelled().expect_nothing().expect_journal(Kind.CANCEL_KEPT)
    saga.when(PAYMENT_DECLINED).expect(TellTraveller, CancelFlight).when(FLIGHT_CANCELLED)
    saga.expect(CancelHotel).when(HOTEL_CANCELLED).expect_compensated("declined")
    assert saga.cancels_due == []


def test_a_kept_cancel_is_due_when_the_saga_is_completed_and_only_once() -> None:
    saga = paying().cancelled(text="first").cancelled(text="second").expect_journal(Kind.REPEATED)
    saga.when(TRIP_PAID).expect(SendTickets)
    assert saga.cancels_due == []
    saga.when(TICKETS_SENT).expect_completed()
    assert [reason.text for reason in saga.cancels_due] == ["first"]


def test_a_cancel_of_a_completed_saga_is_due_at_once() -> None:
    saga = paying().when(TRIP_PAID).when(TICKETS_SENT).whatever_was_sent()
    saga.cancelled().expect_completed().expect_journal(Kind.CANCEL_PASSED_ON)
    assert len(saga.cancels_due) == 1


def test_a_cancel_of_a_saga_that_turns_back_already_is_a_repeat() -> None:
    saga = booked().cancelled().whatever_was_sent()
    before = saga.instance
    saga.cancelled("other").expect_nothing().expect_journal(Kind.REPEATED)
    assert saga.instance.reason == before.reason


def test_a_cancel_before_the_start_undoes_the_first_step_and_the_start_is_a_repeat() -> None:
    saga = given_cancelled(book_trip, Trip(), Reason("cancelled_by_customer", "No."))
    saga.expect(CancelFlight).hear(Repeated()).expect_nothing().expect_journal(Kind.REPEATED)
    saga.when(FLIGHT_CANCELLED).expect(CancelHotel).when(HOTEL_CANCELLED)
    saga.expect_compensated("cancelled_by_customer")


# Deadlines


@pytest.mark.parametrize("attempts", [1, 2, 4])
def test_a_command_is_sent_as_often_as_its_step_allows(attempts: int) -> None:
    step = compensable(
        book_hotel, undo=cancel_hotel, within=seconds(60), retry=Retry(attempts, first=seconds(5))
    )
    saga = given(Saga[Trip]("stay", version=1, steps=[step]), Trip()).after(seconds(59))
    saga.expect(*[BookHotel] * attempts).after(seconds(1)).expect(CancelHotel)


def test_a_timeout_that_is_stale_changes_nothing() -> None:
    saga = started()
    old = Timeout.of(saga.instance)
    assert old is not None
    saga.after(old.deadline - saga.now).expect(BookHotel)
    before = saga.instance
    saga.hear(old).expect_nothing().expect_journal(Kind.STALE)
    assert saga.instance.flights == before.flights
    saga.when(HOTEL_BOOKED).hear(old).expect_nothing().expect_journal(Kind.STALE)


def test_a_deadline_that_nobody_watched_gives_the_step_its_time_again() -> None:
    saga = started().when(HOTEL_BOOKED).overslept(seconds(75))
    assert Kind.TIME_GIVEN in {entry.kind for entry in saga.journal}
    saga.expect_status(Status.RUNNING).whatever_was_sent()
    saga.after(seconds(59)).expect_status(Status.RUNNING)
    saga.after(seconds(1)).expect(TellTraveller, CancelFlight).expect_status(Status.COMPENSATING)


def watched_until(saga: Dialogue[Trip], *gap: int) -> Dialogue[Trip]:
    """The next deadlines are met, with a gap of those seconds since the start in which nobody watched."""
    while (due := Timeout.of(saga.instance)) is not None and due.step == "book_flight":
        saga.now = max(saga.now, due.deadline)
        start, end = (BEGINNING + seconds(second) for second in gap)
        saga.hear(replace(due, unwatched=Gap(start, end)))
        if saga.journal[-1].kind is not Kind.RESENT:
            break
    return saga


@pytest.mark.parametrize(
    ("gap", "again"),
    [
        ((20, 50), 90),  # half of its minute was unwatched: it gets that half again
        ((10, 200), 250),  # it ran out in a long gap: what was left of it runs from the gap's end
        ((-30, 5), 65),  # only what fell into its time counts
    ],
)
def test_time_in_which_nobody_watched_is_given_back_once(gap: tuple[int, int], again: int) -> None:
    saga = watched_until(started().when(HOTEL_BOOKED), *gap).expect_status(Status.RUNNING)
    flight = saga.instance.flight("book_flight")
    assert flight is not None
    assert flight.due == BEGINNING + seconds(again)
    assert saga.journal[-1].kind is Kind.TIME_GIVEN
    watched_until(saga, *gap).expect_status(Status.COMPENSATING)


@pytest.mark.parametrize("gap", [(-60, 0), (60, 61), (300, 400)])
def test_a_gap_outside_a_steps_time_gives_nothing_back(gap: tuple[int, int]) -> None:
    watched_until(started().when(HOTEL_BOOKED), *gap).expect_status(Status.COMPENSATING)


def test_the_sagas_own_deadline_undoes_what_is_in_flight() -> None:
    saga = given(booking_of(deadline=seconds(10)), Trip()).whatever_was_sent()
    saga.after(seconds(10)).expect(TellTraveller, CancelFlight)
    assert saga.instance.reason is not None
    assert saga.instance.reason.code == "saga_timeout"
    assert saga.instance.expires is None


def test_the_sagas_own_deadline_is_void_past_the_point_of_no_return() -> None:
    saga = given(booking_of(deadline=seconds(10)), Trip()).when(HOTEL_BOOKED).when(FLIGHT_BOOKED)
    saga.happened(VISA_GRANTED).whatever_was_sent()
    assert saga.instance.expires is None
    saga.after(seconds(25)).expect_status(Status.RUNNING)


# What is written down


@pytest.mark.parametrize("event", [TRAVELLER_TOLD, HOTEL_CANCELLED, TICKETS_SENT])
def test_an_answer_that_belongs_elsewhere_is_journalled(event: object) -> None:
    steps = {
        "TravellerTold": "tell_traveller",
        "HotelCancelled": "cancel_hotel",
        "TicketsSent": "send_tickets",
    }
    saga = started()
    saga.when(event, to=steps[type(event).__name__])  # type: ignore[arg-type]
    kind = Kind.NOTICE_ANSWERED if event is TRAVELLER_TOLD else Kind.LATE
    saga.expect_nothing().expect_journal(kind).expect_status(Status.RUNNING)


def test_an_answer_of_the_wrong_kind_is_journalled_and_changes_nothing() -> None:
    saga = started().when(FLIGHT_BOOKED, to="book_hotel")
    saga.expect_nothing().expect_journal(Kind.UNEXPECTED)
    saga.when(FLIGHT_BOOKED, to="no_such_step").expect_journal(Kind.LATE)


def test_every_input_takes_the_next_revision() -> None:
    saga = started()
    for number, event in enumerate([HOTEL_BOOKED, HOTEL_BOOKED, FLIGHT_BOOKED, FLIGHT_BOOKED], start=2):
        saga.when(event)
        assert saga.instance.revision == number


def test_the_journal_says_why() -> None:
    saga = started().when(HOTEL_FULL)
    refused, compensating, notice = saga.journal[-3:]
    assert dict(refused.detail) == {"reason": "hotel_full", "why": "No room left."}
    assert dict(compensating.detail)["undo"] == "book_flight"
    assert notice.kind is Kind.NOTICE_SENT
