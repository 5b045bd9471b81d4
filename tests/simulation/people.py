"""Customers: what they order, how often they ask, when they change their minds, and what they were answered."""

import asyncio
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

import psycopg

from gateway.api.orders import open_cancel
from gateway.domain.orders import Asked
from gateway.store.intake import Accepted, Answer, Reused
from gateway.store.intents import Claim
from libs.contracts.order_saga import SagaCancelOrder
from libs.contracts.values import Line, OrderId, PaymentMethodId, ProductId, UserId
from payment.domain.books import wallet_method_id
from tests.simulation.platform import Platform, Running
from tests.simulation.world import World

PATIENCE_SECONDS: Final = 2.0
"""After so long without an answer a customer asks again, with the same key."""
USERS: Final = 8
PRODUCTS: Final = 6
TOKENS: Final = ("tok_approve", "tok_approve", "tok_approve", "tok_late", "tok_refuse")
RICH: Final = 100_000
POOR: Final = 1_500


@dataclass(slots=True)
class Order:
    """What one customer wants, and what came of asking."""

    number: int
    at: float
    asked: Asked
    again: tuple[float, ...]
    """When the same request is sent once more, whatever was answered."""
    other: Asked | None
    """Another order that is asked for under the same key."""
    cancel_at: float | None
    accepted: set[OrderId] = field(default_factory=set)
    cancelled: bool = False
    """Whether the cancellation was accepted."""
    swindled: bool = False
    """Whether the other order was accepted too."""


class People:
    """The customers of one world."""

    def __init__(self, world: World, platform: Platform, orders: int) -> None:
        self._world = world
        self._platform = platform
        chance = world.chance
        self.users = [UserId(UUID(int=chance.getrandbits(128))) for _ in range(USERS)]
        self.products = [ProductId(UUID(int=chance.getrandbits(128))) for _ in range(PRODUCTS)]
        self.stock = {one: chance.choice((3, 20, 60, 400)) for one in self.products[:-1]}
        self.prices = {
            one: chance.choice((0, 199, 1_000)) if n == 0 else 199 + n for n, one in enumerate(self.products)
        }
        self.balances = {user: chance.choice((RICH, RICH, RICH, POOR)) for user in self.users}
        self.cards = {
            user: (PaymentMethodId(UUID(int=chance.getrandbits(128))), chance.choice(TOKENS))
            for user in self.users
        }
        self._move_in()
        self.orders = [self._wish(number) for number in range(orders)]

    def _move_in(self) -> None:
        """Put catalogue, stock, wallets and cards where they belong."""
        tables = {name: database.tables for name, database in self._platform.databases.items()}
        for number, product in enumerate(self.products):
            row = {
                "id": product,
                "name": f"Product {number}",
                "price_minor": self.prices[product],
                "currency": "EUR",
            }
            tables["product"]["products"].put(product, row | {"active": number != PRODUCTS - 2}, 0)
        for product, count in self.stock.items():
            row = {"product_id": product, "on_hand": count, "reserved": 0, "sold": 0}
            tables["inventory"]["stock"].put(product, row, 0)
        for user, balance in self.balances.items():
            wallet = {"user_id": user, "balance_minor": balance, "currency": "EUR"}
            tables["payment"]["wallets"].put(user, wallet, 0)
            card, token = self.cards[user]
            method = {"id": card, "user_id": user, "kind": "card", "token": token}
            tables["payment"]["payment_methods"].put(card, method, 0)

    def _wish(self, number: int) -> Order:
        chance = self._world.chance
        user = chance.choice(self.users)
        at = chance.uniform(0.0, 3.0) if chance.random() < 0.9 else chance.uniform(3.0, 7.5)
        again = tuple(chance.uniform(0.0, 3.0) for _ in range(chance.choice((0, 0, 0, 1, 1, 2))))
        other = self._asked(user) if chance.random() < 0.05 else None
        cancel_at = chance.choice(
            (None, None, None, None, chance.uniform(0.0, 0.3), chance.uniform(0.0, 6.0))
        )
        return Order(number, at, self._asked(user), again, other, cancel_at)

    def _asked(self, user: UserId) -> Asked:
        chance = self._world.chance
        count = chance.choice((1, 1, 1, 2, 3))
        lines = tuple(
            Line(product_id=product, quantity=chance.choice((1, 1, 2, 3)))
            for product in chance.sample(
                self.products if chance.random() < 0.08 else self.products[:-2], count
            )
        )
        method = wallet_method_id(user) if chance.random() < 0.6 else self.cards[user][0]
        return Asked(user, method, lines)

    async def shop(self) -> None:
        """Let everybody have what they want; ends when all have been answered."""
        async with asyncio.TaskGroup() as group:
            for order in self.orders:
                group.create_task(self._order(order))

    async def _order(self, order: Order) -> None:
        await asyncio.sleep(order.at)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._insist(order, order.asked))
            for wait in order.again:
                group.create_task(self._insist(order, order.asked, wait))
            if order.other is not None:
                group.create_task(self._swindle(order, order.other))

    async def _insist(self, order: Order, asked: Asked, wait: float = 0.0) -> None:
        """Ask until there is an answer that settles it."""
        await asyncio.sleep(wait)
        while True:
            answer = await self._post(order, asked)
            match answer:
                case Accepted(order_id=order_id):
                    order.accepted.add(order_id)
                    if not wait and order.cancel_at is not None:
                        await self._cancel(order, order_id, order.cancel_at)
                    return
                case Reused() if order.other is not None:
                    return  # the other order was faster
                case Reused():
                    self._platform.witness.fault(f"order {order.number}'s own key is another's", "I12")
                    return
            await asyncio.sleep(0.1 + self._world.chance.random() * 0.4)

    async def _swindle(self, order: Order, other: Asked) -> None:
        """Ask for another order under the same key until there is an answer: it may be the one that was made."""
        await asyncio.sleep(self._world.chance.uniform(0.0, 0.5))
        while True:
            match await self._post(order, other):
                case Accepted(order_id=order_id):
                    order.swindled = True
                    order.accepted.add(order_id)
                    return
                case Reused():
                    return
            await asyncio.sleep(0.1 + self._world.chance.random() * 0.4)

    async def _post(self, order: Order, asked: Asked) -> Answer | None:
        """POST /api/orders; None where no answer came."""
        claim = Claim(
            asked.user_id,
            f"key-{order.number}",
            asked.fingerprint,
            asked.as_order(OrderId(self._world.new_id())),
            self._world.new_id(),
        )
        gateway = self._gateway()
        if gateway is None or gateway.gate is None:
            await asyncio.sleep(0.2)
            return None
        await asyncio.sleep(self._world.delay())
        asking = gateway.process.spawn(gateway.gate.intake.accept(claim))
        await asyncio.wait([asking], timeout=PATIENCE_SECONDS)
        if not asking.done() or asking.cancelled() or not gateway.process.alive:
            return None
        answer = asking.result()
        self._world.note("answer", order.number, type(answer).__name__)
        return answer

    async def _cancel(self, order: Order, order_id: OrderId, wait: float) -> None:
        await asyncio.sleep(wait)
        cancel = SagaCancelOrder(order_id=order_id, user_id=order.asked.user_id, reason="changed my mind")
        while True:
            known = self._platform.databases["order_history"].tables["orders"].rows.get(order_id)
            if known is not None and known["status"] == "cancelled":
                return
            gateway = self._gateway()
            if gateway is not None and gateway.gate is not None:
                asking = gateway.process.spawn(open_cancel(gateway.gate, cancel, None))
                await asyncio.wait([asking], timeout=PATIENCE_SECONDS)
                if asking.done() and not asking.cancelled() and gateway.process.alive:
                    error = asking.exception()
                    if error is None:
                        order.cancelled = True
                        self._world.note("cancel", order.number)
                        return
                    if not isinstance(error, psycopg.Error | OSError):
                        raise error
            await asyncio.sleep(0.3)

    def _gateway(self) -> Running | None:
        """One of the gateways that a request may reach."""
        able = self._platform.running["gateway"]
        return self._world.chance.choice(able) if able else None
