"""The read model's routes on a real database: one's own orders, filters, pages, waiting, strict queries."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import timedelta
from functools import partial
from uuid import uuid4

import httpx
import pytest

from libs.contracts.message import Contract
from libs.contracts.values import UserId
from libs.messaging.message import Message
from order_history.api import Arrivals, Pace, router
from order_history.app import service
from order_history.domain.history import Histories
from tests.order_history.rows import ROUTES, folded
from tests.order_history.stories import Story, told
from tests.support.api import asked, bearer
from tests.support.builders import a_user_id, an_order_id
from tests.support.databases import Database, Databases

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
async def history(run_databases: Databases) -> AsyncIterator[Database]:
    """One database for all: each test has customers and orders of its own."""
    made = await run_databases.fresh("order_history")
    yield made
    await run_databases.drop(made)


@pytest.fixture
async def api(history: Database) -> AsyncIterator[httpx.AsyncClient]:
    async with asked(service, history) as client:
        yield client


def mine(user_id: UserId) -> Mapping[str, str]:
    return bearer("customer", user_id=user_id)


def commit(messages: list[Message[Contract]]) -> None:
    """Tell those who wait in this process, as the host does after a commit."""
    histories = Histories()
    for message in messages:
        ROUTES[type(message.body)](histories, message)
    assert service.committed is not None
    service.committed(None, histories)  # type: ignore[arg-type]


async def three_orders(history: Database, user_id: UserId) -> list[Story]:
    """A completed order of 10.00, a cancelled one of 20.00, a pending one of 30.00; an hour apart."""
    stories = [Story(user_id=user_id, lines=1, cents=cents) for cents in (1_000, 2_000, 3_000)]
    tellings = [
        stories[0].completes(),
        stories[1].runs_short(),
        told(stories[2].created(), stories[2].validated()),
    ]
    for hour, messages in enumerate(tellings):
        await folded(history, [m._replace(time=m.time + timedelta(hours=hour)) for m in messages])
    return stories


async def test_an_order_is_shown_with_everything_that_is_known(
    history: Database, api: httpx.AsyncClient
) -> None:
    story = Story(lines=1)
    messages = story.completes()
    await folded(history, messages)
    answer = await api.get(f"/orders/{story.order_id}", headers=mine(story.user_id))
    assert answer.status_code == 200
    assert answer.json() == {
        "order_id": str(story.order_id),
        "status": "completed",
        "reason_code": None,
        "reason": None,
        "lines": [
            {
                "product_id": str(story.lines[0].product_id),
                "name": "Product 1",
                "quantity": 1,
                "price": {"amount_minor": 1_000, "currency": "EUR"},
            }
        ],
        "total": {"amount_minor": 1_000, "currency": "EUR"},
        "payment": {
            "payment_id": str(story.payment_id),
            "method_id": str(story.method_id),
            "status": "completed",
        },
        "timeline": [
            {"event": "created", "at": "2026-03-01T12:00:00.000000Z"},
            {
                "event": "validated",
                "at": "2026-03-01T12:00:01.000000Z",
                "detail": {"total": {"amount_minor": 1_000, "currency": "EUR"}},
            },
            {"event": "reserved", "at": "2026-03-01T12:00:02.000000Z"},
            {
                "event": "paid",
                "at": "2026-03-01T12:00:03.000000Z",
                "detail": {"amount": {"amount_minor": 1_000, "currency": "EUR"}},
            },
            {
                "event": "completed",
                "at": "2026-03-01T12:00:04.000000Z",
                "detail": {"total": {"amount_minor": 1_000, "currency": "EUR"}},
            },
        ],
        "created_at": "2026-03-01T12:00:00.000000Z",
        "updated_at": "2026-03-01T12:00:04.000000Z",
    }


async def test_a_timeline_is_shown_in_the_order_of_things_whatever_came_first(
    history: Database, api: httpx.AsyncClient
) -> None:
    story = Story()
    await folded(history, *([message] for message in reversed(story.is_taken_back())))
    answer = await api.get(f"/orders/{story.order_id}", headers=mine(story.user_id))
    events = [entry["event"] for entry in answer.json()["timeline"]]
    assert events[:6] == ["created", "validated", "reserved", "paid", "completed", "cancelling"]
    assert events[6:] == ["released", "refunded", "cancelled"]
    assert answer.json()["payment"]["status"] == "refunded"
    assert answer.json()["reason_code"] == "cancelled_by_customer"


async def test_a_new_order_is_shown_before_anybody_has_priced_it(
    history: Database, api: httpx.AsyncClient
) -> None:
    story = Story(lines=1)
    await folded(history, told(story.created()))
    order = (await api.get(f"/orders/{story.order_id}", headers=mine(story.user_id))).json()
    assert (order["status"], order["total"]) == ("pending", None)
    assert order["lines"][0]["name"] is None
    assert order["lines"][0]["price"] is None
    assert order["payment"] == {"payment_id": None, "method_id": str(story.method_id), "status": "pending"}


@pytest.mark.parametrize("path", ["/orders/{id}", "/orders/{id}/events"])
async def test_what_is_not_yours_is_not_there(history: Database, api: httpx.AsyncClient, path: str) -> None:
    story = Story()
    await folded(history, story.completes())
    for who, order_id in ((a_user_id(), story.order_id), (story.user_id, an_order_id())):
        answer = await api.get(path.format(id=order_id), headers=mine(who))
        assert (answer.status_code, answer.json()["code"]) == (404, "order_not_found")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/orders", 401),
        ("GET", f"/orders/{uuid4()}", 401),
        ("GET", f"/orders/{uuid4()}/events", 401),
        ("POST", "/orders/lookup", 401),
    ],
)
async def test_without_a_token_nothing_is_told(
    api: httpx.AsyncClient, method: str, path: str, status: int
) -> None:
    answer = await api.request(method, path, json={"order_ids": []} if method == "POST" else None)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", [2, 1, 0]),
        ("sort=created_at", [0, 1, 2]),
        ("sort=-total", [2, 1, 0]),
        ("sort=total", [0, 1, 2]),
        ("status=completed", [0]),
        ("status=cancelled", [1]),
        ("status=pending", [2]),
        ("status=cancelling", []),
        ("from=2026-03-01T13:00:00Z", [2, 1]),
        ("to=2026-03-01T13:00:00Z", [0]),
        ("from=2026-03-01T13:00:00%2B01:00&to=2026-03-01T13:30:00Z", [1, 0]),
        ("min_total=2000", [2, 1]),
        ("max_total=2000", [1, 0]),
        ("min_total=1001&max_total=2999", [1]),
        ("product_id={product}", [1]),
        ("product_id={product}&status=completed", []),
    ],
)
async def test_filters_and_sorts(
    history: Database, api: httpx.AsyncClient, query: str, found: list[int]
) -> None:
    user_id = a_user_id()
    stories = await three_orders(history, user_id)
    await three_orders(history, a_user_id())
    query = query.format(product=stories[1].lines[0].product_id)
    answer = await api.get(f"/orders?{query}", headers=mine(user_id))
    assert answer.status_code == 200, answer.text
    numbers = {str(story.order_id): number for number, story in enumerate(stories)}
    assert [numbers[order["order_id"]] for order in answer.json()["items"]] == found
    assert answer.json()["next"] is None


@pytest.mark.parametrize("sort", ["-created_at", "created_at", "-total", "total"])
async def test_pages_hold_every_order_once_also_where_times_and_totals_are_alike(
    history: Database, api: httpx.AsyncClient, sort: str
) -> None:
    user_id = a_user_id()
    stories = [Story(user_id=user_id, lines=1, cents=100 * (n // 3)) for n in range(8)]
    await folded(history, *(told(s.created(), s.validated()) for s in stories[:6]))
    await folded(history, *(told(s.created()) for s in stories[6:]))
    seen: list[str] = []
    after: str | None = None
    while True:
        params = {"sort": sort, "limit": "3"} | ({"after": after} if after else {})
        answer = (await api.get("/orders", params=params, headers=mine(user_id))).json()
        assert len(answer["items"]) <= 3
        seen += [order["order_id"] for order in answer["items"]]
        after = answer["next"]
        if after is None:
            break
    assert len(seen) == len(set(seen)) == 8
    whole = (await api.get("/orders", params={"sort": sort}, headers=mine(user_id))).json()
    assert [order["order_id"] for order in whole["items"]] == seen


CURSOR_OF_ANOTHER_SORT = base64.urlsafe_b64encode(
    json.dumps(["total", None, 5, str(an_order_id())]).encode()
).decode()


@pytest.mark.parametrize(
    "query",
    [
        "status=done",
        "status=",
        "from=yesterday",
        "from=1700000000",
        "from=2026-03-01",
        "from=2026-03-01T12:00:00",
        "to=2026-13-01T12:00:00Z",
        "to=0001-01-01T00:00:00%2B10:00",
        "product_id=1",
        "min_total=-1",
        "min_total=1.5",
        "min_total=1_000",
        "max_total=9007199254740992",
        "max_total=1e3",
        "sort=name",
        "limit=0",
        "limit=101",
        "limit=ten",
        "limit=%2B5",
        "limit=5&limit=6",
        "after=x",
        "after=" + "A" * 300,
        f"after={CURSOR_OF_ANOTHER_SORT}",
        "page=2",
        "user_id=" + str(uuid4()),
    ],
)
async def test_a_query_that_does_not_fit_is_a_problem(api: httpx.AsyncClient, query: str) -> None:
    answer = await api.get(f"/orders?{query}", headers=mine(a_user_id()))
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "validation_failed"
    assert answer.json()["errors"][0]["in"] == "query"


@pytest.mark.parametrize("path", ["?wait_seconds=31", "?wait_seconds=-1", "?wait_seconds=1.5", "?wait=1"])
async def test_a_wait_is_whole_seconds_and_not_too_long(api: httpx.AsyncClient, path: str) -> None:
    answer = await api.get(f"/orders/{an_order_id()}{path}", headers=mine(a_user_id()))
    assert answer.status_code == 422


async def test_an_id_that_is_none_is_a_problem(api: httpx.AsyncClient) -> None:
    answer = await api.get("/orders/42", headers=mine(a_user_id()))
    assert (answer.status_code, answer.json()["errors"][0]["in"]) == (422, "path")


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
        await folded(history, [message])
        commit([message])
    answer = await asyncio.wait_for(waiting, 2)
    assert answer.json()["status"] == "completed"
    assert len(answer.json()["timeline"]) == 5


async def test_a_wait_for_an_order_that_is_yet_to_come_finds_it(
    history: Database, api: httpx.AsyncClient
) -> None:
    story = Story()
    waiting = asyncio.create_task(
        api.get(f"/orders/{story.order_id}?wait_seconds=30", headers=mine(story.user_id), timeout=40)
    )
    _, pending = await asyncio.wait([waiting], timeout=0.1)
    assert pending
    await folded(history, story.runs_short())
    commit(story.runs_short())
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
    await folded(history, [paid])
    commit([paid])
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


def ids(stream: str) -> list[str]:
    return [line.removeprefix("id: ") for line in stream.splitlines() if line.startswith("id: ")]


async def test_only_services_look_up_orders_of_everybody(history: Database, api: httpx.AsyncClient) -> None:
    stories = await three_orders(history, a_user_id())
    unknown = an_order_id()
    body = {"order_ids": [str(unknown), *(str(story.order_id) for story in stories)]}
    answer = await api.post("/orders/lookup", json=body, headers=bearer("service"))
    assert answer.json() == dict(
        zip(body["order_ids"][1:], ["completed", "cancelled", "pending"], strict=True)
    )
    for roles in (["customer"], ["operator"], []):
        assert (await api.post("/orders/lookup", json=body, headers=bearer(*roles))).status_code == 403


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"order_ids": "x"},
        {"order_ids": ["x"]},
        {"order_ids": [], "and": 1},
        {"order_ids": [str(uuid4())] * 1_001},
    ],
)
async def test_a_lookup_takes_up_to_a_thousand_ids_and_nothing_else(
    api: httpx.AsyncClient, body: dict[str, object]
) -> None:
    assert (await api.post("/orders/lookup", json=body, headers=bearer("service"))).status_code == 422
