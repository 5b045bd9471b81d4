"""Filters, sorts and pages of one's orders; what does not fit is refused."""

import base64
import json
from uuid import uuid4

import httpx
import pytest

from tests.order_history.api.customers import mine, three_orders
from tests.order_history.rows import folded
from tests.order_history.stories import Story, told
from tests.support.builders import a_user_id, an_order_id
from tests.support.databases import Database

pytestmark = pytest.mark.integration

CURSOR_OF_ANOTHER_SORT = base64.urlsafe_b64encode(
    json.dumps(["total", None, 5, str(an_order_id())]).encode()
).decode()


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
