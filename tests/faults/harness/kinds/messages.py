"""What lies in the topics: repeated, read again from the start, garbled, gone; and what Kafka knows of readers."""

import asyncio
from collections.abc import Sequence
from typing import Final
from uuid import UUID

import httpx
from uuid_utils.compat import uuid7

from tests.faults.harness import sql
from tests.faults.harness.broker import TOPICS, Broker, Raw
from tests.faults.harness.rounds import Kind, Trial
from tests.support.waiting import eventually

FROM_ZERO: Final = """
    UPDATE consumer_offsets SET next_offset = %s, last_message_id = NULL WHERE topic = %s AND partition = %s
"""
STORED: Final = "SELECT topic, partition, next_offset FROM consumer_offsets WHERE topic = %s"
GROUPS: Final = ("order_saga", "order", "product", "inventory", "payment", "order_history")
ALARM_WITHIN: Final = 30.0


async def duplicates(trial: Trial) -> None:
    """Every record of a while is written twice more, in any order."""
    broker = Broker(trial.stage.bootstrap)
    since = await broker.ends()
    await trial.under_load(80)
    records = (await broker.since(since)) * 2
    trial.random.shuffle(records)
    await broker.write(records)
    trial.note(f"{len(records) // 2} records of all topics written twice more")
    await trial.under_load(20)


async def replay(trial: Trial) -> None:
    """Every consumer reads all of its topics again from their first record."""
    broker = Broker(trial.stage.bootstrap)
    starts = await broker.starts()
    for service in trial.random.sample(GROUPS, len(GROUPS)):
        await trial.stage.stop(service)
        back = 0
        for topic, partition, next_offset in await sql.rows(
            trial.stage.admin_dsn, service, STORED.partition(" WHERE")[0]
        ):
            start = starts[topic, partition]
            await sql.rows(trial.stage.admin_dsn, service, FROM_ZERO, [start, topic, partition])
            back += next_offset - start
        await trial.stage.start(service)
        trial.note(f"{service} reads {back} records again")


async def poison(trial: Trial) -> None:
    """Records that nobody can read, on every topic, under keys of orders under way."""
    orders = sorted(trial.load.accepted)[-20:]
    records = [garbled for topic in TOPICS for garbled in _garbled(topic, trial.random.choice(orders))]
    trial.random.shuffle(records)
    trial.poison |= set(await Broker(trial.stage.bootstrap).write(records))
    trial.note(f"{len(records)} unreadable records on {len(TOPICS)} topics")
    await trial.under_load(20)


def _garbled(topic: str, order: UUID) -> Sequence[Raw]:
    """Not JSON, of no known type, without the headers that everything carries, and with nothing at all."""
    key, owner = str(order).encode(), topic.rpartition("-")[0].replace("-", "_")

    def headers(wire: str) -> tuple[tuple[str, bytes], ...]:
        named = {
            "ce_specversion": "1.0",
            "ce_id": str(uuid7()),
            "ce_source": "/nobody",
            "ce_type": wire,
            "ce_time": "2030-01-01T00:00:00Z",
            "content-type": "application/json",
        }
        return tuple((name, value.encode()) for name, value in named.items())

    return (
        Raw(topic, -1, key, b"\xff{", headers(KNOWN_TYPE[topic])),
        Raw(topic, -1, key, b"{}", headers(f"{owner}.Abracadabra.v7")),
        Raw(topic, -1, key, b"{}", ()),
        Raw(topic, -1, key, None, headers(KNOWN_TYPE[topic])),
    )


KNOWN_TYPE: Final = {
    "order-saga-commands": "order_saga.SagaCreateOrder.v1",
    "order-commands": "order.CreateOrder.v1",
    "product-commands": "product.ValidateProducts.v1",
    "inventory-commands": "inventory.ReserveInventory.v1",
    "payment-commands": "payment.ProcessPayment.v1",
    "order-events": "order.OrderCompleted.v1",
    "product-events": "product.ProductsValidated.v1",
    "inventory-events": "inventory.InventoryReserved.v1",
    "payment-events": "payment.PaymentCompleted.v1",
}


async def offsets_deleted(trial: Trial) -> None:
    """Kafka forgets every group and how far it had read: the databases know."""
    await asyncio.gather(*(trial.stage.stop(service) for service in GROUPS))
    await Broker(trial.stage.bootstrap).forget_groups(GROUPS)
    trial.note("all groups and their committed offsets deleted")
    await trial.stage.start(*GROUPS)


async def retention_ran_past(trial: Trial) -> None:
    """Commands that nobody had read are gone: an alarm each, settled by the operator's command; steps come again."""
    for service, topic in (("inventory", "inventory-commands"), ("order_saga", "order-saga-commands")):
        await trial.stage.kill(service)
        trial.note(f"SIGKILL {service}; its commands pile up")
        before = await Broker(trial.stage.bootstrap).ends([topic])
        await trial.under_load(30)
        starts = await Broker(trial.stage.bootstrap).forget(topic)
        gone = sum(starts[place] - before[place] for place in starts)
        trial.note(f"retention took {topic}, {gone} records and more of them unread")
        process = trial.stage.launch(service)
        alarmed = await _alarmed(trial, service)
        trial.note(f"{service} says: {alarmed}")
        stored = await sql.rows(trial.stage.admin_dsn, service, STORED, [topic])
        settled = [
            trial.stage.command(
                service, "accept-offset", service, name, str(number), str(starts[name, number])
            )
            for name, number, next_offset in stored
            if next_offset < starts[name, number]
        ]
        for told in await asyncio.gather(*settled):
            trial.note(told)
        await trial.stage.ready(service)
        assert process.alive, f"{service} ended"


async def _alarmed(trial: Trial, service: str) -> str:
    """What the service answers when it is asked whether it is ready: the command that settles it."""
    async with httpx.AsyncClient(base_url=trial.stage.layout.service_url(service), timeout=5) as http:

        async def ask() -> str:
            try:
                answer = await http.get("/readyz")
            except httpx.TransportError as error:
                raise AssertionError(repr(error)) from error
            assert "accept-offset" in answer.text, answer.text
            return str(answer.json()["detail"])

        return await eventually(ask, within=ALARM_WITHIN, every=0.1, what=f"{service}'s alarm")


KINDS: Final = (
    Kind("duplicates", "every record three times", duplicates),
    Kind("replay", "all topics read again from zero by everybody", replay, rate=15),
    Kind("poison", "unreadable records on every topic", poison),
    Kind("offsets_deleted", "Kafka's consumer groups and offsets deleted", offsets_deleted),
    Kind("retention_ran_past", "retention took commands that nobody had read", retention_ran_past, rate=20),
)
