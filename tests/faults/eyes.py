"""Who sees which order: I14, over HTTP, as the customers themselves and nobody."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import httpx

from tests.faults.violation import Violation

LOOKED_AT: Final = 20
"""So many orders of each customer are looked at by everybody; all of them are looked for in the list."""
AT_ONCE: Final = 4
ATTEMPTS: Final = 5


@dataclass(frozen=True, slots=True)
class Eyes:
    """A customer, and all orders that were accepted from them since the books were opened."""

    email: str
    password: str
    orders: frozenset[UUID]


@dataclass(frozen=True, slots=True)
class _SignedIn:
    token: str
    orders: frozenset[UUID]


async def see(gateway_url: str, customers: Sequence[Eyes]) -> AsyncIterator[Violation]:
    """I14: each order is in its owner's list and readable by its owner; others are told that there is none."""
    if not customers:
        return
    room = asyncio.Semaphore(AT_ONCE)
    async with httpx.AsyncClient(base_url=gateway_url, timeout=30) as http:
        everybody = [await _signed_in(http, one) for one in customers]
        for number, one in enumerate(everybody):
            stranger = everybody[number - 1] if len(everybody) > 1 else None
            for violation in await _listed(http, one, everybody):
                yield violation
            looked_at = sorted(one.orders)[-LOOKED_AT:]
            found = await asyncio.gather(*(_looked(http, room, order, one, stranger) for order in looked_at))
            for violation in (violation for each in found for violation in each):
                yield violation


async def _looked(
    http: httpx.AsyncClient,
    room: asyncio.Semaphore,
    order: UUID,
    owner: _SignedIn,
    stranger: _SignedIn | None,
) -> list[Violation]:
    """What its owner, another customer and nobody in particular are answered about one order."""
    async with room:
        wanted = [(owner.token, httpx.codes.OK), ("", httpx.codes.UNAUTHORIZED)]
        if stranger is not None and order not in stranger.orders:
            wanted.append((stranger.token, httpx.codes.NOT_FOUND))
        wrong = []
        for token, expected in wanted:
            answer = await _asked(http, f"/api/orders/{order}", token)
            if answer.status_code != expected:
                who = {owner.token: "its owner", "": "nobody"}.get(token, "somebody else")
                finding = f"{who} is answered {answer.status_code}, not {int(expected)}"
                wrong.append(Violation("I14", f"order {order}", finding))
        return wrong


async def _listed(http: httpx.AsyncClient, one: _SignedIn, everybody: Sequence[_SignedIn]) -> list[Violation]:
    """Every order of theirs is in the list, and none that is somebody else's."""
    seen: set[UUID] = set()
    page: str | None = ""
    while page is not None and not seen >= one.orders:
        query = {"page_size": "100"} | ({"page_token": page} if page else {})
        answer = await _asked(http, "/api/orders", one.token, **query)
        if answer.status_code != httpx.codes.OK:
            return [Violation("I14", "a customer's list", f"is answered {answer.status_code}")]
        body = answer.json()
        seen |= {UUID(item["order_id"]) for item in body["items"]}
        page = body.get("next_page_token")
    others = frozenset().union(*(each.orders for each in everybody if each.token != one.token))
    return [
        *(Violation("I14", f"order {order}", "is not in its owner's list") for order in one.orders - seen),
        *(
            Violation("I14", f"order {order}", "is in somebody else's list")
            for order in seen & others - one.orders
        ),
    ]


async def _signed_in(http: httpx.AsyncClient, one: Eyes) -> _SignedIn:
    account = {"email": one.email, "password": one.password}
    answer = await _insisted(http, http.build_request("POST", "/auth/login", json=account))
    return _SignedIn(str(answer.raise_for_status().json()["access_token"]), one.orders)


async def _asked(http: httpx.AsyncClient, path: str, token: str, **query: str) -> httpx.Response:
    request = http.build_request("GET", path, params=query, headers=_signed(token))
    return await _insisted(http, request)


async def _insisted(http: httpx.AsyncClient, request: httpx.Request) -> httpx.Response:
    """The answer to a request, sent again where the connection broke or the answer was 503."""
    for _ in range(ATTEMPTS - 1):
        try:
            answer = await http.send(request)
        except httpx.TransportError:
            continue
        if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
            return answer
    return await http.send(request)


def _signed(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}
