"""Tries the orchestrator as a process, on real topics and a real database; the test is its participants."""

from collections.abc import Awaitable, Callable
from uuid import UUID

import httpx
import pytest

from libs.contracts.order import OrderCreateFailed
from libs.contracts.order_saga import SagaCancelOrder
from libs.contracts.values import OrderId
from order_saga.create_order import create_order
from tests.order_saga.answers import answer_to, command_of, good_answers
from tests.support.builders import a_correlation, a_record, an_order, an_order_id
from tests.support.databases import Database
from tests.support.services import ServiceProcess
from tests.support.topics import Topics
from tests.support.waiting import eventually

pytestmark = pytest.mark.integration

Databases = Callable[[str], Awaitable[Database]]
Services = Callable[..., Awaitable[ServiceProcess]]

FORWARD = ("open_order", "validate_products", "reserve_inventory", "process_payment", "complete_order")


def topic_of(step: str) -> str:
    command = create_order.steps[step].command
    assert command is not None
    return command.topic


async def status_is(held: Database, key: object, status: str) -> None:
    async def ask() -> bool:
        found = await held.rows("SELECT status FROM sagas WHERE id = %s", key)
        assert found == [(status,)]
        return True

    await eventually(ask, what=f"saga {status}")


async def test_an_order_goes_through_all_steps_and_its_late_cancel_takes_it_back(
    database: Databases, service: Services, topics: Topics
) -> None:
    held = await database("order_saga")
    await service("order_saga", held)
    order = an_order()
    answers = good_answers(order)
    await topics.publish(a_record(order))
    for step in FORWARD[:-1]:
        command = await command_of(topics, topic_of(step), step, order.order_id)
        await topics.publish(answer_to(command, answers[step]))
    command = await command_of(topics, topic_of("complete_order"), "complete_order", order.order_id)
    cancel = SagaCancelOrder(order_id=order.order_id, user_id=order.user_id, reason="changed my mind")
    await topics.publish(a_record(cancel))

    async def kept() -> bool:
        return bool(await held.rows("SELECT kind FROM saga_journal WHERE kind = 'cancel_kept'"))

    await eventually(kept, what="the cancel kept")
    await topics.publish(answer_to(command, answers["complete_order"]))
    await status_is(held, order.order_id, "completed")
    for step in ("begin_cancellation", "refund_payment", "release_inventory", "cancel_order"):
        command = await command_of(topics, topic_of(step), step, order.order_id)
        await topics.publish(answer_to(command, answers[step]))

    async def taken_back() -> bool:
        found = await held.rows("SELECT status, partition FROM sagas ORDER BY started_at")
        assert [row[0] for row in found] == ["completed", "completed"]
        return len({row[1] for row in found}) == 1

    await eventually(taken_back, what="both sagas completed, on one partition")
    revisions = await held.rows(
        "SELECT saga_id, array_agg(DISTINCT revision ORDER BY revision) FROM saga_journal GROUP BY saga_id"
    )
    assert all(numbers == list(range(1, len(numbers) + 1)) for _, numbers in revisions)


async def test_a_silent_participant_makes_the_order_cancelling_at_its_deadline(
    database: Databases, service: Services, topics: Topics
) -> None:
    held = await database("order_saga")
    await service("order_saga", held, INVENTORY_TIMEOUT_SECONDS="1.5")
    order = an_order()
    answers = good_answers(order)
    await topics.publish(a_record(order))
    for step in ("open_order", "validate_products"):
        command = await command_of(topics, topic_of(step), step, order.order_id)
        await topics.publish(answer_to(command, answers[step]))
    for step in ("release_inventory", "cancel_order"):
        command = await command_of(topics, topic_of(step), step, order.order_id)
        await topics.publish(answer_to(command, answers[step]))
    await status_is(held, order.order_id, "compensated")
    (reason,) = await held.row("SELECT reason_code FROM sagas")
    assert reason == "inventory_timeout"
    late = await command_of(topics, topic_of("reserve_inventory"), "reserve_inventory", order.order_id)
    await topics.publish(answer_to(late, answers["reserve_inventory"]))

    async def journalled() -> bool:
        return bool(await held.rows("SELECT kind FROM saga_journal WHERE kind = 'late'"))

    await eventually(journalled, what="the late answer in the journal")
    await status_is(held, order.order_id, "compensated")


async def test_a_cancel_that_meets_no_saga_cancels_the_order_before_it_starts(
    database: Databases, service: Services, topics: Topics
) -> None:
    held = await database("order_saga")
    await service("order_saga", held)
    order = an_order()
    cancel = SagaCancelOrder(order_id=order.order_id, user_id=order.user_id, reason="")
    await topics.publish(a_record(cancel), a_record(order))
    command = await command_of(topics, topic_of("cancel_order"), "cancel_order", order.order_id)
    await topics.publish(answer_to(command, good_answers(order)["cancel_order"]))
    await status_is(held, order.order_id, "compensated")
    kinds = {row[0] for row in await held.rows("SELECT kind FROM saga_journal")}
    assert "repeated" in kinds
    assert await topics.read(topic_of("reserve_inventory")) == []


async def test_starts_wait_in_their_topic_while_as_many_run_as_may(
    database: Databases, service: Services, topics: Topics
) -> None:
    held = await database("order_saga")
    process = await service("order_saga", held, MAX_RUNNING_SAGAS="2")
    orders = {order.order_id: order for order in (an_order() for _ in range(5))}
    await topics.publish(*(a_record(order) for order in orders.values()))
    answered: set[str] = set()
    for number in range(5):
        commands = await topics.expect(topic_of("open_order"), min(number + 2, 5))
        (running,) = await held.row("SELECT count(*) FROM sagas WHERE deadline IS NOT NULL")
        assert running <= 2
        if number == 0:
            await eventually(lambda: shows(process, 'sagas{status="running"} 2.0'))
        fresh = next(
            c for c in commands if c.header("saga_id") not in answered and c.header("attempt") == "1"
        )
        answered.add(str(fresh.header("saga_id")))
        order = orders[OrderId(UUID(fresh.header("saga_id")))]
        refusal = OrderCreateFailed(
            order_id=order.order_id, user_id=order.user_id, reason_code="no_order", reason="No."
        )
        await topics.publish(answer_to(fresh, refusal))

    async def all_ended() -> bool:
        ended = await held.rows("SELECT 1 FROM sagas WHERE status = 'compensated'")
        return len(ended) == 5

    await eventually(all_ended, what="every order refused")


async def shows(process: ServiceProcess, line: str) -> bool:
    """Whether the service's metrics have this line."""
    async with httpx.AsyncClient() as client:
        return line in (await client.get(f"{process.url}/metrics")).text.splitlines()


async def test_an_answer_to_no_saga_is_a_dead_letter_and_one_without_saga_is_skipped(
    database: Databases, service: Services, topics: Topics
) -> None:
    held = await database("order_saga")
    await service("order_saga", held)
    order = an_order()
    answers = good_answers(order)
    stray = a_correlation(an_order_id(), "reserve_inventory")
    await topics.publish(
        a_record(answers["release_inventory"]), a_record(answers["reserve_inventory"], correlation=stray)
    )

    async def dead() -> bool:
        return [row[0] for row in await held.rows("SELECT reason FROM dead_letters")] == ["unknown_saga"]

    await eventually(dead, what="one dead letter")
