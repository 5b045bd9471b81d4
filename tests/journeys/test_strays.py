"""Messages that reach the orchestrator when nobody waits for them: journalled or buried, and nothing else."""

from uuid import UUID

import pytest

from bench.stack import StackInfo
from libs.contracts.inventory import InventoryReserved
from libs.contracts.values import OrderId
from tests.faults.platform import Platform, databases_at, platform
from tests.support.builders import a_correlation, a_record, an_order_id
from tests.support.shop import Customer, Operator
from tests.support.topics import Topics
from tests.support.waiting import eventually

STATE = "SELECT status, revision, updated_at FROM sagas WHERE id = %s"
LATE = "SELECT count(*) FROM saga_journal WHERE saga_id = %s AND kind = 'late'"
SENT = "SELECT count(*) FROM saga_journal WHERE saga_id = %s AND kind IN ('sent', 'resent')"
BURIED = 'SELECT reason FROM dead_letters WHERE topic = %s AND partition = %s AND "offset" = %s'


@pytest.mark.parametrize("outcome", ["completed", "cancelled"])
async def test_a_reply_after_the_end_is_journalled_as_late(
    info: StackInfo, customer: Customer, operator: Operator, outcome: str
) -> None:
    product = await operator.product(stock=5 if outcome == "completed" else 0)
    order_id = await customer.order(await customer.wallet(), [(product, 1)])
    before = await customer.ended(order_id)
    assert before.status == outcome
    async with platform(databases_at(info.postgres_admin)) as seen:
        await eventually(lambda: is_over(seen, order_id))
        [(status, revision, _)] = await seen.rows("order_saga", STATE, [order_id])
        sent = await seen.scalar("order_saga", SENT, [order_id])
        reply = InventoryReserved(order_id=OrderId(order_id))
        record = a_record(reply, correlation=a_correlation(order_id, "reserve_inventory"))
        await Topics(info.kafka_bootstrap, "", 3).publish(record)
        await eventually(lambda: counts(seen, order_id, 1), within=20)
        [(still, later, _)] = await seen.rows("order_saga", STATE, [order_id])
        assert (still, later) == (status, revision + 1)
        assert await seen.scalar("order_saga", SENT, [order_id]) == sent
    assert (await customer.look(order_id)).status == outcome


async def test_a_reply_for_an_unknown_saga_is_a_dead_letter(info: StackInfo) -> None:
    stranger = an_order_id()
    record = a_record(
        InventoryReserved(order_id=stranger), correlation=a_correlation(stranger, "reserve_inventory")
    )
    [placed] = await Topics(info.kafka_bootstrap, "", 3).publish(record)
    async with platform(databases_at(info.postgres_admin)) as seen:

        async def buried() -> bool:
            place = [placed.topic, placed.partition, placed.offset]
            assert await seen.rows("order_saga", BURIED, place) != []
            return True

        await eventually(buried, within=30)
        assert await seen.rows("order_saga", STATE, [stranger]) == []


async def is_over(seen: Platform, order_id: UUID) -> bool:
    """Whether the order's saga has ended."""
    rows = await seen.rows("order_saga", STATE, [order_id])
    return bool(rows) and rows[0][0] in {"completed", "compensated"}


async def counts(seen: Platform, order_id: UUID, late: int) -> bool:
    """Whether so many late replies are in the saga's journal."""
    return await seen.scalar("order_saga", LATE, [order_id]) == late
