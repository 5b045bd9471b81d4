"""Tries what an order may become: each command done, refused, repeated and raced."""

import pytest

from libs.contracts.order import (
    BeginCancellation,
    CancelOrder,
    CompleteOrder,
    CreateOrder,
    OrderCancelled,
    OrderCancelling,
    OrderCancelRefused,
    OrderCompleted,
    OrderCreated,
    OrderCreateFailed,
)
from libs.contracts.values import PaymentId, PaymentMethodId
from order.domain import (
    Order,
    Orders,
    OtherLinesError,
    Status,
    UnknownOrderError,
    begin_cancellation,
    cancel,
    complete,
    create,
)
from tests.support.builders import a_user_id, an_order_id, euros, priced, some_lines


class Story:
    """One order, and the commands that may come for it."""

    def __init__(self) -> None:
        self.orders = Orders({})
        self.id = an_order_id()
        self.user_id = a_user_id()
        self.creation = CreateOrder(
            order_id=self.id,
            user_id=self.user_id,
            payment_method_id=PaymentMethodId(an_order_id()),
            lines=some_lines(2, quantity=3),
        )
        self.completion = CompleteOrder(
            order_id=self.id,
            user_id=self.user_id,
            lines=priced(self.creation.lines, cents=250),
            total=euros(1_500),
            payment_id=PaymentId(an_order_id()),
        )
        self.created = OrderCreated(
            order_id=self.id,
            user_id=self.user_id,
            payment_method_id=self.creation.payment_method_id,
            lines=self.creation.lines,
        )
        self.completed = OrderCompleted(
            order_id=self.id,
            user_id=self.user_id,
            lines=self.completion.lines,
            total=euros(1_500),
            payment_id=self.completion.payment_id,
        )

    def cancelling(self, code: str = "out_of_stock", reason: str = "No tea.") -> BeginCancellation:
        return BeginCancellation(order_id=self.id, user_id=self.user_id, reason_code=code, reason=reason)

    def cancellation(self, code: str = "out_of_stock", reason: str = "No tea.") -> CancelOrder:
        return CancelOrder(order_id=self.id, user_id=self.user_id, reason_code=code, reason=reason)

    def cancelled(self, code: str = "out_of_stock", reason: str = "No tea.") -> OrderCancelled:
        return OrderCancelled(order_id=self.id, user_id=self.user_id, reason_code=code, reason=reason)

    @property
    def order(self) -> Order:
        return self.orders.by_id[self.id]

    def brought_to(self, status: Status) -> "Story":
        """The order as it is when it has gone its shortest way to a status."""
        create(self.orders, self.creation)
        match status:
            case "pending":
                pass
            case "completed":
                complete(self.orders, self.completion)
            case "cancelling":
                begin_cancellation(self.orders, self.cancelling())
            case "cancelled":
                cancel(self.orders, self.cancellation())
        assert self.order.status == status
        return self


@pytest.fixture
def story() -> Story:
    return Story()


def test_an_order_is_written_down_as_pending(story: Story) -> None:
    assert create(story.orders, story.creation) == story.created
    assert story.order.status == "pending"
    assert story.orders.new == {story.id}


@pytest.mark.parametrize("status", ["pending", "completed", "cancelling", "cancelled"])
def test_a_repeated_creation_is_answered_as_before(story: Story, status: Status) -> None:
    before = story.brought_to(status).order
    other = story.creation.model_copy(update={"lines": some_lines(1), "user_id": a_user_id()})
    assert create(story.orders, other) == story.created
    assert story.order == before


def test_a_creation_after_its_cancellation_is_refused(story: Story) -> None:
    assert cancel(story.orders, story.cancellation()) == story.cancelled()
    assert story.orders.new == {story.id}
    for _ in range(2):
        answer = create(story.orders, story.creation)
        assert isinstance(answer, OrderCreateFailed)
        assert answer.reason_code == "already_undone"
    assert story.order.status == "cancelled"
    assert story.order.placed is None
    assert cancel(story.orders, story.cancellation("payment_timeout", "Late.")) == story.cancelled()


def test_a_pending_order_is_completed_once(story: Story) -> None:
    story.brought_to("pending")
    assert complete(story.orders, story.completion) == story.completed
    before = story.order
    assert before.status == "completed"
    assert story.orders.priced == {story.id}
    again = story.completion.model_copy(update={"payment_id": PaymentId(an_order_id())})
    assert complete(story.orders, again) == story.completed
    assert story.order is before


def test_a_repeated_completion_after_the_cancellation_changes_nothing(story: Story) -> None:
    story.brought_to("completed")
    for cancelling in (True, False):
        if cancelling:
            begin_cancellation(story.orders, story.cancelling())
        else:
            cancel(story.orders, story.cancellation())
        before = story.order
        assert complete(story.orders, story.completion) == story.completed
        assert story.order is before


def test_a_completion_of_an_order_that_never_was_completed_and_is_cancelled_changes_nothing(
    story: Story,
) -> None:
    before = story.brought_to("cancelled").order
    assert complete(story.orders, story.completion) == story.completed
    assert story.order is before


def test_a_completion_of_an_unknown_order_is_no_machines_to_decide(story: Story) -> None:
    with pytest.raises(UnknownOrderError, match=str(story.id)):
        complete(story.orders, story.completion)
    assert not story.orders.by_id


def test_a_completion_with_other_lines_is_no_machines_to_decide(story: Story) -> None:
    story.brought_to("pending")
    other = story.completion.model_copy(update={"lines": priced(some_lines(2, quantity=3))})
    with pytest.raises(OtherLinesError, match=str(story.id)):
        complete(story.orders, other)
    assert story.order.status == "pending"


@pytest.mark.parametrize("status", ["pending", "completed"])
def test_a_cancellation_begins_and_keeps_its_first_reason(story: Story, status: Status) -> None:
    story.brought_to(status)
    expected = OrderCancelling(
        order_id=story.id, user_id=story.user_id, reason_code="payment_refused", reason="No."
    )
    assert begin_cancellation(story.orders, story.cancelling("payment_refused", "No.")) == expected
    assert story.order.status == "cancelling"
    assert begin_cancellation(story.orders, story.cancelling("out_of_stock", "None.")) == expected
    answer = cancel(story.orders, story.cancellation("out_of_stock", "None."))
    assert answer == story.cancelled("payment_refused", "No.")


def test_a_cancellation_of_a_cancelled_order_is_refused(story: Story) -> None:
    before = story.brought_to("cancelled").order
    answer = begin_cancellation(story.orders, story.cancelling())
    assert isinstance(answer, OrderCancelRefused)
    assert answer.reason_code == "order_not_cancellable"
    assert story.order is before


def test_a_cancellation_of_an_unknown_order_is_refused_and_leaves_nothing(story: Story) -> None:
    assert isinstance(begin_cancellation(story.orders, story.cancelling()), OrderCancelRefused)
    assert not story.orders.by_id


@pytest.mark.parametrize("status", ["pending", "completed", "cancelling"])
def test_an_order_is_cancelled_from_any_status_once(story: Story, status: Status) -> None:
    story.brought_to(status)
    assert cancel(story.orders, story.cancellation()) == story.cancelled()
    before = story.order
    assert before.status == "cancelled"
    assert cancel(story.orders, story.cancellation("payment_timeout", "Late.")) == story.cancelled()
    assert story.order is before


def test_what_was_charged_stays_known_when_it_is_taken_back(story: Story) -> None:
    story.brought_to("completed")
    begin_cancellation(story.orders, story.cancelling())
    cancel(story.orders, story.cancellation())
    assert story.order.charged is not None
    assert story.order.charged.total == euros(1_500)
