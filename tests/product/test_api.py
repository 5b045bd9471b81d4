"""Tries the catalogue over HTTP, on the real database: what everybody sees and what operators change."""

from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from uuid import UUID, uuid4

import httpx
import pytest

from libs.contracts.values import MAX_MINOR
from libs.service.auth import CUSTOMER
from product.app import service
from tests.support.api import as_operator, asked, bearer
from tests.support.databases import Database

pytestmark = pytest.mark.integration


class Shop:
    """An operator who fills the catalogue, and everybody who looks at it."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client
        self.category_id = ""

    async def category(self, name: str) -> str:
        answer = await self.send("POST", "/categories", {"name": name})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    async def product(self, name: str, cents: int = 100, **fields: object) -> dict[str, object]:
        body = {
            "name": name,
            "category_id": self.category_id,
            "price": {"amount_minor": cents, "currency": "EUR"},
        }
        answer = await self.send("POST", "/products", body | fields)
        assert answer.status_code == 201, answer.text
        product: dict[str, object] = answer.json()
        return product

    async def send(self, method: str, path: str, body: object) -> httpx.Response:
        return await self.client.request(method, path, json=body, headers=as_operator())

    async def page(self, path: str = "/products", **query: object) -> dict[str, object]:
        answer = await self.client.get(path, params={name: str(value) for name, value in query.items()})
        assert answer.status_code == 200, answer.text
        page: dict[str, object] = answer.json()
        return page

    async def names(self, path: str = "/products", **query: object) -> list[str]:
        """The names on all pages, each page asked for with the cursor of the one before."""
        found: list[str] = []
        while True:
            page = await self.page(path, **query)
            items = page["items"]
            assert isinstance(items, list)
            found += [item["name"] for item in items]
            if page["next"] is None:
                return found
            assert items
            query["after"] = page["next"]


@pytest.fixture
async def shop(database: Callable[[str], Awaitable[Database]]) -> AsyncIterator[Shop]:
    async with asked(service, await database("product")) as client:
        shop = Shop(client)
        shop.category_id = await shop.category("Kitchen")
        yield shop


async def test_a_product_is_added_and_seen_without_a_token(shop: Shop) -> None:
    product = await shop.product("  Cafe\u0301 cup ", 1_250)
    assert product == {
        "id": product["id"],
        "name": "Caf\u00e9 cup",
        "category_id": shop.category_id,
        "price": {"amount_minor": 1_250, "currency": "EUR"},
        "active": True,
    }
    assert UUID(str(product["id"])).version == 7
    assert (await shop.client.get(f"/products/{product['id']}")).json() == product
    assert await shop.page() == {"items": [product], "next": None}
    expired = {"Authorization": "Bearer no.token.atall"}
    assert (await shop.client.get("/products", headers=expired)).status_code == 200


async def test_a_product_is_changed_field_by_field(shop: Shop) -> None:
    product = await shop.product("Cup")
    url, garden = f"/products/{product['id']}", await shop.category("Garden")
    for change in ({"name": "Mug"}, {"category_id": garden}, {"active": False}, {}):
        product |= change
        answer = await shop.send("PATCH", url, change)
        assert (answer.status_code, answer.json()) == (200, product)
    assert (await shop.client.get(url)).json() == product
    assert await shop.names() == []
    await shop.send("PATCH", url, {"active": True, "name": "Bowl"})
    assert await shop.names() == ["Bowl"]


async def test_a_price_is_set(shop: Shop) -> None:
    product = await shop.product("Cup", 100)
    price = {"amount_minor": MAX_MINOR, "currency": "USD"}
    answer = await shop.send("PUT", f"/products/{product['id']}/price", price)
    assert (answer.status_code, answer.json()) == (200, product | {"price": price})


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("name", ["apple", "Banana", "cherry", "cherry", "Éclair"]),
        ("-name", ["Éclair", "cherry", "cherry", "Banana", "apple"]),
        ("price", ["Banana", "cherry", "apple", "cherry", "Éclair"]),
        ("-price", ["Éclair", "cherry", "apple", "cherry", "Banana"]),
        ("newest", ["Banana", "Éclair", "cherry", "apple", "cherry"]),
    ],
)
@pytest.mark.parametrize("limit", [1, 2, 5, 100])
async def test_every_sort_is_the_same_on_pages_of_any_size(
    shop: Shop, sort: str, expected: list[str], limit: int
) -> None:
    for name, cents in (("cherry", 200), ("apple", 300), ("cherry", 300), ("Éclair", 400), ("Banana", 100)):
        await shop.product(name, cents)
    await shop.product("Withdrawn", 250, active=False)
    names = await shop.names(sort=sort, limit=limit)
    assert names == expected


async def test_a_page_goes_on_where_the_one_before_ended_whatever_was_added(shop: Shop) -> None:
    for name in ("b", "d", "f"):
        await shop.product(name)
    first = await shop.page(limit=2)
    await shop.product("a")
    await shop.product("e")
    assert await shop.names(limit=2, after=first["next"]) == ["e", "f"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("CUP", ["Blue cup", "Cup 100%", "cup_holder"]),
        ("%", ["Cup 100%"]),
        ("_", ["cup_holder"]),
        ("\\", ["Back\\slash"]),
        ("'", ["Baker's hat"]),
        ("STRASSE", ["Straße"]),
        ("éclair", ["Éclair"]),
        ("e\u0301CLAIR", ["Éclair"]),
        ("cup holder", []),
        ("", ["Back\\slash", "Baker's hat", "Blue cup", "Cup 100%", "cup_holder", "Straße", "Éclair"]),
    ],
)
async def test_a_part_of_the_name_is_found_in_any_case_and_taken_literally(
    shop: Shop, text: str, found: list[str]
) -> None:
    for name in ("Blue cup", "Cup 100%", "cup_holder", "Back\\slash", "Baker's hat", "Straße", "Éclair"):
        await shop.product(name)
    assert await shop.names(q=text, limit=2) == found


async def test_products_of_one_category(shop: Shop) -> None:
    garden = await shop.category("Garden")
    await shop.product("Cup")
    await shop.product("Rake", category_id=garden)
    await shop.product("Old rake", category_id=garden, active=False)
    assert await shop.names(category_id=garden) == ["Rake"]
    assert await shop.names(category_id=garden, q="cup") == []
    assert await shop.names(category_id=uuid4()) == []


async def test_categories_are_listed_by_name(shop: Shop) -> None:
    for name in ("garden", "Attic", "Éclairs"):
        await shop.category(name)
    for limit in (1, 3, 100):
        assert await shop.names("/categories", limit=limit) == ["Attic", "garden", "Kitchen", "Éclairs"]


async def test_a_category_has_a_name_of_its_own(shop: Shop) -> None:
    answer = await shop.send("POST", "/categories", {"name": " KITCHEN "})
    assert (answer.status_code, answer.json()["code"]) == (409, "category_name_taken")
    assert await shop.names("/categories") == ["Kitchen"]


@pytest.mark.parametrize(
    "query",
    [
        {"sort": "cheapest"},
        {"limit": "0"},
        {"limit": "101"},
        {"limit": "many"},
        {"category_id": "kitchen"},
        {"q": "x" * 201},
        {"q": "\x00"},
        {"after": "!"},
        {"after": "é"},
        {"after": ""},
        {"after": urlsafe_b64encode(b'["price", 1, "x"]').decode()},
        {"after": urlsafe_b64encode(b"[" * 1_000).decode()},
        {"sort": "price", "after": urlsafe_b64encode(f'["name", "a", "{uuid4()}"]'.encode()).decode()},
        {"sort": "price", "after": urlsafe_b64encode(f'["price", "a", "{uuid4()}"]'.encode()).decode()},
        {"sort": "price", "after": urlsafe_b64encode(f'["price", {10**30}, "{uuid4()}"]'.encode()).decode()},
        {"sort": "name", "after": urlsafe_b64encode(f'["name", 1, "{uuid4()}"]'.encode()).decode()},
        {"sort": "name", "after": urlsafe_b64encode(f'["name", "\\u0000", "{uuid4()}"]'.encode()).decode()},
        {"sort": "name", "after": urlsafe_b64encode(f'["name", "\\ud800", "{uuid4()}"]'.encode()).decode()},
        {"sort": "newest", "after": urlsafe_b64encode(f'["newest", "today", "{uuid4()}"]'.encode()).decode()},
    ],
)
async def test_a_query_that_makes_no_sense_is_refused(shop: Shop, query: dict[str, str]) -> None:
    answer = await shop.client.get("/products", params=query)
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")
    assert answer.json()["errors"][0]["in"] == "query"


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"name": " "}, "#/name"),
        ({"name": "x" * 201}, "#/name"),
        ({"name": "a\u202eb"}, "#/name"),
        ({"name": "a\x00b"}, "#/name"),
        ({"name": 5}, "#/name"),
        ({"category_id": "kitchen"}, "#/category_id"),
        ({"category_id": str(uuid4())}, "#/category_id"),
        ({"active": "yes"}, "#/active"),
        ({"price": 5}, "#/price"),
        ({"price": {"amount_minor": 5}}, "#/price/currency"),
        ({"price": {"amount_minor": 5.0, "currency": "EUR"}}, "#/price/amount_minor"),
        ({"price": {"amount_minor": "5", "currency": "EUR"}}, "#/price/amount_minor"),
        ({"price": {"amount_minor": True, "currency": "EUR"}}, "#/price/amount_minor"),
        ({"price": {"amount_minor": -1, "currency": "EUR"}}, "#/price/amount_minor"),
        ({"price": {"amount_minor": MAX_MINOR + 1, "currency": "EUR"}}, "#/price/amount_minor"),
        ({"price": {"amount_minor": 5, "currency": "eur"}}, "#/price/currency"),
        ({"price": {"amount_minor": 5, "currency": "EUR", "tax": 1}}, "#/price/tax"),
        ({"id": str(uuid4())}, "#/id"),
    ],
)
async def test_a_product_that_makes_no_sense_is_refused(
    shop: Shop, change: dict[str, object], pointer: str
) -> None:
    price = {"amount_minor": 5, "currency": "EUR"}
    body = {"name": "Cup", "category_id": shop.category_id, "price": price, **change}
    answer = await shop.send("POST", "/products", body)
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
    assert await shop.names() == []


@pytest.mark.parametrize(
    "change",
    [
        {"name": None},
        {"active": None},
        {"name": ""},
        {"price": {"amount_minor": 1, "currency": "EUR"}},
        {"category_id": str(uuid4())},
        {"colour": "red"},
    ],
)
async def test_a_change_that_makes_no_sense_is_refused(shop: Shop, change: dict[str, object]) -> None:
    product = await shop.product("Cup")
    answer = await shop.send("PATCH", f"/products/{product['id']}", change)
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")
    assert (await shop.client.get(f"/products/{product['id']}")).json() == product


async def test_what_is_not_there_is_not_found(shop: Shop) -> None:
    url = f"/products/{uuid4()}"
    answers = [
        await shop.client.get(url),
        await shop.send("PATCH", url, {"name": "Cup"}),
        await shop.send("PUT", f"{url}/price", {"amount_minor": 1, "currency": "EUR"}),
    ]
    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(404, "not_found")] * 3


async def test_changes_are_for_operators(shop: Shop) -> None:
    product = await shop.product("Cup")
    requests = [
        ("POST", "/categories", {"name": "Garden"}),
        ("POST", "/products", product),
        ("PATCH", f"/products/{product['id']}", {"name": "Mug"}),
        ("PUT", f"/products/{product['id']}/price", {"amount_minor": 1, "currency": "EUR"}),
    ]
    for method, path, body in requests:
        for headers, status in (({}, 401), (bearer(CUSTOMER), 403), (bearer("service"), 403)):
            answer = await shop.client.request(method, path, json=body, headers=headers)
            assert answer.status_code == status, (method, path)
    assert await shop.page() == {"items": [product], "next": None}
    assert await shop.names("/categories") == ["Kitchen"]
