"""Many orders at once, placed by clients that insist: a request that got no answer is sent again with its key."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID, uuid4

import httpx

from tests.faults.auditor import Eyes, Given
from tests.support.shop import PASSWORD, Customer, Operator, Shop
from tests.support.waiting import eventually

INSIST_SECONDS: Final = 90.0


class RefusedError(Exception):
    """An order was answered with something that no client may get, however often it insists."""


@dataclass(slots=True)
class Crowd:
    """Customers, some of whom cannot pay, and the products that they want; `owners` is by their emails."""

    solvent: list[tuple[Customer, UUID]]
    broke: list[tuple[Customer, UUID]]
    products: list[UUID]
    answers: dict[str, set[UUID]] = field(default_factory=lambda: defaultdict(set))
    owners: dict[str, set[UUID]] = field(default_factory=lambda: defaultdict(set))

    @classmethod
    async def gathered(cls, shop: Shop, operator: Operator, *, customers: int = 8) -> "Crowd":
        """A new crowd; every fourth order of it will be refused by payment, and every third customer has a card."""
        solvent = [await shop.customer(cents=10_000_000) for _ in range(customers)]
        broke = [await shop.customer(cents=0) for _ in range(2)]
        return cls(
            [(one, await (one.wallet() if n % 3 else one.card())) for n, one in enumerate(solvent)],
            [(broke[0], await broke[0].wallet()), (broke[1], await broke[1].card("tok_refuse"))],
            [await operator.product(stock=100_000) for _ in range(5)],
        )

    async def order(self, count: int, *, at_once: int = 50) -> None:
        """Place so many orders; each is answered with 202 in the end."""
        room = asyncio.Semaphore(at_once)

        async def one(number: int) -> None:
            async with room:
                await self._insist(number)

        async with asyncio.TaskGroup() as group:
            for number in range(count):
                group.create_task(one(number))

    @property
    def accepted(self) -> set[UUID]:
        """Every order that was answered with 202."""
        return set().union(*self.answers.values())

    @property
    def given(self) -> Given:
        """What the auditor should know of this load."""
        keys: Mapping[str, frozenset[UUID]] = {key: frozenset(ids) for key, ids in self.answers.items()}
        http = self.solvent[0][0].http
        eyes = [Eyes(email, PASSWORD, frozenset(orders)) for email, orders in self.owners.items()]
        return Given(
            acknowledged=frozenset(self.accepted), keys=keys, eyes=eyes, gateway_url=str(http.base_url)
        )

    async def _insist(self, number: int) -> None:
        people = self.broke if number % 4 == 0 else self.solvent
        customer, method = people[number // 4 % len(people)]
        lines = [(self.products[(number + n) % len(self.products)], 1 + n) for n in range(1 + number % 3)]
        key = uuid4().hex

        async def ask() -> bool:
            try:
                response = await customer.post_order(method, lines, key=key)
            except httpx.TransportError as error:
                raise AssertionError(f"no answer: {error!r}") from error
            busy = {httpx.codes.CONFLICT, httpx.codes.SERVICE_UNAVAILABLE}
            assert response.status_code not in busy, response.text
            if response.status_code != httpx.codes.ACCEPTED:
                raise RefusedError(f"{response.status_code}: {response.text}")
            order_id = UUID(response.json()["order_id"])
            self.answers[key].add(order_id)
            self.owners[customer.email].add(order_id)
            return True

        await eventually(ask, within=INSIST_SECONDS, every=0.1, what=f"order {number} accepted")
