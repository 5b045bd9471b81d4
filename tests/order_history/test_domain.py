"""The fold: one row and one timeline, however the events come; and what each story looks like in the end."""

import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.contracts.catalogue import CONTRACTS
from libs.contracts.message import Contract, Event
from libs.contracts.order_saga import SagaCreateOrder
from libs.contracts.topics import EVENT_TOPICS
from libs.messaging.message import Message
from order_history.app import service
from order_history.domain.history import (
    TIMELINE,
    Entry,
    Histories,
    History,
    PaymentStage,
    Stage,
    is_settled,
    join,
    payment_status,
)
from tests.order_history.stories import Story, retold, tellings, told

ROUTES = {route.body: route.decide for route in service.routes}


def fold(messages: Sequence[Message[Contract]]) -> Histories:
    histories = Histories()
    for message in messages:
        assert ROUTES[type(message.body)](histories, message) is None, "the read model sends nothing"
    return histories


def outcome(messages: Sequence[Message[Contract]]) -> History:
    [history] = fold(messages).orders.values()
    return history


def timeline(messages: Sequence[Message[Contract]]) -> list[Entry]:
    return sorted(fold(messages).entries.values(), key=lambda entry: TIMELINE.index(entry.event))


def names(messages: Sequence[Message[Contract]]) -> list[str]:
    return [entry.event for entry in timeline(messages)]


def seen(histories: Histories) -> tuple[object, object]:
    return histories.orders, histories.entries


@given(st.data())
def test_any_order_of_arrival_and_any_repetition_give_the_same_rows(data: st.DataObject) -> None:
    messages = data.draw(tellings(orders=2))
    assert seen(fold(data.draw(retold(messages)))) == seen(fold(messages))


@given(tellings())
def test_join_is_a_join(messages: list[Message[Contract]]) -> None:
    """Associative, commutative and idempotent, on what any three parts of the events tell."""
    parts = [fold(messages[start::3]).orders.values() for start in range(3)]
    for a, b, c in zip(*parts, strict=False):
        assert join(a, a) == a
        assert join(a, b) == join(b, a)
        assert join(join(a, b), c) == join(a, join(b, c))


@given(tellings())
def test_the_stage_never_falls(messages: list[Message[Contract]]) -> None:
    histories, highest = Histories(), 0
    for message in messages:
        ROUTES[type(message.body)](histories, message)
        stage = histories.orders[message.key].stage
        assert stage >= highest
        highest = stage


def test_every_event_of_the_four_topics_is_folded() -> None:
    events = {c for c in CONTRACTS.values() if issubclass(c, Event) and c.topic in EVENT_TOPICS}
    assert set(ROUTES) == events
    assert set(service.topics) == set(EVENT_TOPICS)
    assert SagaCreateOrder not in ROUTES


def test_an_order_that_goes_well() -> None:
    story = Story(lines=2, cents=1_000)
    messages = story.completes()
    history = outcome(messages)
    assert history.stage.status == "completed"
    assert history.origin.value.user_id == story.user_id
    assert history.origin.value.payment_method_id == story.method_id
    assert history.origin.value.created_at == messages[0].time
    assert history.updated_at == messages[-1].time
    assert history.contents is not None
    assert history.contents.value.total == story.total
    [first, _] = json.loads(history.contents.value.lines)
    assert first == {
        "product_id": str(story.lines[0].product_id),
        "name": "Product 1",
        "quantity": 1,
        "price": {"amount_minor": 1_000, "currency": "EUR"},
    }
    assert history.payment_id is not None
    assert history.payment_id.value == story.payment_id
    assert history.payment is PaymentStage.COMPLETED
    assert history.reason is None
    assert names(messages) == ["created", "validated", "reserved", "paid", "completed"]


def test_a_refusal_stands_in_the_timeline_with_what_was_short() -> None:
    story = Story()
    messages = story.runs_short()
    history = outcome(messages)
    assert history.stage.status == "cancelled"
    assert history.reason is not None
    assert (history.reason.value.code, history.reason.value.text) == ("out_of_stock", "none of it is left")
    assert names(messages) == ["created", "validated", "cancelling", "cancelled"]
    [entry] = [entry for entry in timeline(messages) if entry.event == "cancelling"]
    assert entry.ce_id == messages[2].id
    assert entry.detail is not None
    shortage = {"product_id": str(story.lines[0].product_id), "requested": 1, "available": 0}
    assert json.loads(entry.detail)["shortages"] == [shortage]


@pytest.mark.parametrize(
    "refusal", [Story.unknown, Story.short, Story.unpaid, Story.released, Story.refunded]
)
def test_refusals_and_undone_steps_mean_cancelling(refusal: object) -> None:
    assert callable(refusal)
    story = Story()
    assert outcome(told(story.created(), refusal(story))).stage.status == "cancelling"


def test_a_payment_that_never_happened_is_cancelled_and_not_refunded() -> None:
    messages = Story().times_out()
    history = outcome(messages)
    assert history.payment is PaymentStage.CANCELLED
    assert history.reason is not None
    assert history.reason.value.code == "payment_timeout"
    assert names(messages) == [
        "created",
        "validated",
        "reserved",
        "cancelling",
        "released",
        "refunded",
        "cancelled",
    ]


def test_a_completed_order_that_is_taken_back() -> None:
    messages = Story().is_taken_back()
    history = outcome(messages)
    assert history.stage.status == "cancelled"
    assert history.payment is PaymentStage.REFUNDED
    assert names(messages) == list(TIMELINE)


def test_an_order_that_is_unknown_but_to_another_service_has_no_owner_yet() -> None:
    story = Story()
    [reserved, created] = reversed(told(story.created(), story.reserved()))
    alone = outcome([reserved])
    assert alone.origin.value.user_id is None
    assert alone.contents is None
    both = outcome([reserved, created])
    assert both.origin.value.user_id == story.user_id
    assert both.stage is Stage.RESERVED
    assert both.origin.value.created_at == created.time


def test_lines_come_from_the_completion_else_from_the_first_validation() -> None:
    story = Story(cents=1_000)
    dearer = Story(story.order_id, story.user_id, cents=2_000)
    first, second, end = told(story.validated(), dearer.validated(), story.completed())
    for messages in ([first, second], [second, first]):
        assert outcome(messages).contents == outcome([first]).contents
    assert outcome([second, end, first]).contents == outcome([end]).contents


def test_nobody_reads_that_it_was_already_undone() -> None:
    story = Story()
    messages = told(story.cancelled("cancelled_by_customer"), story.never_created())
    history = outcome(messages)
    assert history.reason is not None
    assert history.reason.value.code == "cancelled_by_customer"
    assert "already_undone" not in repr(timeline(messages))
    alone = told(story.never_created(), story.unpaid("already_undone"))
    assert outcome(alone).reason is None
    assert names(alone) == ["cancelled"]
    assert "already_undone" not in repr(timeline(alone))


def test_a_refused_cancellation_changes_no_status_and_tells_nothing() -> None:
    story = Story()
    messages = [*story.completes(), *told(story.not_cancellable())]
    assert outcome(messages).stage.status == "completed"
    assert len(timeline(messages)) == 5


@pytest.mark.parametrize(
    ("status", "events", "settled"),
    [
        ("pending", ["created"], False),
        ("cancelling", ["created", "cancelling"], False),
        ("completed", ["created", "validated", "reserved", "completed"], False),
        ("completed", ["created", "validated", "reserved", "paid", "completed"], True),
        ("cancelled", ["cancelled"], True),
        ("cancelled", ["created", "reserved", "cancelled"], False),
        ("cancelled", ["created", "reserved", "released", "paid", "cancelled"], False),
        ("cancelled", ["created", "reserved", "released", "paid", "refunded", "cancelled"], True),
    ],
)
def test_an_end_is_settled_once_what_belongs_before_it_is_there(
    status: str, events: list[str], settled: bool
) -> None:
    assert is_settled(status, frozenset(events)) is settled  # type: ignore[arg-type]


def test_the_payment_of_an_order_that_was_never_paid_is_cancelled_with_it() -> None:
    assert payment_status(None, "pending") == "pending"
    assert payment_status(None, "cancelling") == "pending"
    assert payment_status(None, "cancelled") == "cancelled"
    assert payment_status(PaymentStage.FAILED, "cancelled") == "failed"
    assert payment_status(PaymentStage.REFUNDED, "cancelled") == "refunded"
