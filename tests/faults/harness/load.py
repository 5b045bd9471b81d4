"""Customers who insist: orders by a schedule, each sent again with its key until it is answered."""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final
from uuid import UUID

import orjson

from bench.http import Client, ConnectionLostError
from tests.support.shop import PASSWORD

ACCEPTED: Final = 202
SIGNED_IN: Final = 200
SIGN_IN_AGAIN: Final = 401
CONFLICT: Final = 409
TOO_LATE: Final = "order_not_cancellable"
"""What is answered to a second try of a cancellation whose first took effect and was never answered."""
TRY_AGAIN: Final = frozenset({SIGN_IN_AGAIN, CONFLICT, 429, 502, 503, 504})
INSIST_SECONDS: Final = 90.0
BETWEEN_SECONDS: Final = 0.25
ANSWER_SECONDS: Final = 15.0
UNANSWERED: Final = 40
"""How many orders wait for their answers at once, at most: customers give up coming when the shop is shut."""


AT_MOST_SECONDS: Final = 30


class NotAcceptedError(Exception):
    """A platform that nobody hurts refused an order."""


@dataclass(slots=True)
class Person:
    """Somebody signed in, who signs in again once the token is refused, as after a clock was put back."""

    email: str
    token: str
    _signing_in: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def sign_in(self, client: Client, refused: str) -> None:
        """Replace this token by a new one, unless that was done meanwhile; all who ask wait for the one answer."""
        async with self._signing_in:
            if self.token == refused:
                body = orjson.dumps({"email": self.email, "password": PASSWORD})
                response = await client.request("POST", "/auth/login", body=body)
                if response.status == SIGNED_IN:
                    self.token = str(response.json()["access_token"])


@dataclass(frozen=True, slots=True)
class Buyer:
    """A way in which somebody pays."""

    person: Person
    method: UUID


@dataclass(frozen=True, slots=True)
class Crowd:
    """Who buys, by what becomes of their orders, and what there is to buy."""

    wallets: Sequence[Buyer]
    cards: Sequence[Buyer]
    broke: Sequence[Buyer]
    declined: Sequence[Buyer]
    silent: Sequence[Buyer]
    captured_silent: Sequence[Buyer]
    products: Sequence[UUID]
    scarce: UUID
    secrets: frozenset[str]


Mix = tuple[tuple[str, int], ...]
USUAL: Final[Mix] = (
    ("wallet", 58),
    ("card", 10),
    ("broke", 8),
    ("declined", 7),
    ("short", 7),
    ("cancelled", 10),
)
"""What becomes of so many orders of a hundred, where nothing is in the way."""


@dataclass(slots=True)
class Placed:
    """One order as its customer saw it; times are seconds since the epoch."""

    kind: str
    key: str
    sent: float
    accepted: float | None = None
    order_id: UUID | None = None
    cancel_accepted: bool = False
    tries: int = 0
    wrong: str | None = None


@dataclass(slots=True)
class Load:
    """One round's orders."""

    gateway_url: str
    crowd: Crowd
    random: Random
    mix: Mix = USUAL
    hot: float = 0.0
    """The share of lines that is for one and the same product."""
    placed: list[Placed] = field(default_factory=list)
    answers: dict[str, set[UUID]] = field(default_factory=lambda: defaultdict(set))
    statuses: Counter[int] = field(default_factory=Counter)

    async def run(self, *, rate: float, at_least: int, afterwards: float, go_on: Callable[[], bool]) -> None:
        """Send `rate` orders a second until there are enough, then that share of it until nobody wants more.

        Returns once all are answered.
        """
        client = Client(self.gateway_url, timeout_seconds=ANSWER_SECONDS)
        due, room = time.time(), asyncio.Semaphore(UNANSWERED)
        try:
            async with asyncio.TaskGroup() as group:
                while len(self.placed) < at_least or go_on():
                    await asyncio.sleep(max(0.0, due - time.time()))
                    await room.acquire()
                    group.create_task(self._order(client)).add_done_callback(lambda _: room.release())
                    slower = 1 if len(self.placed) < at_least else afterwards
                    due = max(due, time.time() - 1) + self.random.expovariate(rate * slower)
        finally:
            client.close()

    async def one(self) -> float:
        """Place one order that will be completed, with nothing else under way; how long it took to its end."""
        client = Client(self.gateway_url, timeout_seconds=2 * AT_MOST_SECONDS)
        buyer, started = self.crowd.wallets[0], time.time()
        headers = {
            "Authorization": f"Bearer {buyer.person.token}",
            "Idempotency-Key": UUID(int=self.random.getrandbits(128)).hex,
            "Prefer": f"wait={AT_MOST_SECONDS}",
        }
        body = orjson.dumps({"payment_method_id": buyer.method, "lines": self._lines("wallet")})
        try:
            response = await client.request("POST", "/api/orders", headers=headers, body=body)
        finally:
            client.close()
        if response.status != ACCEPTED:
            raise NotAcceptedError(f"an order at rest: {response.status} {response.body[:500]!r}")
        return time.time() - started

    @property
    def accepted(self) -> frozenset[UUID]:
        """Every order that was answered with 202."""
        return frozenset().union(*self.answers.values())

    async def _order(self, client: Client) -> None:
        kinds, shares = zip(*self.mix, strict=True)
        [kind] = self.random.choices(kinds, shares)
        buyer = self._buyer(kind)
        key = UUID(int=self.random.getrandbits(128)).hex
        placed = Placed(kind, key, time.time())
        self.placed.append(placed)
        body = {"payment_method_id": buyer.method, "lines": self._lines(kind)}
        answer = await self._insist(client, buyer, "/api/orders", body, placed)
        if answer is None:
            return
        placed.accepted = time.time()
        placed.order_id = UUID(str(answer["order_id"]))
        self.answers[key].add(placed.order_id)
        if kind == "cancelled":
            await asyncio.sleep(self.random.random() * 0.6)  # before, while and after it is paid
            path = f"/api/orders/{placed.order_id}/cancel"
            cancelled = await self._insist(client, buyer, path, {"reason": "Changed my mind."}, placed)
            placed.cancel_accepted = cancelled is not None

    async def _insist(
        self, client: Client, buyer: Buyer, path: str, body: object, placed: Placed
    ) -> dict[str, object] | None:
        content = orjson.dumps(body)
        deadline = time.monotonic() + INSIST_SECONDS
        while time.monotonic() < deadline:
            placed.tries += 1
            token = buyer.person.token
            headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": placed.key}
            try:
                response = await client.request("POST", path, headers=headers, body=content)
                if response.status == SIGN_IN_AGAIN:
                    await buyer.person.sign_in(client, token)
            except (ConnectionLostError, OSError, TimeoutError):
                self.statuses[0] += 1
            else:
                self.statuses[response.status] += 1
                if response.status == ACCEPTED:
                    return response.json()
                if response.status == CONFLICT and response.json()["code"] == TOO_LATE:
                    return None
                if response.status not in TRY_AGAIN:
                    placed.wrong = f"{path}: {response.status} {response.body[:200].decode(errors='replace')}"
                    return None
            await asyncio.sleep(BETWEEN_SECONDS * (0.5 + self.random.random()))
        placed.wrong = f"{path}: no answer in {INSIST_SECONDS:.0f} s"
        return None

    def _buyer(self, kind: str) -> Buyer:
        crowd = self.crowd
        among = {
            "card": crowd.cards,
            "broke": crowd.broke,
            "declined": crowd.declined,
            "silent": crowd.silent,
            "captured_silent": crowd.captured_silent,
        }
        return self.random.choice(among.get(kind, crowd.wallets))

    def _lines(self, kind: str) -> list[dict[str, object]]:
        if kind == "short":
            return [{"product_id": self.crowd.scarce, "quantity": 1}]
        products = self.random.sample(self.crowd.products, self.random.randint(1, 3))
        if self.random.random() < self.hot:
            products = [self.crowd.products[0]]
        return [{"product_id": product, "quantity": self.random.randint(1, 2)} for product in products]
