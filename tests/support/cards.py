"""The simulated card provider, as its operator sees it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import httpx


class Cards:
    """What the provider has taken from cards, by order, and how fast it answers."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def taken(self, order_id: UUID) -> int:
        """What it holds of an order's money, in minor units; refunds are taken off."""
        charge = (await self._ask("GET", "/admin/totals"))["charges"].get(str(order_id))
        return charge["captured_minor"] - charge["refunded_minor"] if charge else 0

    async def holds(self) -> int:
        """What it holds of everybody's money."""
        totals = await self._ask("GET", "/admin/totals")
        return int(totals["captured_minor"]) - int(totals["refunded_minor"])

    async def gave_back(self, order_id: UUID) -> bool:
        """Whether nothing is held, and nothing will be: the order's key is used up."""
        answer = await self._ask("GET", f"/charges/{order_id}")
        return answer["status"] in {"voided", "refunded", "refused"} and await self.taken(order_id) == 0

    @asynccontextmanager
    async def answering_after(self, *, seconds: float) -> AsyncIterator[None]:
        """Late charges capture and answer after so many seconds, until the block ends."""
        before = (await self._ask("GET", "/admin/settings"))["late_seconds"]
        await self._ask("PUT", "/admin/settings", {"late_seconds": seconds})
        try:
            yield
        finally:
            await self._ask("PUT", "/admin/settings", {"late_seconds": before})

    async def _ask(self, method: str, path: str, body: object | None = None) -> dict[str, Any]:
        response = await self._http.request(method, path, json=body)
        assert response.is_success, f"{method} {path}: {response.status_code} {response.text}"
        answer: dict[str, Any] = response.json()
        return answer
