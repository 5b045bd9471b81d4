"""Waiting for an order: until it has ended, or entry by entry as a stream."""

import asyncio
from dataclasses import replace
from functools import partial
from uuid import uuid4

import httpx
import pytest

from libs.contracts.message import Contract
from libs.contracts.values import OrderId, UserId
from libs.messaging.message import Message
from libs.outbox.transaction import Asked
from order_history import store
from order_history.api import Arrivals, Pace, router
from order_history.app import service
from order_history.store import Found
from tests.order_history.api.customers import mine
from tests.order_history.rows import folded
from tests.order_history.stories import Story, told
from tests.support.api import asked
from tests.support.databases import Database

pytestmark = pytest.mark.integration


async def commit(history: Database, messages: list[Message[Contract]]) -> None:
    """Fold, and tell those who wait in this process, as the host does after a commit."""
    (histories,) = await folded(history, messages)
    assert service.committed is not None
    service.committed(None, histories)  # type: ignore[arg-type]


def ids(stream: str) -> list[str]:
    return [line.removeprefix("id: ") for line in stream.splitlines() if line.startswith("id: ")]


async def test_a_wait_ends_with_the_order(history: Database, api: httpx.AsyncClient) -> None:
    story = Story()
    messages = story.completes()
    await folded(history, messages[:1])
    waiting = asyncio.create_task(
        api.get(f"/orders/{story.order_id}?wait_seconds=30", headers=mine(story.user_id), timeout=40)
    )
    for message in messages[1:]:
        _, pending = await asyncio.wait([waiting], timeout=0.05)
        assert pending
        await commit(history, [message])
    answer = await asyncio.wait_for(waiting, 2)
    assert answer.json()["status"] == "completed"
    assert len(answer.json()["timeline"]) == 5


async def test_who_waits_for_the_end_looks_at_the_beginning_and_at_the_end(
    history: Database, api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []
    look = store.order

    async def counted(database: Asked, order_id: OrderId, owner: UserId) -> Found | None:
        looks.append(order_id)
        return await look(database, order_id, owner)

    monkeypatch.setattr(store, "order", counted)
    story = Story()
    waiting = asyncio.create_task(
        api.get(f"/orders/{story.order_id}?wait_seconds=30", headers=mine(story.user_id), timeout=40)
    )
    for message in story.completes():
        await asyncio.wait([waiting], timeout=0.1)
        await commit(history, [message])
    assert (await asyncio.wait_for(waiting, 2)).json()["status"] == "completed"
    assert len(looks) == 2


async def test_a_wait_for_an_order_that_is_yet_to_come_finds_it(
    history: Database, api: httpx.AsyncClient
) -> None:
    story = Story()
    waiting = asyncio.create_task(
        api.get(f"/orders/{story.order_id}?wait_seconds=30", headers=mine(story.user_id), timeout=40)
    )
    _, pending = await asyncio.wait([waiting], timeout=0.1)
    assert pending
    await commit(history, story.runs_short())
    assert (await asyncio.wait_for(waiting, 2)).json()["status"] == "cancelled"


async def test_a_wait_that_is_over_answers_with_what_there_is(
    history: Database, api: httpx.AsyncClient
) -> None:
    story = Story()
    await folded(history, told(story.created()))
    answer = await api.get(f"/orders/{story.order_id}?wait_seconds=1", headers=mine(story.user_id))
    assert answer.json()["status"] == "pending"


async def test_an_end_that_came_before_what_led_to_it_is_told_when_it_is_whole(
    history: Database, api: httpx.AsyncClient
) -> None:
    """The topics have no common order: here the payment's event is read last."""
    story = Story()
    created, validated, reserved, paid, completed = story.completes()
    await folded(history, [created, validated, reserved, completed])
    waiting = asyncio.create_task(
        api.get(f"/orders/{story.order_id}?wait_seconds=30", headers=mine(story.user_id), timeout=40)
    )
    _, pending = await asyncio.wait([waiting], timeout=0.2)
    assert pending
    await commit(history, [paid])
    answer = await asyncio.wait_for(waiting, 2)
    assert [entry["event"] for entry in answer.json()["timeline"]][3:] == ["paid", "completed"]


async def test_a_stream_of_an_ended_order_tells_all_and_ends(
    history: Database, api: httpx.AsyncClient
) -> None:
    story = Story()
    messages = story.completes()
    await folded(history, messages)
    answer = await api.get(f"/orders/{story.order_id}/events", headers=mine(story.user_id))
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert ids(answer.text) == [str(message.id) for message in messages]
    assert "event: created\ndata: {" in answer.text
    assert 'data: {"event":"reserved","at":"2026-03-01T12:00:02.000000Z"}' in answer.text


async def test_a_stream_goes_on_after_the_last_event_that_was_seen(
    history: Database, api: httpx.AsyncClient
) -> None:
    story = Story()
    messages = story.completes()
    await folded(history, messages)
    for seen, left in ((messages[2].id, 2), (messages[4].id, 0), (uuid4(), 5), ("nonsense", 5)):
        headers = {**mine(story.user_id), "Last-Event-ID": str(seen)}
        answer = await api.get(f"/orders/{story.order_id}/events", headers=headers)
        assert answer.status_code == 200
        assert ids(answer.text) == [str(message.id) for message in messages[5 - left :]]


async def test_a_silent_stream_says_that_it_lives(history: Database) -> None:
    arrivals = Arrivals()
    quick = replace(service, api=partial(router, arrivals=arrivals, pace=Pace(keep_alive=0.02)))
    story = Story()
    messages = story.runs_short()
    await folded(history, messages[:1])
    async with asked(quick, history) as client:
        listening = asyncio.create_task(
            client.get(f"/orders/{story.order_id}/events", headers=mine(story.user_id), timeout=30)
        )
        _, pending = await asyncio.wait([listening], timeout=0.5)
        assert pending
        await folded(history, messages[1:])
        arrivals.tell([story.order_id])
        answer = await asyncio.wait_for(listening, 2)
    assert answer.text.count(": keep-alive\n\n") > 2
    assert [line for line in answer.text.splitlines() if line.startswith("event: ")] == [
        "event: created",
        "event: validated",
        "event: cancelling",
        "event: cancelled",
    ]
