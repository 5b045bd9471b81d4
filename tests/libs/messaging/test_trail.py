"""Tries to find one order's messages among those of others, in order of time."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from libs.contracts.inventory import ReserveInventory
from libs.contracts.order import CreateOrder, OrderCreated
from libs.contracts.topics import dead_letters
from libs.contracts.values import OrderId, PaymentMethodId
from libs.messaging.errors import BrokerUnavailable
from libs.messaging.trail import Found, told, trail
from tests.support.builders import (
    a_correlation,
    a_message_id,
    a_record,
    a_user_id,
    an_order,
    an_order_id,
    some_lines,
)
from tests.support.topics import RawRecord, Topics

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
TEN_YEARS = 10 * 365 * 86_400


def sent(record: RawRecord, second: int) -> RawRecord:
    """The record with another time in its envelope."""
    at = (NOON + timedelta(seconds=second)).isoformat().replace("+00:00", "Z").encode()
    headers = [(name, at if name == "ce_time" else value) for name, value in record.headers]
    return RawRecord(record.topic, record.key, record.value, headers)


def story(order_id: OrderId) -> list[RawRecord]:
    """The first messages of an order, one second apart."""
    placed = an_order().model_copy(update={"order_id": order_id})
    create = CreateOrder(
        order_id=order_id,
        user_id=a_user_id(),
        payment_method_id=PaymentMethodId(uuid4()),
        lines=some_lines(),
    )
    created = OrderCreated(
        order_id=order_id,
        user_id=create.user_id,
        payment_method_id=create.payment_method_id,
        lines=create.lines,
    )
    step = a_correlation(order_id, "create_order")
    return [
        sent(a_record(placed), 0),
        sent(a_record(create, correlation=step), 1),
        sent(a_record(created, correlation=step), 2),
    ]


def types(found: Sequence[Found]) -> list[str]:
    return [each.header("ce_type").split(".")[1] for each in found]


@pytest.mark.integration
@pytest.mark.parametrize("order_id", [an_order_id(), OrderId(uuid4())], ids=["UUIDv7", "UUIDv4"])
async def test_an_orders_messages_come_in_order_of_time_and_those_of_others_do_not(
    topics: Topics, order_id: OrderId
) -> None:
    await topics.publish(*reversed(story(order_id)), *story(an_order_id()))
    found = await trail(topics.bootstrap_servers, order_id, prefix=topics.prefix)
    assert types(found) == ["SagaCreateOrder", "CreateOrder", "OrderCreated"]
    assert [each.at for each in found] == [NOON + timedelta(seconds=n) for n in range(3)]
    assert [(each.header("step"), each.header("attempt")) for each in found] == [
        ("-", "-"),
        ("create_order", "1"),
        ("create_order", "1"),
    ]


@pytest.mark.integration
async def test_a_dead_letter_comes_when_it_died(topics: Topics) -> None:
    order_id = an_order_id()
    [first, *_] = story(order_id)
    reserve = a_record(ReserveInventory(order_id=order_id, lines=some_lines()), message_id=a_message_id())
    grave = RawRecord(
        dead_letters("inventory"),
        reserve.key,
        reserve.value,
        [*sent(reserve, -3600).headers, ("dlq_reason", b"invalid_payload")],
    )
    await topics.publish(sent(first, -TEN_YEARS), grave)
    found = await trail(topics.bootstrap_servers, order_id, prefix=topics.prefix)
    assert types(found)[-1] == "ReserveInventory"
    assert abs(datetime.now(UTC) - found[-1].at) < timedelta(minutes=5)


@pytest.mark.integration
async def test_an_order_that_nobody_placed_has_none(topics: Topics) -> None:
    await topics.publish(*story(an_order_id()))
    assert await trail(topics.bootstrap_servers, an_order_id(), prefix=topics.prefix) == []


@pytest.mark.integration
async def test_a_broker_without_the_topics_is_named(topics: Topics) -> None:
    with pytest.raises(BrokerUnavailable, match="none of the platform's topics"):
        await trail(topics.bootstrap_servers, an_order_id(), prefix="elsewhere-")


def test_a_line_says_when_where_what_and_why() -> None:
    order_id, message, cause = (UUID(int=n) for n in (1, 2, 3))
    headers = {"ce_type": "order.CreateOrder.v1", "ce_id": str(message), "causation_id": str(cause)}
    lines = list(told(order_id, [Found(NOON, "order-commands", 1, 12, headers, "{}")]))
    assert lines[1].split("  ")[0] == "2030-01-01 12:00:00.000"
    cells = lines[1].split()
    assert cells[2:] == ["order-commands/1@12", "order.CreateOrder.v1", "-", "-", str(message), str(cause)]
    assert lines[-1] == f"1 messages of order {order_id}"
