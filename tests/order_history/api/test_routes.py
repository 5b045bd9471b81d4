"""One's own orders with everything that is known of them, and nobody else's."""

from uuid import uuid4

import httpx
import pytest

from tests.order_history.api.customers import mine, three_orders
from tests.order_history.rows import folded
from tests.order_history.stories import Story, told
from tests.support.api import bearer
from tests.support.builders import a_user_id, an_order_id
from tests.support.databases import Database

pytestmark = pytest.mark.integration


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


async def test_an_id_that_is_none_is_a_problem(api: httpx.AsyncClient) -> None:
    answer = await api.get("/orders/42", headers=mine(a_user_id()))
    assert (answer.status_code, answer.json()["errors"][0]["in"]) == (422, "path")


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
