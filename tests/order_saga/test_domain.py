"""Tries which saga a message is about, and what is sent with which correlation."""

import pytest

from libs.contracts.order import OrderCancelRefused
from libs.contracts.order_saga import SagaCancelOrder
from libs.contracts.values import SagaId
from libs.messaging.message import Correlation, Message
from libs.outbox.errors import Undeliverable
from libs.saga.decision import Rejection
from libs.saga.inputs import Resume
from libs.saga.instance import Status
from order_saga.domain import CANCEL, CREATE, Operate
from tests.order_saga.answers import good_answers
from tests.order_saga.desks import FORWARD, Office, steps
from tests.support.builders import a_correlation, a_message, a_user_id, an_order_id


def test_the_saga_that_creates_an_order_has_the_orders_id() -> None:
    office = Office().starts()
    case = office.case(CREATE)
    assert case.instance.id == office.order.order_id
    assert (case.stored, case.partition, case.order_id) == (False, 0, office.order.order_id)


def test_a_command_carries_saga_step_attempt_cause_and_the_id_that_is_awaited() -> None:
    office = Office()
    start = a_message(office.order)
    [sent] = office.take(start)
    assert sent.correlation is not None
    assert sent.correlation == Correlation(SagaId(office.order.order_id), "open_order", 1, start.id)
    assert sent.id == office.creating.flights[0].awaiting


def test_a_command_that_a_deadline_sends_has_no_cause() -> None:
    office = Office().starts()
    [sent] = office.times_out()
    assert sent.correlation is not None
    assert (sent.correlation.attempt, sent.correlation.causation_id) == (2, None)
    assert office.desk.fired == 1


def test_a_second_start_is_a_repeat() -> None:
    office = Office().starts()
    assert office.take(a_message(office.order)) == []
    assert office.kinds()[-1] == "repeated"


def test_an_order_that_goes_well_is_counted_as_ended() -> None:
    office = Office().completed()
    assert office.case(CREATE).finished_at is not None
    assert office.desk.ended == {(CREATE, Status.COMPLETED): 1}
    assert office.desk.more_running == 0


def test_a_running_saga_takes_room_and_a_parked_one_does_not() -> None:
    office = Office().goes_on_to("complete_order")
    assert office.desk.more_running == 1
    for _ in range(3):
        office.times_out()
    assert office.creating.parked_at is not None
    assert office.desk.more_running == 0


@pytest.mark.parametrize("step", FORWARD[:-1])
def test_a_cancel_before_completion_stops_the_saga(step: str) -> None:
    office = Office().goes_on_to(step)
    assert "begin_cancellation" in steps(office.cancel())
    assert office.creating.status is Status.COMPENSATING
    assert office.desk.of_order(office.order.order_id, CANCEL) is None


def test_a_cancel_while_the_order_is_being_completed_starts_its_saga_with_the_completion() -> None:
    office = Office().goes_on_to("complete_order")
    assert office.cancel("Too late.") == []
    assert steps(office.answer("complete_order")) == ["begin_cancellation"]
    case = office.case(CANCEL)
    assert case.instance.id not in {office.order.order_id, None}
    assert (case.order_id, case.partition) == (office.order.order_id, office.case(CREATE).partition)
    assert office.sent[-1].body.order_id == office.order.order_id


def test_a_cancel_of_a_completed_order_starts_its_saga_once() -> None:
    office = Office().completed()
    assert steps(office.cancel()) == ["begin_cancellation"]
    assert office.cancel() == []
    for step in ("begin_cancellation", "refund_payment", "release_inventory", "cancel_order"):
        office.answer(step)
    assert office.case(CANCEL).instance.status is Status.COMPLETED
    assert office.cancel() == []


def test_a_cancellation_that_is_refused_undoes_nothing() -> None:
    office = Office().completed()
    office.cancel()
    refused = OrderCancelRefused(
        order_id=office.order.order_id,
        user_id=office.order.user_id,
        reason_code="order_not_cancellable",
        reason="It is on its way.",
    )
    assert office.answer("begin_cancellation", refused) == []
    assert office.case(CANCEL).instance.status is Status.COMPENSATED


def test_a_cancellation_is_asked_for_until_it_is_answered() -> None:
    office = Office().completed()
    office.cancel()
    assert office.case(CANCEL).instance.flights[0].retry_at is not None


def test_a_cancel_that_meets_no_saga_makes_one_and_the_start_is_a_repeat() -> None:
    office = Office()
    assert steps(office.cancel()) == ["cancel_order"]
    assert office.take(a_message(office.order)) == []
    assert office.answer("cancel_order") == []
    assert office.creating.status is Status.COMPENSATED
    assert office.cancel() == []


def test_a_cancel_by_somebody_else_is_a_dead_letter() -> None:
    office = Office().starts()
    foreign = SagaCancelOrder(order_id=office.order.order_id, user_id=a_user_id(), reason="")
    with pytest.raises(Undeliverable, match="not_the_owner"):
        office.take(a_message(foreign))
    assert office.creating.status is Status.RUNNING


def test_an_answer_without_a_saga_is_passed_over() -> None:
    office = Office().starts()
    assert office.take(a_message(good_answers(office.order)["open_order"])) == []
    assert office.creating.revision == 1


def test_an_answer_to_no_saga_or_about_another_order_is_a_dead_letter() -> None:
    office = Office().starts()
    event = good_answers(office.order)["open_order"]
    stray = a_message(event, correlation=a_correlation(an_order_id(), "open_order"))
    with pytest.raises(Undeliverable, match="unknown_saga"):
        office.take(stray)
    other = event.model_copy(update={"order_id": an_order_id()})
    with pytest.raises(Undeliverable, match="unknown_saga"):
        office.take(a_message(other, correlation=a_correlation(office.order.order_id, "open_order")))


def test_a_late_answer_to_a_saga_of_a_retired_version_is_a_dead_letter() -> None:
    office = Office()
    saga_id = SagaId(office.order.order_id)
    office.desk.retired[office.order.order_id, CREATE] = saga_id
    event = good_answers(office.order)["open_order"]
    with pytest.raises(Undeliverable, match="saga_version_retired"):
        office.take(a_message(event, correlation=a_correlation(saga_id, "open_order")))


def test_an_order_whose_saga_is_retired_is_not_started_again_and_its_cancel_is_parked() -> None:
    office = Office()
    office.desk.retired[office.order.order_id, CREATE] = SagaId(office.order.order_id)
    assert office.take(a_message(office.order)) == []
    cancel = SagaCancelOrder(order_id=office.order.order_id, user_id=office.order.user_id, reason="")
    with pytest.raises(LookupError, match="not known here"):
        office.take(a_message(cancel))
    assert not office.desk.cases


def test_an_order_that_a_retired_saga_took_back_is_not_taken_back_again() -> None:
    office = Office().completed()
    office.desk.retired[office.order.order_id, CANCEL] = SagaId(a_user_id())
    cancel = SagaCancelOrder(order_id=office.order.order_id, user_id=office.order.user_id, reason="")
    assert office.take(a_message(cancel)) == []
    assert len(office.desk.cases) == 1


def test_an_operators_action_that_is_turned_down_says_why() -> None:
    office = Office().starts()
    asked = a_message(office.order)
    key = office.order.order_id
    action = Operate(SagaId(key), Resume(1, "ann", "why"))
    message: Message[object] = Message(asked.id, key, action, asked.time)
    assert office.take(message) == []  # type: ignore[arg-type]
    assert office.desk.rejected is Rejection.NOT_PARKED
