"""What must not grow without end: I16, the memory of processes and the rows of tables."""

from collections.abc import AsyncIterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from tests.faults.books import Books
from tests.faults.platform import DATABASES, Platform
from tests.faults.violation import Violation

MIB: Final = 1_048_576
ALLOWED_PER_HOUR: Final = 64 * MIB
FEWEST: Final = 10
"""Fewer samples than this say nothing about a slope."""
SETTLING_SECONDS: Final = 300.0
"""For so long a process that was just started fills its caches, and its growth says nothing either."""

TABLES: Final = """
    SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') AND NOT c.relispartition
"""
ORDERS: Final = "SELECT count(*) FROM sagas WHERE business_key >= %s"
PER_ORDER_AT_MOST: Final = 10
PER_ORDER: Final = MappingProxyType(
    {
        # Never, however many orders there are:
        "consumer_offsets": 0,
        "signing_keys": 0,
        "categories": 0,
        # Once, or as often as an order has lines, entries, messages:
        "sagas": 2,
        "saga_journal": 100,
        "inbox": 60,
        "orders": 1,
        "holds": 1,
        "payments": 1,
        "order_lines": 50,
        "reservations": 50,
    }
)
SPARE: Final = 200
"""Rows that are no order's: customers, products, what a few strays leave behind."""
QUEUES: Final = """
    SELECT relname, pg_total_relation_size(oid) FROM pg_class
    WHERE relkind = 'r' AND relname IN ('outbox', 'parked_messages')
"""
QUEUE_BYTES: Final = 192 * MIB
"""A queue that is empty and keeps this much is never vacuumed: it is what a thousand orders a second, each with six
messages of 0.8 KiB from one service, leave behind within twice the 20 s that autovacuum naps."""

Samples = Sequence[tuple[float, float]]
"""Seconds and bytes."""


async def memory(samples: Mapping[str, Samples]) -> AsyncIterator[Violation]:
    """Every process whose memory grows faster than an hour of it would bear, once it has settled."""
    for process, taken in samples.items():
        settled = settled_of(taken)
        if len(settled) >= FEWEST and (per_hour := slope(settled) * 3_600) > ALLOWED_PER_HOUR:
            yield Violation("I16", process, f"grows by {per_hour / MIB:.0f} MiB an hour")


def settled_of(samples: Samples) -> Samples:
    """The samples without the first third, or the first minutes, whichever is longer."""
    until = samples[0][0] + SETTLING_SECONDS if samples else 0.0
    return [sample for sample in samples[len(samples) // 3 :] if sample[0] >= until]


def slope(samples: Samples) -> float:
    """The least-squares slope, in bytes per second."""
    count = len(samples)
    mean_x = sum(x for x, _ in samples) / count
    mean_y = sum(y for _, y in samples) / count
    spread = sum((x - mean_x) ** 2 for x, _ in samples)
    return sum((x - mean_x) * (y - mean_y) for x, y in samples) / spread if spread else 0.0


async def rows(platform: Platform) -> dict[str, int]:
    """How many rows each table of each service holds, by "service.table"."""
    counted: dict[str, int] = {}
    for service in DATABASES:
        for (table,) in await platform.rows(service, TABLES):
            counted[f"{service}.{table}"] = await platform.scalar(service, f'SELECT count(*) FROM "{table}"')  # noqa: S608
    return counted


async def tables(platform: Platform, before: Books) -> AsyncIterator[Violation]:
    """Every table that has grown by more than its orders account for, and every queue that has swollen."""
    if before.rows:
        orders = await platform.scalar("order_saga", ORDERS, [before.first_order])
        for name, count in (await rows(platform)).items():
            grown = count - before.rows.get(name, 0)
            allowed = orders * PER_ORDER.get(name.partition(".")[2], PER_ORDER_AT_MOST) + SPARE
            if grown > allowed:
                yield Violation("I16", name, f"has {grown} more rows after {orders} orders")
    for service in DATABASES:
        for table, size in await platform.rows(service, QUEUES):
            if size > QUEUE_BYTES:
                yield Violation("I16", f"{service}.{table}", f"takes {size / MIB:.0f} MiB at quiet")
