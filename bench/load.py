"""The load generator: a process of its own that places orders over HTTP, in a closed or an open loop."""

import asyncio
import gc
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID, uuid4

import orjson
import uvloop

from bench.http import Client, ConnectionLostError
from bench.plan import OUTCOME, PLAN, Buyer, Outcome, Placed, Plan
from bench.watch import Ends, watching

ACCEPTED = 202
TERMINAL = frozenset({"completed", "cancelled"})
WAIT_SECONDS = 30
PAUSE_AFTER_FAILURE_SECONDS = 0.1


class Generator:
    """Places orders and remembers what became of each."""

    def __init__(self, plan: Plan, client: Client, ends: Ends) -> None:
        self._plan = plan
        self._client = client
        self._ends = ends
        self._random = random.Random(plan.seed)  # noqa: S311 - load, not secrets
        self._arrivals = random.Random(plan.seed)  # noqa: S311 - of its own: every run has the same schedule
        self._solvent = [buyer for buyer in plan.buyers if buyer.solvent]
        self._broke = [buyer for buyer in plan.buyers if not buyer.solvent] or self._solvent
        self._left = plan.orders
        self.placed: list[Placed] = []
        self.worst_lag = 0.0

    def _buyer(self) -> Buyer:
        refused = self._random.random() < self._plan.refused_share
        return self._random.choice(self._broke if refused else self._solvent)

    def _body(self, buyer: Buyer) -> bytes:
        products = self._random.sample(self._plan.products, self._random.randint(1, 3))
        lines = [{"product_id": product, "quantity": self._random.randint(1, 2)} for product in products]
        return orjson.dumps({"payment_method_id": buyer.payment_method_id, "lines": lines})

    def _take(self) -> bool:
        if self._left is None:
            return True
        self._left -= 1
        return self._left >= 0

    async def place(self, due: float) -> bool:
        """One order, from its POST to its end; false when it was not accepted."""
        buyer = self._buyer()
        over_http = self._random.random() < self._plan.seen_share
        headers = {"Authorization": f"Bearer {buyer.token}", "Idempotency-Key": str(uuid4())}
        if over_http:
            headers["Prefer"] = f"wait={WAIT_SECONDS}"
        try:
            response = await self._client.request(
                "POST", "/api/orders", headers=headers, body=self._body(buyer)
            )
        except (ConnectionLostError, OSError, TimeoutError) as error:
            self._failed(due, 0, over_http, buyer, f"{type(error).__name__}: {error}")
            return False
        answered = time.time()
        if response.status != ACCEPTED:
            self._failed(due, response.status, over_http, buyer, response.body[:200].decode(errors="replace"))
            return False
        answer = response.json()
        order_id = UUID(str(answer["order_id"]))
        ended: float | None = None
        if over_http:
            ended = answered if answer["status"] in TERMINAL else None
        elif self._plan.follow:
            ended = await self._end_of(order_id)
        unseen = "no end was seen" if self._plan.follow and ended is None else None
        self.placed.append(
            Placed(due, answered, ended, order_id, response.status, over_http, buyer.solvent, unseen)
        )
        return True

    async def _end_of(self, order_id: UUID) -> float | None:
        try:
            return await asyncio.wait_for(self._ends.of(order_id), self._plan.drain_seconds)
        except TimeoutError:
            return None

    def _failed(self, due: float, status: int, over_http: bool, buyer: Buyer, error: str) -> None:
        self.placed.append(Placed(due, time.time(), None, None, status, over_http, buyer.solvent, error))

    async def closed(self, until: float) -> None:
        """Keep `in_flight` orders under way."""

        async def customer() -> None:
            while time.time() < until and self._take():
                if not await self.place(time.time()):
                    await asyncio.sleep(PAUSE_AFTER_FAILURE_SECONDS)

        async with asyncio.TaskGroup() as group:
            for _ in range(self._plan.in_flight):
                group.create_task(customer())

    async def open(self, start: float, until: float) -> None:
        """Send by schedule; an order that is sent late is counted from its place in the schedule."""
        async with asyncio.TaskGroup() as group:
            for due in self._schedule(start, until):
                await asyncio.sleep(max(0.0, due - time.time()))
                self.worst_lag = max(self.worst_lag, time.time() - due)
                group.create_task(self.place(due))

    def _schedule(self, start: float, until: float) -> Iterator[float]:
        due = start
        while due < until and self._take():
            yield due
            due += self._arrivals.expovariate(self._plan.rate)


async def generate(plan: Plan) -> Outcome:
    """Carry out a plan."""
    client = Client(plan.gateway_url)
    async with watching(plan.kafka_bootstrap) as ends:
        generator = Generator(plan, client, ends)
        gc.freeze()
        start, cpu = time.time(), time.process_time()
        window_from = start + plan.warmup_seconds
        until = window_from + plan.seconds
        await (generator.closed(until) if plan.loop == "closed" else generator.open(start, until))
        stopped = min(until, time.time())
        client.close()
        return Outcome(
            window_from,
            stopped,
            tuple(generator.placed),
            time.process_time() - cpu,
            client.reconnects,
            generator.worst_lag * 1000,
        )


def main() -> None:
    """Read the plan from the first file and write the outcome to the second."""
    plan, outcome = map(Path, sys.argv[1:])
    outcome.write_bytes(OUTCOME.dump_json(uvloop.run(generate(PLAN.validate_json(plan.read_bytes())))))


if __name__ == "__main__":
    main()
