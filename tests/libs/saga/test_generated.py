"""Each step of the orders' sagas, refused, timed out, answered twice, answered late: the exact commands."""

from datetime import timedelta

import pytest

from libs.contracts.message import Event
from libs.saga.decision import Kind
from libs.saga.definition import Role, Step
from libs.saga.instance import Status
from libs.saga.testing import Dialogue, given
from order_saga.create_order import OrderSheet, create_order
from tests.libs.saga.orders import DONE, REFUSED, SHEET

FORWARD = [step for stage in create_order.stages for step in stage.steps if step.role is not Role.PAUSE]
COMPENSABLE = [step for step in FORWARD if step.role is Role.COMPENSABLE]

UNDO_OF = {
    "open_order": "cancel_order",
    "reserve_inventory": "release_inventory",
    "process_payment": "refund_payment",
}
"""Written down once more, so that a change of the definition is noticed."""

TIMEOUT_CODES = {
    "open_order": "order_timeout",
    "validate_products": "product_timeout",
    "reserve_inventory": "inventory_timeout",
    "process_payment": "payment_timeout",
}


def by_name(step: Step[OrderSheet]) -> str:
    return step.name


def at(step: Step[OrderSheet]) -> Dialogue[OrderSheet]:
    """An order whose saga has just sent this step's command."""
    saga = given(create_order, SHEET)
    for before in FORWARD[: FORWARD.index(step)]:
        saga.when(DONE[before.name])
    return saga.expect(*(known(sent.command) for sent in FORWARD[: FORWARD.index(step) + 1]))


def known(command: object) -> type:
    assert isinstance(command, type)
    return command


def owed(step: Step[OrderSheet], *, itself: bool) -> list[str]:
    """The undos that are owed when this step fails, first to last."""
    steps = FORWARD[: FORWARD.index(step) + itself]
    return [UNDO_OF[s.name] for s in reversed(steps) if s.name in UNDO_OF]


def expect_undone(
    saga: Dialogue[OrderSheet], undos: list[str], code: str, *, after: tuple[str, ...] = ()
) -> None:
    """The notice and the first undo go together, then an undo for each answer, then the end."""
    first = [*after, "begin_cancellation", undos[0]] if undos else after
    saga.expect(*(known(create_order.steps[name].command) for name in first))
    for number, undo in enumerate(undos):
        saga.expect_status(Status.COMPENSATING).when(DONE[undo], to=undo)
        saga.expect(*(known(create_order.steps[name].command) for name in undos[number + 1 : number + 2]))
    saga.expect_compensated(code)


def unchanged_but_for_the_journal(saga: Dialogue[OrderSheet], event: Event, step: str) -> None:
    """A late answer is journalled and takes a revision, and that is all."""
    before = saga.instance
    saga.when(event, to=step).expect_nothing().expect_journal(Kind.LATE)
    after = saga.instance
    assert after.revision == before.revision + 1
    assert (after.status, after.flights, after.armed, after.data, after.stage) == (
        before.status,
        before.flights,
        before.armed,
        before.data,
        before.stage,
    )


def test_all_steps_done_complete_the_order() -> None:
    saga = at(FORWARD[-1])
    saga.when(DONE["complete_order"]).expect_completed()
    assert saga.instance.data.priced
    assert saga.instance.data.payment_id is not None


@pytest.mark.parametrize("step", COMPENSABLE, ids=by_name)
def test_a_refused_step_undoes_those_before_it_and_not_itself(step: Step[OrderSheet]) -> None:
    refusal = REFUSED[step.name]
    saga = at(step).when(refusal)
    expect_undone(saga, owed(step, itself=False), refusal.reason_code)
    assert saga.instance.reason is not None
    assert saga.instance.reason.text == refusal.reason


@pytest.mark.parametrize("step", COMPENSABLE, ids=by_name)
def test_a_step_that_times_out_is_undone_itself_too(step: Step[OrderSheet]) -> None:
    saga = at(step).after(step.within)
    asked_once_more = (step.name,)
    expect_undone(saga, owed(step, itself=True), TIMEOUT_CODES[step.name], after=asked_once_more)


@pytest.mark.parametrize("step", FORWARD, ids=by_name)
def test_the_second_of_two_equal_answers_is_late(step: Step[OrderSheet]) -> None:
    saga = at(step).when(DONE[step.name]).whatever_was_sent()
    unchanged_but_for_the_journal(saga, DONE[step.name], step.name)


@pytest.mark.parametrize("step", COMPENSABLE, ids=by_name)
@pytest.mark.parametrize("answer", ["done", "refused"])
def test_an_answer_after_the_time_is_up_changes_nothing(step: Step[OrderSheet], answer: str) -> None:
    saga = at(step).after(step.within).whatever_was_sent()
    late = (DONE if answer == "done" else REFUSED)[step.name]
    unchanged_but_for_the_journal(saga, late, step.name)


@pytest.mark.parametrize("step", COMPENSABLE, ids=by_name)
def test_an_answer_after_the_end_changes_nothing(step: Step[OrderSheet]) -> None:
    saga = at(step).when(REFUSED[step.name])
    for undo in owed(step, itself=False):
        saga.when(DONE[undo], to=undo)
    saga.expect_status(Status.COMPENSATED).whatever_was_sent()
    for each in FORWARD:
        unchanged_but_for_the_journal(saga, DONE[each.name], each.name)
        saga.expect_status(Status.COMPENSATED)


@pytest.mark.parametrize("step", COMPENSABLE, ids=by_name)
def test_an_undo_that_stays_unanswered_parks_and_a_late_answer_ends_it(step: Step[OrderSheet]) -> None:
    saga = at(step).after(step.within)
    if not (undos := owed(step, itself=True)):
        return
    saga.after(timedelta(minutes=2)).expect_parked()
    sendings = [sent for sent in saga.sent if sent.step == undos[0]]
    assert len(sendings) > 2, "it is still sent again"
    assert len({sent.id for sent in sendings}) == len(sendings), "every sending has an id of its own"
    for undo in undos:
        saga.when(DONE[undo], to=undo).expect_parked(False)
    saga.expect_status(Status.COMPENSATED)


@pytest.mark.parametrize("step", FORWARD, ids=by_name)
def test_a_cancel_undoes_what_is_in_flight_until_the_order_is_being_completed(
    step: Step[OrderSheet],
) -> None:
    saga = at(step).cancelled()
    if step.role is Role.COMPENSABLE:
        expect_undone(saga, owed(step, itself=True), "cancelled_by_customer")
        assert saga.cancels_due == []
    else:
        saga.expect_nothing().expect_status(Status.RUNNING).expect_journal(Kind.CANCEL_KEPT)
        saga.when(DONE[step.name]).expect_completed()
        assert [reason.code for reason in saga.cancels_due] == ["cancelled_by_customer"]


@pytest.mark.parametrize("step", COMPENSABLE, ids=by_name)
def test_no_customer_reads_that_a_step_was_undone_already(step: Step[OrderSheet]) -> None:
    refusal = REFUSED[step.name].model_copy(update={"reason_code": "already_undone", "reason": "tombstone"})
    reason = at(step).when(refusal).instance.reason
    assert reason is not None
    assert reason.code == TIMEOUT_CODES[step.name]
    assert "tombstone" not in reason.text


@pytest.mark.parametrize("step", FORWARD, ids=by_name)
def test_any_attempt_may_be_answered(step: Step[OrderSheet]) -> None:
    saga = at(step)
    first = saga.reply(DONE[step.name])
    saga.after(step.within * 0.6)
    assert {sent.attempt for sent in saga.sent if sent.step == step.name} == {1, 2}
    saga.hear(first)
    assert saga.instance.flight(step.name) is None
