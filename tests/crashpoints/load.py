"""The load under which processes die: orders of every fate and cancellations, by clients that insist."""

import asyncio
from collections import defaultdict
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count, cycle
from typing import Final
from uuid import UUID, uuid4

import httpx

from tests.faults.auditor import Eyes, Given
from tests.support.crowd import RefusedError
from tests.support.shop import PASSWORD, Customer, Operator, Shop
from tests.support.waiting import eventually

INSIST_SECONDS: Final = 120.0
PER_SECOND: Final = 6.0
CANCEL_EVERY: Final = 10


@dataclass(slots=True)
class Load:
    """Places orders, about ten a second, for as long as `run` runs; every one is answered with 202 in the end."""

    buyers: list[tuple[Customer, UUID]]
    products: list[UUID]
    answers: dict[str, set[UUID]] = field(default_factory=lambda: defaultdict(set))
    owners: dict[str, set[UUID]] = field(default_factory=lambda: defaultdict(set))
    cancelled: set[UUID] = field(default_factory=set)
    poison: set[tuple[str, int, int]] = field(default_factory=set)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    _flowing: asyncio.Event = field(default_factory=asyncio.Event)
    _lulls: int = 0

    @classmethod
    async def prepared(cls, shop: Shop, operator: Operator) -> "Load":
        """Customers with a wallet or a card that is good, bad, late or silent; some without money."""
        rich = [await shop.customer(cents=10_000_000) for _ in range(3)]
        poor = await shop.customer(cents=0)
        buyers = [(one, await one.wallet()) for one in rich] * 2
        buyers += [(one, await one.card()) for one in rich]
        buyers += [(poor, await poor.wallet()), (poor, await poor.card("tok_refuse"))]
        buyers += [(rich[0], await rich[0].card("tok_late"))]
        return cls(buyers, [await operator.product(stock=1_000_000) for _ in range(4)])

    @property
    def accepted(self) -> set[UUID]:
        """Every order that was answered with 202."""
        return set().union(*self.answers.values())

    @property
    def given(self) -> Given:
        """What the auditor should know of this load."""
        return Given(
            acknowledged=frozenset(self.accepted),
            keys={key: frozenset(ids) for key, ids in self.answers.items()},
            poison=frozenset(self.poison),
            eyes=[Eyes(email, PASSWORD, frozenset(orders)) for email, orders in self.owners.items()],
            gateway_url=str(self.buyers[0][0].http.base_url),
        )

    @contextmanager
    def lull(self) -> Iterator[None]:
        """Nothing new comes in within this block."""
        self._lulls += 1
        self._flowing.clear()
        try:
            yield
        finally:
            self._lulls -= 1
            if not self._lulls:
                self._flowing.set()

    async def run(self) -> None:
        """Place orders until `stopping` is set, and return once all are answered."""
        self._flowing.set()
        buyers = cycle(self.buyers)
        async with asyncio.TaskGroup() as group:
            for number in count():
                await self._flowing.wait()
                if self.stopping.is_set():
                    return
                group.create_task(self._order(number, *next(buyers)))
                await self._pause()

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(1 / PER_SECOND):
                await self.stopping.wait()
        except TimeoutError:
            return

    async def _order(self, number: int, customer: Customer, method: UUID) -> None:
        lines = [(self.products[(number + n) % len(self.products)], 1 + n) for n in range(1 + number % 3)]
        order = await self.place(customer, method, lines)
        if number % CANCEL_EVERY == 0:
            await self._cancel(customer, order)

    async def place(self, customer: Customer, method: UUID, lines: list[tuple[UUID, int]]) -> UUID:
        """Insist on one order until it is accepted."""
        key = uuid4().hex

        async def ask() -> UUID:
            response = await _answered(customer.post_order(method, lines, key=key))
            if response.status_code != httpx.codes.ACCEPTED:
                raise RefusedError(f"{response.status_code}: {response.text}")
            order = UUID(response.json()["order_id"])
            self.answers[key].add(order)
            self.owners[customer.email].add(order)
            return order

        return await eventually(ask, within=INSIST_SECONDS, every=0.1, what="an order accepted")

    async def _cancel(self, customer: Customer, order: UUID) -> None:
        """Insist on a cancellation, which an order that is over by then may refuse."""

        async def ask() -> bool:
            response = await _answered(customer.cancel(order), conflict_is_busy=False)
            if response.status_code == httpx.codes.ACCEPTED:
                self.cancelled.add(order)
            return True

        await eventually(ask, within=INSIST_SECONDS, every=0.1, what=f"order {order} cancelled")


async def _answered(
    asking: Coroutine[None, None, httpx.Response], *, conflict_is_busy: bool = True
) -> httpx.Response:
    try:
        response = await asking
    except httpx.TransportError as error:
        raise AssertionError(f"no answer: {error!r}") from error
    busy = {httpx.codes.SERVICE_UNAVAILABLE} | ({httpx.codes.CONFLICT} if conflict_is_busy else set())
    assert response.status_code not in busy, response.text
    return response
