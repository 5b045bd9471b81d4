"""The gateway as it runs: relay, streams, a stop under load, a restart, and a topic that lost its records."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID, uuid4

import httpx
import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from devstack.readiness import free_port
from libs.contracts.order_saga import SagaCreateOrder
from libs.contracts.topics import ORDER_SAGA_COMMANDS
from libs.contracts.values import OrderId, UserId
from tests.gateway.front import Headers, an_order
from tests.order_history.stories import Story, told
from tests.support.builders import a_record
from tests.support.services import ServiceProcess
from tests.support.topics import Topics
from tests.support.waiting import eventually

pytestmark = pytest.mark.integration

Start = Callable[..., Awaitable[ServiceProcess]]
PASSWORD = "a long way to the market"


@dataclass(frozen=True, slots=True)
class Customer:
    """Somebody who is signed in at a running gateway."""

    http: httpx.AsyncClient
    user_id: UserId
    headers: Headers

    async def order(self) -> str:
        """Place an order; its id."""
        headers = {**self.headers, "Idempotency-Key": uuid4().hex}
        answer = await self.http.post("/api/orders", json=an_order(), headers=headers)
        assert answer.status_code == httpx.codes.ACCEPTED, answer.text
        return str(answer.json()["order_id"])


@asynccontextmanager
async def a_customer(gateway: ServiceProcess) -> AsyncIterator[Customer]:
    async with httpx.AsyncClient(base_url=gateway.url, timeout=30, limits=httpx.Limits()) as http:
        account = {"name": "Ada", "email": f"{uuid4().hex}@example.com", "password": PASSWORD}
        user_id = (await http.post("/auth/register", json=account)).json()["user_id"]
        login = {"email": account["email"], "password": PASSWORD}
        token = (await http.post("/auth/login", json=login)).json()["access_token"]
        yield Customer(http, UserId(UUID(user_id)), {"Authorization": f"Bearer {token}"})


async def history_of(start: Start, gateway: ServiceProcess, port: int) -> ServiceProcess:
    """The read model on the port where the gateway looks for it."""
    return await start("order_history", GATEWAY_URL=gateway.url, HTTP_PORT=str(port))


class Events:
    """What a stream of server-sent events has brought so far."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.ids: list[str] = []
        self.ended = False

    async def read(self, customer: Customer, order_id: str, after: str | None = None) -> None:
        headers = {**customer.headers, **({"Last-Event-ID": after} if after else {})}
        async with customer.http.stream(
            "GET", f"/api/orders/{order_id}/events", headers=headers, timeout=60
        ) as answer:
            assert answer.status_code == httpx.codes.OK
            assert answer.headers["content-type"].startswith("text/event-stream")
            assert answer.headers["cache-control"] == "no-store"
            async for line in answer.aiter_lines():
                if line.startswith("event: "):
                    self.names.append(line.removeprefix("event: "))
                elif line.startswith("id: "):
                    self.ids.append(line.removeprefix("id: "))
        self.ended = True


async def test_an_accepted_order_is_sent(service: Start, topics: Topics) -> None:
    gateway = await service("gateway")
    async with a_customer(gateway) as customer:
        order_id = await customer.order()
        (record,) = await topics.expect(ORDER_SAGA_COMMANDS, 1)
        assert record.key == order_id.encode()
        assert record.header("saga_id") == order_id
        assert record.header("ce_source") == "/gateway"
        assert record.value is not None
        assert str(SagaCreateOrder.model_validate_json(record.value).user_id) == str(customer.user_id)

        async def relayed() -> bool:
            return await gateway.database.rows("SELECT 1 FROM outbox") == []

        await eventually(relayed)


async def test_a_stream_brings_the_timeline_as_it_comes(service: Start, topics: Topics) -> None:
    port = free_port()
    gateway = await service("gateway", ORDER_HISTORY_URL=f"http://127.0.0.1:{port}")
    await history_of(service, gateway, port)
    async with a_customer(gateway) as customer:
        order_id = await customer.order()
        story = Story(user_id=customer.user_id, order_id=OrderId(UUID(order_id)))
        events, late = Events(), Events()
        reading = asyncio.create_task(events.read(customer, order_id))
        *before, last = [a_record(m.body, message_id=m.id) for m in story.completes()]
        for n, record in enumerate(before, start=1):
            await topics.publish(record)

            async def arrived(count: int = n) -> bool:
                return len(events.names) == count

            await eventually(arrived, what=f"{n} events")
        assert not events.ended
        await topics.publish(last)
        await asyncio.wait_for(reading, timeout=15)
        assert events.names == ["created", "validated", "reserved", "paid", "completed"]
        await late.read(customer, order_id, after=events.ids[2])
        assert late.names == ["paid", "completed"]


async def test_a_stream_survives_the_read_model(service: Start, topics: Topics) -> None:
    port = free_port()
    gateway = await service("gateway", ORDER_HISTORY_URL=f"http://127.0.0.1:{port}")
    history = await history_of(service, gateway, port)
    async with a_customer(gateway) as customer:
        order_id = await customer.order()
        story = Story(user_id=customer.user_id, order_id=OrderId(UUID(order_id)))
        events = Events()
        reading = asyncio.create_task(events.read(customer, order_id))
        messages = story.completes()
        records = [a_record(m.body, message_id=m.id) for m in messages]
        await topics.publish(*records[:2])

        async def two() -> bool:
            return len(events.names) == 2

        await eventually(two)
        await history.kill()
        await topics.publish(*records[2:])
        await history.start()
        await asyncio.wait_for(reading, timeout=30)
        assert sorted(events.names) == ["completed", "created", "paid", "reserved", "validated"], "each once"


async def test_one_stream_too_many_is_refused(service: Start) -> None:
    gateway = await service("gateway", STREAMS_PER_USER="2", ORDER_HISTORY_URL="http://127.0.0.1:1")
    async with a_customer(gateway) as customer:
        order_id = await customer.order()
        path = f"/api/orders/{order_id}/events"
        async with (
            customer.http.stream("GET", path, headers=customer.headers) as first,
            customer.http.stream("GET", path, headers=customer.headers) as second,
        ):
            assert first.status_code == second.status_code == httpx.codes.OK
            third = await customer.http.get(path, headers=customer.headers)
            assert (third.status_code, third.json()["code"]) == (429, "too_many_streams")

        async def free_again() -> bool:
            async with customer.http.stream("GET", path, headers=customer.headers) as again:
                return again.status_code == httpx.codes.OK

        await eventually(free_again, within=20, what="the place of a stream that its client left")


async def test_a_stop_under_load_ends_streams_and_loses_no_accepted_order(
    service: Start, topics: Topics
) -> None:
    gateway = await service("gateway", STREAMS_PER_USER="100", ORDER_HISTORY_URL="http://127.0.0.1:1")
    accepted: set[str] = set()
    async with a_customer(gateway) as customer:
        watched = await customer.order()
        accepted.add(watched)
        streams = [Events() for _ in range(50)]
        reading = [asyncio.create_task(one.read(customer, watched)) for one in streams]

        async def load() -> None:
            while True:
                try:
                    accepted.add(await customer.order())
                except (httpx.TransportError, AssertionError):
                    return

        loading = [asyncio.create_task(load()) for _ in range(20)]

        async def busy() -> bool:
            return len(accepted) > 100

        await eventually(busy, within=30)
        started = time.monotonic()
        assert await gateway.stop(), "it ends by itself"
        assert time.monotonic() - started <= 10
        await asyncio.wait_for(asyncio.gather(*loading), timeout=15)
        await asyncio.wait_for(asyncio.gather(*reading), timeout=15)
        assert all(one.ended for one in streams), "every stream was ended, none broken"
    stored = await gateway.database.rows("SELECT order_id::text FROM order_intents")
    assert accepted <= {order_id for (order_id,) in stored}
    sent = {record.key.decode() for record in await topics.read(ORDER_SAGA_COMMANDS) if record.key}
    left = {key for (key,) in await gateway.database.rows("SELECT key FROM outbox")}
    assert accepted <= sent | left


async def test_a_stop_answers_who_waits_for_an_end(service: Start) -> None:
    gateway = await service("gateway", ORDER_HISTORY_URL="http://127.0.0.1:1")
    async with a_customer(gateway) as customer:
        headers = {**customer.headers, "Idempotency-Key": uuid4().hex, "Prefer": "wait=30"}
        waiting = asyncio.create_task(
            customer.http.post("/api/orders", json=an_order(), headers=headers, timeout=60)
        )

        async def durable() -> bool:
            return await gateway.database.rows("SELECT 1 FROM order_intents") != []

        await eventually(durable, within=20)
        assert await gateway.stop(), "it ends by itself"
        answer = await asyncio.wait_for(waiting, timeout=15)
        assert (answer.status_code, answer.json()["status"]) == (httpx.codes.ACCEPTED, "pending")


async def test_a_key_is_known_after_a_restart(service: Start) -> None:
    gateway = await service("gateway")
    async with a_customer(gateway) as customer:
        headers = {**customer.headers, "Idempotency-Key": "before-the-restart"}
        body = an_order()
        first = await customer.http.post("/api/orders", json=body, headers=headers)
        await gateway.kill()
        await gateway.start()
        again = await customer.http.post("/api/orders", json=body, headers=headers)
        assert again.status_code == httpx.codes.ACCEPTED
        assert again.headers["idempotency-replayed"] == "true"
        assert again.json() == first.json()


async def test_a_topic_that_lost_its_records_loses_no_order(service: Start, topics: Topics) -> None:
    """What reached Kafka and vanished there is sent again, until the read model shows its effect."""
    port = free_port()
    gateway = await service(
        "gateway",
        ORDER_HISTORY_URL=f"http://127.0.0.1:{port}",
        RESEND_AFTER_SECONDS="1",
        SETTLE_EVERY_SECONDS="0.2",
    )
    await history_of(service, gateway, port)
    async with a_customer(gateway) as customer:
        order_id = await customer.order()
        (first,) = await topics.expect(ORDER_SAGA_COMMANDS, 1)
        await forget(topics, ORDER_SAGA_COMMANDS)
        assert await topics.read(ORDER_SAGA_COMMANDS) == []
        again, *_ = await topics.expect(ORDER_SAGA_COMMANDS, 1)
        assert again.header("ce_id") == first.header("ce_id"), "who had it already will drop it"
        assert (again.key, again.value) == (first.key, first.value)
        story = Story(user_id=customer.user_id, order_id=OrderId(UUID(order_id)))
        await topics.publish(*(a_record(m.body, message_id=m.id) for m in told(story.created())))

        async def closed() -> bool:
            return await gateway.database.rows("SELECT 1 FROM order_intents") == []

        await eventually(closed)
        view = await customer.http.get(f"/api/orders/{order_id}", headers=customer.headers)
        assert [entry["event"] for entry in view.json()["timeline"]] == ["created"]


async def forget(topics: Topics, topic: str) -> None:
    """Delete everything that lies in a topic now."""
    admin = AIOKafkaAdminClient(bootstrap_servers=topics.bootstrap_servers)
    await admin.start()
    try:
        everything = {
            TopicPartition(topics.prefix + topic, number): RecordsToDelete(before_offset=-1)
            for number in range(topics.partitions)
        }
        await admin.delete_records(everything)
    finally:
        await admin.close()


async def test_what_it_says_of_itself(service: Start) -> None:
    gateway = await service("gateway")
    async with a_customer(gateway) as customer:
        await customer.order()
        assert (await customer.http.get("/readyz")).json() == {"status": "ready"}
        assert 'gateway_orders_total{answer="Accepted"} 1.0' in (await customer.http.get("/metrics")).text
    log = gateway.tail()
    assert PASSWORD not in log
    assert "eyJ" not in log, "a token in the log"
