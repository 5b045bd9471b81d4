"""Tries the test kit: scripted answers on the virtual clock, and what a failed expectation says."""

from datetime import timedelta

import pytest

from libs.contracts.inventory import InventoryReleased, ReleaseInventory, ReserveInventory
from libs.contracts.order import BeginCancellation, CancelOrder, CompleteOrder, CreateOrder
from libs.contracts.payment import ProcessPayment, RefundPayment
from libs.contracts.product import ValidateProducts
from libs.saga.decision import Kind
from libs.saga.definition import seconds
from libs.saga.instance import Status
from libs.saga.testing import LOST, Script, given, late, play, promptly, repeatedly
from order_saga.create_order import create_order
from tests.libs.saga.orders import DONE, ORDER, REFUSED, SHEET
from tests.libs.saga.trips import (
    FLIGHT_BOOKED,
    HOTEL_BOOKED,
    BookFlight,
    BookHotel,
    Trip,
    book_trip,
)

ALL_GOES_WELL: Script = {
    step.command: [promptly(DONE[name])] for name, step in create_order.steps.items() if step.command
}


def test_a_script_plays_to_the_end() -> None:
    play(given(create_order, SHEET), ALL_GOES_WELL).whatever_was_sent().expect_completed()


def test_lost_commands_are_answered_when_they_are_sent_again() -> None:
    script: Script = {**ALL_GOES_WELL, ReserveInventory: [LOST, promptly(DONE["reserve_inventory"])]}
    saga = play(given(create_order, SHEET), script).whatever_was_sent().expect_completed()
    assert [sent.attempt for sent in saga.sent if sent.step == "reserve_inventory"] == [1, 2]


def test_an_answer_that_is_late_meets_its_undo() -> None:
    script: Script = {**ALL_GOES_WELL, ReserveInventory: [late(DONE["reserve_inventory"], by=seconds(40))]}
    saga = play(given(create_order, SHEET), script)
    saga.whatever_was_sent().expect_compensated("inventory_timeout")
    assert [entry.kind for entry in saga.journal].count(Kind.LATE) == 2, "both sendings were answered"


def test_answers_that_come_twice_do_no_harm() -> None:
    script: Script = {
        command: [repeatedly(answer[0][0][1], times=3)] for command, answer in ALL_GOES_WELL.items()
    }
    saga = play(given(create_order, SHEET), script).whatever_was_sent().expect_completed()
    assert [entry.kind for entry in saga.journal].count(Kind.LATE) == 10


def test_answers_may_overtake_each_other() -> None:
    script: Script = {
        BookHotel: [late(HOTEL_BOOKED, by=seconds(5))],
        BookFlight: [late(FLIGHT_BOOKED, by=seconds(1))],
    }
    played = play(given(book_trip, Trip()), script)
    answered = [entry.step for entry in played.journal if entry.kind is Kind.SUCCEEDED]
    assert answered == ["book_flight", "book_hotel"]


def test_an_answer_may_be_made_from_its_command() -> None:
    script: Script = {
        **ALL_GOES_WELL,
        ProcessPayment: [promptly(REFUSED["process_payment"])],
        ReleaseInventory: [promptly(lambda command: InventoryReleased(order_id=command.order_id))],
    }
    saga = play(given(create_order, SHEET), script)
    saga.expect(
        CreateOrder,
        ValidateProducts,
        ReserveInventory,
        ProcessPayment,
        BeginCancellation,
        ReleaseInventory(order_id=ORDER),
        CancelOrder,
    ).expect_compensated("payment_refused")


def test_a_script_that_leaves_an_undo_unanswered_ends_parked() -> None:
    script: Script = {**ALL_GOES_WELL, ProcessPayment: [LOST], RefundPayment: [LOST]}
    play(given(create_order, SHEET), script).expect_parked().expect_status(Status.COMPENSATING)


def test_what_was_overslept_is_met_late() -> None:
    saga = given(create_order, SHEET).overslept(timedelta(minutes=5))
    saga.expect_status(Status.RUNNING)
    assert saga.journal[-1].kind is Kind.TIME_GIVEN


def test_an_expectation_that_is_not_met_tells_the_whole_story() -> None:
    saga = given(create_order, SHEET).expect(CreateOrder).when(DONE["open_order"])
    with pytest.raises(AssertionError) as failure:
        saga.expect(CompleteOrder)
    told = str(failure.value)
    assert told.startswith("expected CompleteOrder, and ValidateProducts was sent")
    assert "when OrderCreated answers open_order" in told
    assert "    sent validate_products (command ValidateProducts)" in told


def test_an_answer_to_nothing_that_was_sent_is_a_mistake_of_the_test() -> None:
    with pytest.raises(AssertionError, match="nothing was sent that InventoryReserved answers"):
        given(create_order, SHEET).when(DONE["reserve_inventory"])


def test_values_are_compared_whole() -> None:
    saga = given(create_order, SHEET)
    with pytest.raises(AssertionError):
        saga.expect(CancelOrder(order_id=ORDER, user_id=SHEET.user_id, reason_code="a", reason="b"))
