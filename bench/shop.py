"""Fills a stack's shop for a load: products with stock, customers with tokens and wallets, all over HTTP."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeVar
from uuid import UUID, uuid4

import orjson
from pydantic import TypeAdapter

from bench.http import Client, Response
from bench.plan import Buyer
from bench.stack import StackInfo

AT_ONCE: Final = 8
OK: Final = 200
CREATED: Final = 201
FILE: Final = "bench-shop.json"
PASSWORD: Final = "a long way to the market"  # noqa: S105 - of customers that exist in a benchmark only
STOCK: Final = 10_000_000
DEPOSIT: Final = 10_000_000
"""The most that the gateway takes at once."""

Item = TypeVar("Item")
Made = TypeVar("Made")


class ShopError(Exception):
    """The gateway refused something that the benchmark needs."""


@dataclass(frozen=True, slots=True)
class Customer:
    """An account that the benchmark made, its wallet's payment method, and the token that renews its session."""

    email: str
    refresh_token: str
    payment_method_id: UUID
    solvent: bool


@dataclass(frozen=True, slots=True)
class Shop:
    """What a stack was filled with; kept beside it, because accounts are slow to make on purpose."""

    products: tuple[UUID, ...]
    customers: tuple[Customer, ...]


_SHOP: Final = TypeAdapter(Shop)


async def filled(info: StackInfo, folder: Path, *, products: int, customers: int, broke: int) -> Shop:
    """The shop of a stack; made once, with `broke` customers who have nothing in their wallets."""
    shop = _kept(folder)
    if shop is not None and len(shop.products) >= products and len(shop.customers) >= customers:
        return shop
    client = Client(info.gateway_url)
    try:
        operator, _ = await _login(client, info.operator.email, info.operator.password)
        category = await _category(client)
        shop = Shop(
            products=tuple(
                await _each(range(products), lambda number: _product(client, operator, category, number))
            ),
            customers=tuple(
                await _each(range(customers), lambda number: _customer(client, solvent=number >= broke))
            ),
        )
    finally:
        client.close()
    _keep(folder, shop)
    return shop


async def buyers(info: StackInfo, folder: Path) -> tuple[Buyer, ...]:
    """The customers with fresh access tokens, which live ten minutes; their sessions are renewed, or begun anew."""
    shop = _kept(folder)
    if shop is None:
        raise ShopError("this stack's shop was never filled")
    client = Client(info.gateway_url)

    async def signed_in(customer: Customer) -> tuple[Customer, Buyer]:
        access, refresh = await _renewed(client, customer) or await _login(client, customer.email, PASSWORD)
        buyer = Buyer(access, customer.payment_method_id, customer.solvent)
        return replace(customer, refresh_token=refresh), buyer

    try:
        both = await _each(shop.customers, signed_in)
    finally:
        client.close()
    _keep(folder, replace(shop, customers=tuple(customer for customer, _ in both)))
    return tuple(buyer for _, buyer in both)


def _kept(folder: Path) -> Shop | None:
    file = folder / FILE
    return _SHOP.validate_json(file.read_bytes()) if file.exists() else None


def _keep(folder: Path, shop: Shop) -> None:
    (folder / FILE).write_bytes(_SHOP.dump_json(shop))


async def _each(items: Iterable[Item], make: Callable[[Item], Awaitable[Made]]) -> list[Made]:
    room = asyncio.Semaphore(AT_ONCE)

    async def one(item: Item) -> Made:
        async with room:
            return await make(item)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(item)) for item in items]
    return [task.result() for task in tasks]


async def _product(client: Client, operator: str, category: str, number: int) -> UUID:
    product = {
        "name": f"Benchmark product {number}",
        "category_id": category,
        "price": {"amount_minor": 500 + number % 1_500, "currency": "EUR"},
    }
    made = await _send(client, "POST", "/api/products", operator, product)
    await _send(client, "PUT", f"/api/inventory/{made['id']}", operator, {"on_hand": STOCK})
    return UUID(str(made["id"]))


async def _category(client: Client) -> str:
    page = _body(await client.request("GET", "/api/categories"))
    match page.get("items"):
        case [{"id": str(first)}, *_]:
            return first
        case _:
            raise ShopError("the shop has no categories: its dev catalogue was not loaded")


async def _customer(client: Client, *, solvent: bool) -> Customer:
    email = f"bench-{uuid4().hex}@example.com"
    account = {"name": "Benchmark customer", "email": email, "password": PASSWORD}
    await _send(client, "POST", "/auth/register", None, account)
    token, refresh = await _login(client, email, PASSWORD)
    if solvent:
        amount = {"amount": {"amount_minor": DEPOSIT, "currency": "EUR"}}
        await _send(client, "POST", "/api/wallet/deposits", token, amount)
    methods = _body(
        await client.request("GET", "/api/payment-methods", headers={"Authorization": f"Bearer {token}"})
    )
    return Customer(email, refresh, _wallet(methods), solvent)


def _wallet(methods: dict[str, object]) -> UUID:
    items = methods.get("items")
    for method in items if isinstance(items, list) else []:
        if method["kind"] == "wallet":
            return UUID(method["id"])
    raise ShopError("a customer without a wallet")


async def _login(client: Client, email: str, password: str) -> tuple[str, str]:
    answer = await _send(client, "POST", "/auth/login", None, {"email": email, "password": password})
    return str(answer["access_token"]), str(answer["refresh_token"])


async def _renewed(client: Client, customer: Customer) -> tuple[str, str] | None:
    body = orjson.dumps({"refresh_token": customer.refresh_token})
    response = await client.request("POST", "/auth/refresh", body=body)
    if response.status != OK:
        return None
    answer = response.json()
    return str(answer["access_token"]), str(answer["refresh_token"])


async def _send(
    client: Client, method: str, path: str, token: str | None, body: Mapping[str, object]
) -> dict[str, object]:
    headers = {"Idempotency-Key": uuid4().hex}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    return _body(await client.request(method, path, headers=headers, body=orjson.dumps(body)))


def _body(response: Response) -> dict[str, object]:
    if response.status not in {OK, CREATED}:
        raise ShopError(f"{response.status}: {response.body[:500].decode(errors='replace')}")
    return response.json()
