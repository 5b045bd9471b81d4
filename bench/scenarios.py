"""The scenarios: which loads each one drives, on which settings of the stack."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace
from statistics import median
from types import MappingProxyType
from typing import Final

import uuid_utils.compat

from bench import counters
from bench.cores import one_core
from bench.growth import grow
from bench.key_order import overtakings
from bench.measure import QUIET_SECONDS, Meter, ends_of, generate, measured
from bench.plan import Plan
from bench.result import Result
from bench.shop import Shop, buyers
from bench.stack import Stack, gone
from bench.twins import twins
from tests.faults.quiet import quiet

IN_FLIGHT: Final = (64, 200, 1_000)
RATES: Final = (10.0, 50.0)
WARMUP_SECONDS: Final = 5.0
BACKLOG_ORDERS: Final = 20_000
POSTS_IN_FLIGHT: Final = 64
GROWN_ORDERS: Final = 1_000_000
ONE_BY_ONE: Final[Mapping[str, str]] = MappingProxyType(
    {"BATCH_SIZE": "1", "RELAY_BATCH_SIZE": "1", "GROUP_SIZE": "1"}
)


@dataclass(frozen=True, slots=True)
class Bench:
    """A running stack with a filled shop, and how much of everything is wanted."""

    stack: Stack
    shop: Shop
    seconds: float
    in_flight: tuple[int, ...] = IN_FLIGHT
    backlog_orders: int = BACKLOG_ORDERS
    grown_orders: int = GROWN_ORDERS

    async def plan(self) -> Plan:
        """A closed loop of one, to be changed; its customers are signed in now."""
        info = self.stack.info
        return Plan(
            gateway_url=info.gateway_url,
            kafka_bootstrap=info.kafka_bootstrap,
            buyers=await buyers(info, self.stack.folder),
            products=self.shop.products,
            loop="closed",
            seconds=self.seconds,
            warmup_seconds=min(WARMUP_SECONDS, self.seconds),
            seed=time.time_ns() % 1_000_000,
        )


async def peak(bench: Bench) -> AsyncIterator[Result]:
    """A closed loop at several depths."""
    for in_flight in bench.in_flight:
        yield await _closed(bench, "peak", in_flight)


async def latency(bench: Bench) -> AsyncIterator[Result]:
    """An open loop at two rates; every fifth order waits for its end over HTTP."""
    for rate in RATES:
        plan = replace(await bench.plan(), loop="open", rate=rate, seen_share=0.2)
        yield await measured("latency", f"{rate:g}/s", bench.stack, plan)


async def cost(bench: Bench) -> AsyncIterator[Result]:
    """What a saga costs at 200 in flight; every load counts it, this one is made for it."""
    yield await _closed(bench, "cost", 200)


async def baseline(bench: Bench) -> AsyncIterator[Result]:
    """The same code with batches of one, and then as it is, in the same run."""
    await bench.stack.down()
    await bench.stack.up(ONE_BY_ONE)
    try:
        one_by_one = await _closed(bench, "baseline", 200)
        yield replace(one_by_one, load="200, batches of one")
    finally:
        await bench.stack.down()
        await bench.stack.up()
    batched = await _closed(bench, "baseline", 200)
    gain = batched.sagas_per_s / one_by_one.sagas_per_s if one_by_one.sagas_per_s else 0.0
    yield replace(batched, notes={"times_batches_of_one": round(gain, 2)})


async def layout(bench: Bench) -> AsyncIterator[Result]:
    """A process for each service, and one that most share, in the same run."""
    rate = RATES[-1]
    for name in ("apart", "together"):
        await bench.stack.down()
        await bench.stack.up({"LAYOUT": name})
        try:
            for in_flight in bench.in_flight:
                result = await _closed(bench, "layout", in_flight)
                yield replace(result, load=f"{in_flight}, {name}")
            plan = replace(await bench.plan(), loop="open", rate=rate)
            yield await measured("layout", f"{rate:g}/s, {name}", bench.stack, plan)
        finally:
            await bench.stack.down()
    await bench.stack.up()


async def growth(bench: Bench) -> AsyncIterator[Result]:
    """Peak on tables as they are, and again with many finished orders in them."""
    small = await _closed(bench, "growth", 200)
    yield small
    orders = await grow(bench.stack, bench.grown_orders)
    grown = await _closed(bench, "growth", 200)
    slower = 1 - grown.sagas_per_s / small.sagas_per_s if small.sagas_per_s else 1.0
    yield replace(grown, load=f"200, {orders} orders there", notes={"slower_by": round(slower, 3)})


async def backlog(bench: Bench) -> AsyncIterator[Result]:
    """Orders are accepted while order_saga is down; then it drains them."""
    stack = bench.stack
    meter = await Meter.started(stack)
    await gone(stack.signal("order_saga", signal.SIGTERM), within=20)
    plan = await bench.plan()
    accepting = await generate(
        replace(
            plan, in_flight=64, orders=bench.backlog_orders, seconds=3_600, warmup_seconds=0, follow=False
        )
    )
    back = time.time()
    await stack.up()
    await quiet(stack.info.postgres_admin, stack.info.kafka_bootstrap, within=QUIET_SECONDS)
    ids = [placed.order_id for placed in accepting.orders if placed.order_id is not None]
    ends = await ends_of(stack, ids)
    accepted_in = max(placed.answered for placed in accepting.orders) - accepting.window_from
    first, last = min(end.at for end in ends.values()), max(end.at for end in ends.values())
    result = await meter.result("backlog", f"{len(ids)} orders", replace(accepting, window_to=last))
    notes = {
        "accepted_per_s": round(len(ids) / accepted_in, 1),
        "first_end_after_s": round(first - back, 1),
        "drained_in_s": round(last - first, 1),
    }
    yield replace(result, sagas_per_s=round(len(ids) / max(last - first, 0.001), 1), notes=notes)


async def gateway(bench: Bench) -> AsyncIterator[Result]:
    """POST /api/orders alone, the gateway on one core: orders are accepted while order_saga is down."""
    stack = bench.stack
    meter = await Meter.started(stack)
    await gone(stack.signal("order_saga", signal.SIGTERM), within=20)
    plan = await bench.plan()
    before = await counters.read(stack.info)
    with one_core(stack.info.pids["gateway"]):
        accepting = await generate(replace(plan, in_flight=POSTS_IN_FLIGHT, follow=False))
    used = counters.used(before, await counters.read(stack.info))
    await stack.up()
    result = await meter.result("gateway", f"{POSTS_IN_FLIGHT} POSTs in flight", accepting)
    answered = [placed for placed in accepting.orders if placed.error is None]
    in_window = [one for one in answered if accepting.window_from <= one.answered < accepting.window_to]
    posts = max(1, len(answered))
    notes = {
        "posts_per_s": round(len(in_window) / (accepting.window_to - accepting.window_from), 1),
        "cpu_us_per_post": round(used.cpu["gateway"] / posts * 1_000_000, 1),
        "postgres_us_per_post": round(used.cpu["postgres"] / posts * 1_000_000, 1),
        "kafka_us_per_post": round(used.cpu["kafka"] / posts * 1_000_000, 1),
        "generator_us_per_post": round(accepting.cpu_seconds / posts * 1_000_000, 1),
        "transactions_per_post": round(used.transactions["gateway"] / posts, 4),
        "post_p50_ms": result.post_p50_ms,
        "post_p99_ms": result.post_p99_ms,
    }
    yield replace(result, notes=notes)


async def recovery(bench: Bench) -> AsyncIterator[Result]:
    """order_saga is killed in the middle of a load and started again."""
    stack = bench.stack
    meter = await Meter.started(stack)
    plan = replace(await bench.plan(), in_flight=200, seconds=max(bench.seconds, 20.0))
    load = asyncio.create_task(generate(plan))
    await asyncio.sleep(plan.warmup_seconds + plan.seconds / 3)
    await gone(stack.signal("order_saga", signal.SIGKILL))
    killed = time.time()
    await stack.up()
    back = time.time()
    outcome = await load
    result = await meter.result("recovery", "200, kill -9 order_saga", outcome)
    seconds = result.sagas_by_second
    until_kill, from_back = int(killed - outcome.window_from), int(back - outcome.window_from)
    before = median(seconds[:until_kill])  # the first second has what the warm-up left under way
    regained = next((n for n, rate in enumerate(seconds[from_back:]) if rate >= 0.9 * before), -1)
    notes = {"down_s": round(back - killed, 1), "back_at_90_percent_after_s": regained}
    yield replace(result, notes=notes)


async def scaled(bench: Bench) -> AsyncIterator[Result]:
    """Two processes of the orchestrator and of the inventory share the partitions; nothing may overtake."""
    services = ("order_saga", "inventory")
    since = uuid_utils.compat.uuid7()
    async with twins(bench.stack, services) as beside:
        meter = await Meter.started(bench.stack, beside)
        before = await counters.read(meter.info)
        outcome = await generate(replace(await bench.plan(), in_flight=200))
        used = counters.used(before, await counters.read(meter.info))
        result = await meter.result("scaled", "200, two order_saga, two inventory", outcome)
    wrong = await overtakings(bench.stack.info.kafka_bootstrap, since)
    shares = {
        f"{service}_twin_share": round(
            used.records[f"{service}_twin"] / max(1, used.records[service] + used.records[f"{service}_twin"]),
            2,
        )
        for service in services
    }
    yield replace(result, books=[*result.books, *wrong], notes={"overtakings": float(len(wrong)), **shares})


async def _closed(bench: Bench, scenario: str, in_flight: int) -> Result:
    plan = replace(await bench.plan(), in_flight=in_flight)
    return await measured(scenario, str(in_flight), bench.stack, plan)


SCENARIOS: Final[Mapping[str, Callable[[Bench], AsyncIterator[Result]]]] = MappingProxyType(
    {
        "peak": peak,
        "latency": latency,
        "cost": cost,
        "baseline": baseline,
        "backlog": backlog,
        "gateway": gateway,
        "recovery": recovery,
        "scaled": scaled,
        "layout": layout,
        "growth": growth,
    }
)
"""By name; growth comes last, because it leaves a stack full of old orders behind."""
