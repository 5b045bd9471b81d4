"""A customer of the running shop, over its public HTTP API only."""

import asyncio
import secrets
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import httpx

from devstack.errors import StackError

_BETWEEN_QUESTIONS = 0.1


class Customer:
    """Somebody with an account of their own; every answer that is not the expected one raises StackError."""

    def __init__(self, http: httpx.AsyncClient, token: str) -> None:
        self._http = http
        self._headers = {"Authorization": f"Bearer {token}"}

    @classmethod
    async def register(cls, http: httpx.AsyncClient, name: str) -> "Customer":
        """Open an account and log in."""
        email, password = f"{name}-{uuid.uuid4().hex[:12]}@example.com", secrets.token_urlsafe(16)
        await _ask(http, "POST", "/auth/register", {"name": name, "email": email, "password": password})
        pair = await _ask(http, "POST", "/auth/login", {"email": email, "password": password})
        return cls(http, str(pair["access_token"]))

    async def pay_in(self, minor: int) -> None:
        """Put euros, in cents, into the wallet."""
        amount = {"amount_minor": minor, "currency": "EUR"}
        await self._ask("POST", "/api/wallet/deposits", {"amount": amount}, key=uuid.uuid4().hex)

    async def wallet(self) -> str:
        """Return the id of the payment method that is always there."""
        methods = (await self._ask("GET", "/api/payment-methods"))["items"]
        return next(str(method["id"]) for method in methods if method["kind"] == "wallet")

    async def card(self, token: str) -> str:
        """Add a card by the provider's token and return its id."""
        return str((await self._ask("POST", "/api/payment-methods", {"kind": "card", "token": token}))["id"])

    async def order(self, method_id: str, lines: Mapping[UUID, int]) -> str:
        """Place an order and return its id."""
        wanted = [{"product_id": str(product), "quantity": quantity} for product, quantity in lines.items()]
        body = {"payment_method_id": method_id, "lines": wanted}
        return str((await self._ask("POST", "/api/orders", body, key=uuid.uuid4().hex))["order_id"])

    async def cancel(self, order_id: str, reason: str) -> None:
        """Ask for the order to be undone."""
        await self._ask("POST", f"/api/orders/{order_id}/cancel", {"reason": reason})

    async def until(self, order_id: str, statuses: Sequence[str], within: float) -> dict[str, Any]:
        """Return the order once it has one of the statuses."""
        deadline = time.monotonic() + within
        while True:
            order = await self._ask("GET", f"/api/orders/{order_id}")
            if order["status"] in statuses:
                return order
            if time.monotonic() > deadline:
                events = [entry["event"] for entry in order["timeline"]]
                raise StackError(
                    f"order {order_id} is {order['status']}, not {' or '.join(statuses)}, after {within:.0f} s: {events}"
                )
            await asyncio.sleep(_BETWEEN_QUESTIONS)

    async def until_event(self, order_id: str, event: str, within: float) -> None:
        """Return once the order's timeline holds the event."""
        deadline = time.monotonic() + within
        while event not in [
            e["event"] for e in (await self._ask("GET", f"/api/orders/{order_id}"))["timeline"]
        ]:
            if time.monotonic() > deadline:
                raise StackError(f"order {order_id} was not {event} within {within:.0f} s")
            await asyncio.sleep(_BETWEEN_QUESTIONS)

    async def _ask(
        self, method: str, path: str, body: object = None, key: str | None = None
    ) -> dict[str, Any]:
        headers = self._headers if key is None else {**self._headers, "Idempotency-Key": key}
        return await _ask(self._http, method, path, body, headers)


async def _ask(
    http: httpx.AsyncClient,
    method: str,
    path: str,
    body: object = None,
    headers: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    answer = await http.request(method, path, json=body, headers=headers)
    if not answer.is_success:
        raise StackError(f"{method} {path} was answered with {answer.status_code}: {answer.text[:500]}")
    content: dict[str, Any] = answer.json()
    return content
