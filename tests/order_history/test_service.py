"""The read model as a process: from the topics to those who wait and those who listen."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from devstack.readiness import free_port
from libs.contracts.values import UserId
from tests.order_history.rows import record_of
from tests.order_history.stories import Story, told
from tests.support.api import TestKeys, bearer
from tests.support.databases import Database
from tests.support.services import ServiceProcess
from tests.support.topics import Topics
from tests.support.waiting import eventually

pytestmark = pytest.mark.integration

Services = Callable[..., Awaitable[ServiceProcess]]
Databases = Callable[[str], Awaitable[Database]]


@pytest.fixture(scope="module")
async def gateway_url() -> AsyncIterator[str]:
    """Where the tests' public key is published, as the gateway publishes its own."""
    keys = [key.as_dict(private=False) for key in (await TestKeys().keys()).values()]
    app = Starlette(routes=[Route("/.well-known/jwks.json", lambda _: JSONResponse({"keys": keys}))])
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_config=None, lifespan="off"))
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    serving = asyncio.create_task(server.serve())

    async def started() -> bool:
        return server.started

    await eventually(started, what="the keys' server")
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    await serving


def mine(user_id: UserId, **headers: str) -> Mapping[str, str]:
    return {**bearer("customer", user_id=user_id), **headers}


class Listener:
    """A client of an order's stream, which remembers what it was told."""

    def __init__(self, service: ServiceProcess, story: Story) -> None:
        self._url = f"{service.url}/orders/{story.order_id}/events"
        self._user_id = story.user_id
        self.told: list[str] = []
        self.ids: list[str] = []
        self.comments = 0

    async def listen(self, last_event_id: str | None = None) -> None:
        """Until the stream ends."""
        headers = mine(self._user_id, **({"Last-Event-ID": last_event_id} if last_event_id else {}))
        async with (
            httpx.AsyncClient(timeout=30) as client,
            client.stream("GET", self._url, headers=headers) as answer,
        ):
            assert answer.status_code == 200
            async for line in answer.aiter_lines():
                field, _, value = line.partition(": ")
                match field:
                    case "event":
                        self.told.append(value)
                    case "id":
                        self.ids.append(value)
                    case "data":
                        assert json.loads(value)["event"] == self.told[-1]
                    case "":
                        self.comments += value == "keep-alive"

    async def heard(self, count: int) -> None:
        async def ask() -> bool:
            return len(self.told) >= count

        await eventually(ask, what=f"{count} entries heard, not {self.told}")


async def known(history: Database, story: Story) -> None:
    async def ask() -> bool:
        return bool(await history.rows("SELECT FROM orders WHERE order_id = %s", story.order_id))

    await eventually(ask, what="the order in the read model")


async def test_a_stream_tells_each_event_as_it_comes_and_ends_with_the_order(
    database: Databases, service: Services, topics: Topics, gateway_url: str
) -> None:
    history = await database("order_history")
    process = await service("order_history", history, GATEWAY_URL=gateway_url)
    story = Story()
    messages = story.completes()
    await topics.publish(record_of(messages[0]))
    await known(history, story)
    listener = Listener(process, story)
    listening = asyncio.create_task(listener.listen())
    for count, message in enumerate(messages[1:], start=2):
        await topics.publish(record_of(message))
        await listener.heard(count)
    await asyncio.wait_for(listening, 5)
    assert listener.told == ["created", "validated", "reserved", "paid", "completed"]
    assert listener.ids == [str(message.id) for message in messages]
    again = Listener(process, story)
    await again.listen(listener.ids[1])
    assert again.told == ["reserved", "paid", "completed"]


async def test_what_another_process_folds_is_told_as_well(
    database: Databases, service: Services, topics: Topics, gateway_url: str
) -> None:
    history = await database("order_history")
    processes = [await service("order_history", history, GATEWAY_URL=gateway_url) for _ in range(2)]
    stories = [Story() for _ in range(4)]
    await topics.publish(*(record_of(story.completes()[0]) for story in stories))
    for story in stories:
        await known(history, story)
    listeners = [Listener(process, story) for process in processes for story in stories]
    async with httpx.AsyncClient(timeout=30) as client, asyncio.TaskGroup() as group:
        for listener in listeners:
            group.create_task(listener.listen())
        waits = [
            group.create_task(
                client.get(
                    f"{process.url}/orders/{story.order_id}?wait_seconds=20", headers=mine(story.user_id)
                )
            )
            for process in processes
            for story in stories
        ]
        for listener in listeners:
            await listener.heard(1)
        for story in stories:
            rest = told(story.validated(), story.reserved(), story.paid(), story.completed())
            await topics.publish(*(record_of(message) for message in rest))
    assert {wait.result().json()["status"] for wait in waits} == {"completed"}
    assert all(sorted(listener.told) == sorted(listeners[0].told) for listener in listeners)


async def test_a_stop_ends_streams_and_answers_those_who_wait(
    database: Databases, service: Services, topics: Topics, gateway_url: str
) -> None:
    history = await database("order_history")
    process = await service("order_history", history, GATEWAY_URL=gateway_url)
    story = Story()
    await topics.publish(record_of(told(story.created())[0]))
    await known(history, story)
    listeners = [Listener(process, story) for _ in range(20)]
    async with httpx.AsyncClient(timeout=30) as client, asyncio.TaskGroup() as group:
        for listener in listeners:
            group.create_task(listener.listen())
        wait = group.create_task(
            client.get(f"{process.url}/orders/{story.order_id}?wait_seconds=30", headers=mine(story.user_id))
        )
        for listener in listeners:
            await listener.heard(1)
        started = asyncio.get_running_loop().time()
        assert await process.stop(), "it had to be killed"
        assert asyncio.get_running_loop().time() - started < 5
    assert wait.result().json()["status"] == "pending"
