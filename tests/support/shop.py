"""The shop over HTTP, as its customers and operators use it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal
from uuid import UUID, uuid4

import httpx
from pydantic import BaseModel

from tests.support.waiting import eventually

PASSWORD: Final = "a long way to the market"
TERMINAL: Final = frozenset({"completed", "cancelled"})
END_SECONDS: Final = 60.0

Status = Literal["pending", "cancelling", "completed", "cancelled"]


class Money(BaseModel):
    """An amount as the API shows it."""

    amount_minor: int
    currency: str


class OrderLine(BaseModel):
    """A line as the API shows it; without name and price until the product service has given them."""

    product_id: UUID
    quantity: int
    name: str | None = None
    price: Money | None = None


class Happened(BaseModel):
    """One entry of an order's timeline."""

    event: str
    at: datetime


class OrderPayment(BaseModel):
    """How an order was paid."""

    payment_id: UUID | None = None
    method_id: UUID | None = None
    status: str | None = None


class Order(BaseModel):
    """An order as its customer sees it."""

    order_id: UUID
    status: Status
    reason_code: str | None
    reason: str | None
    lines: list[OrderLine]
    total: Money | None
    payment: OrderPayment | None
    timeline: list[Happened]

    @property
    def events(self) -> list[str]:
        """The timeline's events."""
        return [entry.event for entry in self.timeline]


class Stock(BaseModel):
    """A product's shelf as an operator sees it."""

    on_hand: int
    reserved: int
    available: int
    sold: int


class Account:
    """Somebody who is signed in."""

    def __init__(self, http: httpx.AsyncClient, email: str, token: str) -> None:
        self.http = http
        self.email = email
        self.token = token

    async def send(
        self, method: str, path: str, body: object | None = None, **headers: str
    ) -> httpx.Response:
        """Any request, as this person; header names are written with underscores."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        named["Authorization"] = f"Bearer {self.token}"
        return await self.http.request(method, path, json=body, headers=named)

    async def ask(self, method: str, path: str, body: object | None = None, **headers: str) -> httpx.Response:
        """A request that must go well."""
        response = await self.send(method, path, body, **headers)
        assert response.is_success, f"{method} {path}: {response.status_code} {response.text}"
        return response


class Customer(Account):
    """A customer with a wallet."""

    async def deposit(self, minor: int) -> None:
        """Put money into the wallet."""
        amount = {"amount": {"amount_minor": minor, "currency": "EUR"}}
        await self.ask("POST", "/api/wallet/deposits", amount, Idempotency_Key=uuid4().hex)

    async def balance(self) -> int:
        """What is in the wallet, in cents."""
        return Money.model_validate((await self.ask("GET", "/api/wallet")).json()["balance"]).amount_minor

    async def wallet(self) -> UUID:
        """The wallet as a payment method."""
        methods = (await self.ask("GET", "/api/payment-methods")).json()["items"]
        [wallet] = [method for method in methods if method["kind"] == "wallet"]
        return UUID(wallet["id"])

    async def card(self, token: str = "tok_approve") -> UUID:  # noqa: S107 - what the provider shall do
        """A card as a payment method; the simulated provider does what its token says."""
        body = {"kind": "card", "token": token}
        return UUID((await self.ask("POST", "/api/payment-methods", body)).json()["id"])

    async def post_order(
        self, method: UUID, lines: Sequence[tuple[UUID, int]], *, key: str | None = None, **headers: str
    ) -> httpx.Response:
        """POST /api/orders, whatever is answered."""
        body = {
            "payment_method_id": str(method),
            "lines": [{"product_id": str(product), "quantity": quantity} for product, quantity in lines],
        }
        return await self.send("POST", "/api/orders", body, Idempotency_Key=key or uuid4().hex, **headers)

    async def order(self, method: UUID, lines: Sequence[tuple[UUID, int]], *, key: str | None = None) -> UUID:
        """Place an order that must be accepted; its id. Asks again, with its key, where the shop says "try again"."""
        known = key or uuid4().hex

        async def told() -> httpx.Response | None:
            response = await self.post_order(method, lines, key=known)
            return None if response.status_code == httpx.codes.SERVICE_UNAVAILABLE else response

        response = await eventually(told, within=END_SECONDS, every=1, what="an answer to an order")
        assert response.status_code == httpx.codes.ACCEPTED, response.text
        return UUID(response.json()["order_id"])

    async def look(self, order_id: UUID) -> Order:
        """The order now."""
        return Order.model_validate((await self.ask("GET", f"/api/orders/{order_id}")).json())

    async def ended(self, order_id: UUID, *, within: float = END_SECONDS) -> Order:
        """The order once it is completed or cancelled."""

        async def ask() -> Order | None:
            order = await self.look(order_id)
            assert order.status in TERMINAL, f"{order.status}: {order.events}"
            return order

        return await eventually(ask, within=within, every=0.05, what=f"order {order_id} ended")

    async def becomes(self, order_id: UUID, *statuses: str, within: float = END_SECONDS) -> Order:
        """The order once it has one of these statuses."""

        async def ask() -> Order | None:
            order = await self.look(order_id)
            assert order.status in statuses, f"{order.status}: {order.events}"
            return order

        return await eventually(ask, within=within, every=0.02, what=f"order {order_id} {statuses}")

    async def cancel(self, order_id: UUID, reason: str = "Changed my mind.") -> httpx.Response:
        """Ask for the cancellation, whatever is answered."""
        return await self.send("POST", f"/api/orders/{order_id}/cancel", {"reason": reason})


class Operator(Account):
    """Who keeps the shop."""

    async def product(self, *, cents: int = 1_000, stock: int = 100, name: str | None = None) -> UUID:
        """A new product with stock."""
        [category, *_] = (await self.ask("GET", "/api/categories")).json()["items"]
        body = {
            "name": name or f"Journey product {uuid4().hex[:8]}",
            "category_id": category["id"],
            "price": {"amount_minor": cents, "currency": "EUR"},
        }
        product = UUID((await self.ask("POST", "/api/products", body)).json()["id"])
        await self.ask("PUT", f"/api/inventory/{product}", {"on_hand": stock})
        return product

    async def withdraw(self, product: UUID) -> None:
        """Take a product off sale."""
        await self.ask("PATCH", f"/api/products/{product}", {"active": False})

    async def stock(self, product: UUID) -> Stock:
        """A product's shelf."""
        return Stock.model_validate((await self.ask("GET", f"/api/inventory/{product}")).json())


class Shop:
    """One gateway."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def customer(self, *, cents: int = 1_000_000) -> Customer:
        """Somebody new, signed in, with money in the wallet."""
        email = f"journey-{uuid4().hex}@example.com"
        body = {"name": "Journey customer", "email": email, "password": PASSWORD}
        response = await self.http.post("/auth/register", json=body)
        assert response.status_code == httpx.codes.CREATED, response.text
        customer = Customer(self.http, email, await self._token(email, PASSWORD))
        if cents:
            await customer.deposit(cents)
        return customer

    async def operator(self, email: str, password: str) -> Operator:
        """The stack's operator."""
        return Operator(self.http, email, await self._token(email, password))

    async def _token(self, email: str, password: str) -> str:
        response = await self.http.post("/auth/login", json={"email": email, "password": password})
        assert response.status_code == httpx.codes.OK, response.text
        return str(response.json()["access_token"])
