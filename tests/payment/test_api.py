"""Payment methods, wallet and deposits over HTTP, on a real database."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from uuid import UUID, uuid4

import httpx
import pytest

from payment.app import service
from payment.domain.books import wallet_account, wallet_method_id
from tests.support.api import asked, bearer
from tests.support.builders import a_user_id
from tests.support.databases import Database, Databases

pytestmark = pytest.mark.integration

CENTS = {"amount": {"amount_minor": 2_500, "currency": "EUR"}}


@pytest.fixture(scope="module")
async def books(run_databases: Databases) -> AsyncIterator[Database]:
    """One database for all tests here: customers see nothing of each other."""
    made = await run_databases.fresh("payment")
    yield made
    await run_databases.drop(made)


@pytest.fixture(scope="module")
async def shop(books: Database) -> AsyncIterator[httpx.AsyncClient]:
    """The service's routes."""
    async with asked(service, books) as client:
        yield client


def key(name: str) -> Mapping[str, str]:
    return {"Idempotency-Key": name}


async def test_the_wallet_is_always_there_under_an_id_known_before(shop: httpx.AsyncClient) -> None:
    user = a_user_id()
    for _ in range(2):
        answer = await shop.get("/payment-methods", headers=bearer("customer", user_id=user))
        assert answer.status_code == 200
        assert answer.json() == {
            "items": [{"id": str(wallet_method_id(user)), "kind": "wallet", "label": "Wallet"}],
            "next": None,
        }


async def test_cards_are_added_listed_in_pages_and_removed(shop: httpx.AsyncClient) -> None:
    user = bearer("customer")
    added = []
    for token in ("tok_approve", "tok_refuse"):
        answer = await shop.post("/payment-methods", json={"kind": "card", "token": token}, headers=user)
        assert answer.status_code == 201
        assert answer.json()["kind"] == "card"
        assert answer.json()["label"] == "Card"
        assert token not in answer.text
        added.append(answer.json()["id"])

    seen, after = [], None
    for _ in range(3):
        query = {"limit": 1} if after is None else {"limit": 1, "after": after}
        page = (await shop.get("/payment-methods", params=query, headers=user)).json()
        seen += [item["id"] for item in page["items"]]
        after = page["next"]
    assert after is None
    assert seen[1:] == added

    assert (await shop.delete(f"/payment-methods/{added[0]}", headers=user)).status_code == 204
    assert (await shop.delete(f"/payment-methods/{added[0]}", headers=user)).status_code == 404
    left = (await shop.get("/payment-methods", headers=user)).json()["items"]
    assert [item["id"] for item in left] == [seen[0], added[1]]


async def test_a_card_added_again_is_the_same_card_with_the_new_label(shop: httpx.AsyncClient) -> None:
    user = bearer("customer")
    body = {"kind": "card", "token": "tok_approve", "label": "Old"}
    first = await shop.post("/payment-methods", json=body, headers=user)
    second = await shop.post("/payment-methods", json={**body, "label": "New"}, headers=user)
    assert second.status_code == 201
    assert second.json() == {**first.json(), "label": "New"}


async def test_nobody_removes_the_wallet_or_anothers_card(shop: httpx.AsyncClient) -> None:
    owner, other = a_user_id(), bearer("customer")
    mine = bearer("customer", user_id=owner)
    card = await shop.post("/payment-methods", json={"kind": "card", "token": "tok_approve"}, headers=mine)
    assert (await shop.delete(f"/payment-methods/{card.json()['id']}", headers=other)).status_code == 404
    wallet = wallet_method_id(owner)
    refused = await shop.delete(f"/payment-methods/{wallet}", headers=mine)
    assert (refused.status_code, refused.json()["code"]) == (409, "wallet_not_removable")
    assert (await shop.delete(f"/payment-methods/{wallet}", headers=other)).status_code == 404
    assert len((await shop.get("/payment-methods", headers=mine)).json()["items"]) == 2


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"kind": "card", "token": "4242424242424242"}, "#/token"),
        ({"kind": "card", "token": "tok_4242424242424242"}, "#/token"),
        ({"kind": "card", "token": "tok_4242_4242_4242_4242"}, "#/token"),
        ({"kind": "card", "token": "tok_"}, "#/token"),
        ({"kind": "card", "token": "tok_" + "a" * 65}, "#/token"),
        ({"kind": "card", "token": "tok_approve\n"}, "#/token"),
        ({"kind": "card", "token": "tok_approve", "label": "4242 4242 4242 4242"}, "#/label"),
        ({"kind": "card", "token": "tok_approve", "label": "a\u202eb"}, "#/label"),
        ({"kind": "card", "token": "tok_approve", "label": "a\u0000b"}, "#/label"),
        ({"kind": "card", "token": "tok_approve", "label": "   "}, "#/label"),
        ({"kind": "card", "token": "tok_approve", "label": "x" * 61}, "#/label"),
        ({"kind": "wallet", "token": "tok_approve"}, "#/kind"),
        ({"kind": "card", "token": "tok_approve", "user_id": str(uuid4())}, "#/user_id"),
        ({"kind": "card"}, "#/token"),
    ],
)
async def test_a_card_is_a_providers_token_and_nothing_else(
    shop: httpx.AsyncClient, books: Database, body: dict[str, str], pointer: str
) -> None:
    user = a_user_id()
    answer = await shop.post("/payment-methods", json=body, headers=bearer("customer", user_id=user))
    assert answer.status_code == 422
    assert [one["pointer"] for one in answer.json()["errors"]] == [pointer]
    assert await books.rows("SELECT FROM payment_methods WHERE user_id = %s", user) == []


async def test_a_customer_has_fifty_cards_at_most(shop: httpx.AsyncClient) -> None:
    user = bearer("customer")
    for number in range(50):
        body = {"kind": "card", "token": f"tok_{number}"}
        assert (await shop.post("/payment-methods", json=body, headers=user)).status_code == 201
    more = await shop.post("/payment-methods", json={"kind": "card", "token": "tok_more"}, headers=user)
    assert (more.status_code, more.json()["code"]) == (409, "too_many_payment_methods")
    again = await shop.post("/payment-methods", json={"kind": "card", "token": "tok_7"}, headers=user)
    assert again.status_code == 201


async def test_a_deposit_fills_the_wallet_and_balances_the_ledger(
    shop: httpx.AsyncClient, books: Database
) -> None:
    user = a_user_id()
    mine = bearer("customer", user_id=user)
    made = await shop.post("/wallet/deposits", json=CENTS, headers={**mine, **key("a")})
    assert made.status_code == 201
    assert made.json()["balance"] == CENTS["amount"]
    assert "Idempotency-Replayed" not in made.headers

    wallet = (await shop.get("/wallet", headers=mine)).json()
    assert wallet["balance"] == CENTS["amount"]
    [entry] = wallet["items"]
    assert entry["id"] == made.json()["deposit_id"]
    assert (entry["kind"], entry["amount"], entry["order_id"]) == ("deposit", CENTS["amount"], None)
    assert await books.rows(
        "SELECT account, kind, amount_minor, currency FROM ledger_entries WHERE transaction_id = %s ORDER BY id",
        entry["id"],
    ) == [
        ("deposits", "deposit", -2_500, "EUR"),
        (f"wallet:{user}", "deposit", 2_500, "EUR"),
    ]


async def test_a_deposit_is_made_once_per_key(shop: httpx.AsyncClient, books: Database) -> None:
    owner = a_user_id()
    user = bearer("customer", user_id=owner)
    first = await shop.post("/wallet/deposits", json=CENTS, headers={**user, **key("a")})
    for same in ("a", '"a"'):
        again = await shop.post("/wallet/deposits", json=CENTS, headers={**user, **key(same)})
        assert (again.status_code, again.content) == (201, first.content)
        assert again.headers["Idempotency-Replayed"] == "true"
    other = {"amount": {"amount_minor": 1, "currency": "EUR"}}
    reused = await shop.post("/wallet/deposits", json=other, headers={**user, **key("a")})
    assert (reused.status_code, reused.json()["code"]) == (422, "idempotency_key_reused")
    another = await shop.post("/wallet/deposits", json=other, headers={**user, **key("b")})
    assert another.json()["balance"]["amount_minor"] == 2_501
    somebody_else = await shop.post(
        "/wallet/deposits", json=other, headers={**bearer("customer"), **key("a")}
    )
    assert somebody_else.json()["balance"]["amount_minor"] == 1
    booked = "SELECT count(*), sum(amount_minor) FROM ledger_entries WHERE account = %s"
    assert await books.row(booked, wallet_account(owner)) == (2, 2_501)


async def test_of_many_deposits_at_once_with_one_key_one_is_made(
    shop: httpx.AsyncClient, books: Database
) -> None:
    owner = a_user_id()
    user = {**bearer("customer", user_id=owner), **key("a")}
    answers = await asyncio.gather(
        *(shop.post("/wallet/deposits", json=CENTS, headers=user) for _ in range(8))
    )
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert sum("Idempotency-Replayed" in answer.headers for answer in answers) == 7
    assert await books.row("SELECT balance_minor FROM wallets WHERE user_id = %s", owner) == (2_500,)


async def test_many_deposits_at_once_all_count(shop: httpx.AsyncClient) -> None:
    user = bearer("customer")
    await asyncio.gather(
        *(shop.post("/wallet/deposits", json=CENTS, headers={**user, **key(str(n))}) for n in range(12))
    )
    wallet = (await shop.get("/wallet", headers=user)).json()
    assert wallet["balance"]["amount_minor"] == 12 * 2_500
    assert len(wallet["items"]) == 12


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({}, "idempotency_key_missing"),
        (key(""), "idempotency_key_invalid"),
        (key("a b"), "idempotency_key_invalid"),
        (key("x" * 256), "idempotency_key_invalid"),
    ],
)
async def test_a_deposit_needs_a_valid_key(
    shop: httpx.AsyncClient, given: Mapping[str, str], code: str
) -> None:
    answer = await shop.post("/wallet/deposits", json=CENTS, headers={**bearer("customer"), **given})
    assert (answer.status_code, answer.json()["code"]) == (400, code)


@pytest.mark.parametrize(
    "amount",
    [
        {"amount_minor": 0, "currency": "EUR"},
        {"amount_minor": -5, "currency": "EUR"},
        {"amount_minor": 10_000_001, "currency": "EUR"},
        {"amount_minor": 1.5, "currency": "EUR"},
        {"amount_minor": "5", "currency": "EUR"},
        {"amount_minor": True, "currency": "EUR"},
        {"amount_minor": 5, "currency": "USD"},
        {"amount_minor": 5},
        {"amount_minor": 5, "currency": "EUR", "to": "x"},
    ],
)
async def test_a_deposit_is_an_amount_in_euro_cents(
    shop: httpx.AsyncClient, books: Database, amount: dict[str, object]
) -> None:
    user = a_user_id()
    headers = {**bearer("customer", user_id=user), **key("a")}
    answer = await shop.post("/wallet/deposits", json={"amount": amount}, headers=headers)
    assert answer.status_code == 422
    assert await books.rows("SELECT FROM deposits WHERE user_id = %s", user) == []


async def test_entries_come_in_pages_newest_first(shop: httpx.AsyncClient) -> None:
    user = bearer("customer")
    for cents in (1, 2, 3):
        body = {"amount": {"amount_minor": cents, "currency": "EUR"}}
        await shop.post("/wallet/deposits", json=body, headers={**user, **key(str(cents))})
    first = (await shop.get("/wallet", params={"limit": 2}, headers=user)).json()
    assert [one["amount"]["amount_minor"] for one in first["items"]] == [3, 2]
    rest = (await shop.get("/wallet", params={"limit": 2, "after": first["next"]}, headers=user)).json()
    assert [one["amount"]["amount_minor"] for one in rest["items"]] == [1]
    assert rest["next"] is None
    stranger = bearer("customer")
    theirs = (await shop.get("/wallet", params={"after": first["next"]}, headers=stranger)).json()
    assert theirs["items"] == []


@pytest.mark.parametrize(
    "after", ["x", "ZW50cnk6LTE", "ZW50cnk6OTk5OTk5OTk5OTk5OTk5OTk5OTk5", "\u00e4", "d2FsbGV0Ong"]
)
@pytest.mark.parametrize("path", ["/wallet", "/payment-methods"])
async def test_a_forged_cursor_is_refused(shop: httpx.AsyncClient, path: str, after: str) -> None:
    answer = await shop.get(path, params={"after": after}, headers=bearer("customer"))
    assert (answer.status_code, answer.json()["code"]) == (422, "cursor_invalid")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/payment-methods"),
        ("POST", "/payment-methods"),
        ("DELETE", f"/payment-methods/{UUID(int=1)}"),
        ("GET", "/wallet"),
        ("POST", "/wallet/deposits"),
    ],
)
async def test_nothing_is_open_to_strangers(shop: httpx.AsyncClient, method: str, path: str) -> None:
    answer = await shop.request(method, path, json=CENTS)
    assert (answer.status_code, answer.json()["code"]) == (401, "token_missing")
