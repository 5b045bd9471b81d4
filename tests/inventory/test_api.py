"""Tries what operators see and enter, over HTTP on the real database."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from uuid import UUID

import httpx
import pytest

from inventory.api import MAX_ON_HAND
from inventory.app import service
from libs.service.auth import CUSTOMER
from tests.support.api import as_operator, asked, bearer
from tests.support.builders import a_product_id
from tests.support.databases import Database

pytestmark = pytest.mark.integration


class Desk:
    """An operator at work on one product."""

    def __init__(self, client: httpx.AsyncClient, database: Database) -> None:
        self.client = client
        self.database = database
        self.product_id: UUID = a_product_id()
        self.url = f"/stock/{self.product_id}"

    async def put(self, **change: object) -> httpx.Response:
        return await self.client.put(self.url, json=change, headers=as_operator())

    async def get(self) -> httpx.Response:
        return await self.client.get(self.url, headers=as_operator())

    def view(self, on_hand: int, *, reserved: int = 0, sold: int = 0) -> dict[str, object]:
        return {
            "product_id": str(self.product_id),
            "on_hand": on_hand,
            "reserved": reserved,
            "available": on_hand - reserved,
            "sold": sold,
        }

    async def holding(self, on_hand: int, reserved: int, sold: int = 0) -> None:
        await self.database.rows(
            "INSERT INTO stock VALUES (%s, %s, %s, %s)", self.product_id, on_hand, reserved, sold
        )


@pytest.fixture
async def desk(database: Callable[[str], Awaitable[Database]]) -> AsyncIterator[Desk]:
    fresh = await database("inventory")
    async with asked(service, fresh) as client:
        yield Desk(client, fresh)


async def test_stock_is_entered_counted_and_adjusted(desk: Desk) -> None:
    for change, on_hand in (
        ({"on_hand": 5}, 5),
        ({"adjust": 7}, 12),
        ({"adjust": -12}, 0),
        ({"on_hand": 9}, 9),
    ):
        answer = await desk.put(**change)
        assert (answer.status_code, answer.json()) == (200, desk.view(on_hand))
        assert (await desk.get()).json() == desk.view(on_hand)


async def test_a_delivery_of_a_product_that_never_had_stock(desk: Desk) -> None:
    assert (await desk.put(adjust=3)).json() == desk.view(3)


async def test_what_is_reserved_and_sold_is_shown_and_kept(desk: Desk) -> None:
    await desk.holding(8, 3, 4)
    assert (await desk.get()).json() == desk.view(8, reserved=3, sold=4)
    assert (await desk.put(on_hand=3)).json() == desk.view(3, reserved=3, sold=4)


@pytest.mark.parametrize("change", [{"on_hand": 2}, {"adjust": -6}, {"adjust": -MAX_ON_HAND}])
async def test_less_than_what_is_reserved_is_refused(desk: Desk, change: dict[str, int]) -> None:
    await desk.holding(8, 3)
    answer = await desk.put(**change)
    assert (answer.status_code, answer.json()["code"]) == (409, "below_reserved")
    assert "3 are reserved" in answer.json()["detail"]
    assert (await desk.get()).json() == desk.view(8, reserved=3)


async def test_a_refused_change_makes_no_stock(desk: Desk) -> None:
    assert (await desk.put(adjust=-1)).status_code == 409
    answer = await desk.get()
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"on_hand": 1, "adjust": 1},
        {"on_hand": None},
        {"on_hand": 1, "adjust": None},
        {"on_hand": -1},
        {"on_hand": MAX_ON_HAND + 1},
        {"adjust": MAX_ON_HAND + 1},
        {"on_hand": "5"},
        {"on_hand": 5.0},
        {"on_hand": True},
        {"adjust": 10**30},
        {"on_hand": 5, "sold": 1},
        {"reserved": 5},
    ],
)
async def test_a_change_is_exactly_one_whole_number(desk: Desk, change: dict[str, object]) -> None:
    answer = await desk.put(**change)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["errors"]
    assert await desk.database.rows("SELECT product_id FROM stock") == []


async def test_no_more_than_the_bound_is_on_hand(desk: Desk) -> None:
    await desk.put(on_hand=MAX_ON_HAND)
    answer = await desk.put(adjust=1)
    assert (answer.status_code, answer.json()["code"]) == (409, "too_many_in_stock")
    assert (await desk.get()).json() == desk.view(MAX_ON_HAND)


async def test_changes_at_once_are_all_counted(desk: Desk) -> None:
    answers = await asyncio.gather(*(desk.put(adjust=1) for _ in range(12)))
    assert [answer.status_code for answer in answers] == [200] * 12
    assert (await desk.get()).json() == desk.view(12)


@pytest.mark.parametrize("method", ["GET", "PUT"])
async def test_stock_is_for_operators(desk: Desk, method: str) -> None:
    await desk.holding(8, 3)
    for headers, status in (({}, 401), (bearer(CUSTOMER), 403), (bearer("admin"), 200)):
        body = {"on_hand": 8} if method == "PUT" else None
        answer = await desk.client.request(method, desk.url, json=body, headers=headers)
        assert answer.status_code == status
    assert await desk.database.row("SELECT on_hand, reserved FROM stock") == (8, 3)


async def test_an_address_that_is_no_product_id(desk: Desk) -> None:
    answer = await desk.client.get("/stock/tea", headers=as_operator())
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["in"] == "path"
