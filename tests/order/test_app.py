"""Tries the order service as it runs: commands in from the real broker, events out to it."""

from collections.abc import Awaitable, Callable

import pytest

from libs.contracts.order import CancelOrder, CompleteOrder, CreateOrder, OrderCancelled, OrderCreated
from libs.contracts.topics import ORDER_EVENTS
from libs.contracts.values import PaymentId, PaymentMethodId
from tests.support.builders import a_record, a_user_id, an_order_id, euros, priced, some_lines
from tests.support.databases import Database
from tests.support.services import ServiceProcess
from tests.support.topics import Topics
from tests.support.waiting import eventually

pytestmark = pytest.mark.integration


async def test_an_order_lives_and_a_completion_of_none_is_parked(
    database: Callable[[str], Awaitable[Database]],
    topics: Topics,
    service: Callable[..., Awaitable[ServiceProcess]],
) -> None:
    orders = await database("order")
    created = CreateOrder(
        order_id=an_order_id(),
        user_id=a_user_id(),
        payment_method_id=PaymentMethodId(an_order_id()),
        lines=some_lines(2),
    )
    cancelled = CancelOrder(
        order_id=created.order_id, user_id=created.user_id, reason_code="out_of_stock", reason="No tea."
    )
    lost = CompleteOrder(
        order_id=an_order_id(),
        user_id=a_user_id(),
        lines=priced(some_lines(1)),
        total=euros(1_000),
        payment_id=PaymentId(an_order_id()),
    )
    await topics.publish(a_record(lost), a_record(created), a_record(cancelled))
    await service("order", on=orders)
    events = await topics.expect(ORDER_EVENTS, 2)
    assert [(event.key, event.header("ce_type")) for event in events] == [
        (str(created.order_id).encode(), OrderCreated.wire),
        (str(created.order_id).encode(), OrderCancelled.wire),
    ]
    assert await orders.rows("SELECT id, status FROM orders") == [(created.order_id, "cancelled")]

    async def parked() -> bool:
        key, error = await orders.row("SELECT key, error FROM parked_messages")
        return key == str(lost.order_id) and "UnknownOrderError" in error

    await eventually(parked, what="the completion of an unknown order parked")
