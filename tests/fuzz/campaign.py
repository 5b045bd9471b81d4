"""A campaign: bad records into a running platform's topics between orders; who buried what, and whether all went on."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Final

import httpx
import psycopg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from bench.stack import StackInfo
from libs.contracts.topics import CONSUMING_SERVICES
from libs.contracts.topics import dead_letters as dead_letter_topic
from tests.faults.auditor import audit, opened
from tests.faults.platform import databases_at
from tests.faults.quiet import quiet
from tests.fuzz.good import TOPICS, Draft, any_good, good
from tests.fuzz.handmade import ANYWHERE, OF_TYPE
from tests.fuzz.mutation import mutants
from tests.fuzz.oracle import deaths, harms
from tests.support.crowd import Crowd
from tests.support.shop import Shop

AT_ONCE: Final = 200
"""So many bad records, then some orders."""
ORDERS: Final = 6
QUIET_SECONDS: Final = 240.0
BURIED: Final = 'SELECT topic, partition, "offset", reason FROM dead_letters WHERE id > %s'

Death = tuple[str, str, int, int, str]
"""Service, topic, partition, offset, reason."""


@dataclass(slots=True)
class Campaign:
    """What was sent, what had to die of it, and what was wrong."""

    sent: int = 0
    orders: int = 0
    completed: int = 0
    expected: set[Death] = field(default_factory=set)
    findings: list[str] = field(default_factory=list)


def drafts(seed: int, count: int) -> Iterator[Draft]:
    """All hand-made ones, each on a topic that its seed says, then so many mutants; none that sells something."""
    random = Random(seed)  # noqa: S311 - the same seed, the same records
    for number, (_, spoil) in enumerate(ANYWHERE.values()):
        yield spoil(any_good(random, TOPICS[(seed + number) % len(TOPICS)]))
    for wire, spoils in OF_TYPE.items():
        for _, spoil in spoils:
            yield spoil(good(random, wire))
    yield from (draft for draft in mutants(seed, count) if not harms(draft))


async def campaign(info: StackInfo, *, seed: int, count: int) -> Campaign:
    """Send them all, placing orders in between, and hold what became of it against what should have."""
    result = Campaign()
    async with httpx.AsyncClient(base_url=info.gateway_url, timeout=60) as http:
        shop = Shop(http)
        operator = await shop.operator(info.operator.email, info.operator.password)
        crowd = await Crowd.gathered(shop, operator, customers=3)
        await quiet(info.postgres_admin, info.kafka_bootstrap, within=QUIET_SECONDS)
        before = await opened(info.postgres_admin)
        letters = await _ends(info)
        all_drafts = list(drafts(seed, count))
        for start in range(0, len(all_drafts), AT_ONCE):
            await _send(info, all_drafts[start : start + AT_ONCE], result)
            await crowd.order(ORDERS, at_once=ORDERS)
        await quiet(info.postgres_admin, info.kafka_bootstrap, within=QUIET_SECONDS)
        result.orders = len(crowd.accepted)
        result.completed = await _completed(info, crowd)
        places = frozenset((topic, partition, offset) for _, topic, partition, offset, _ in result.expected)
        given = replace(crowd.given, poison=places)
        # What the records left behind is no order's.
        found = await audit(
            info.postgres_admin, replace(before, rows={}), given, bootstrap=info.kafka_bootstrap
        )
        result.findings += [str(violation) for violation in found]
    buried = await _buried(info, before.dead_letters)
    result.findings += [f"I11 not buried: {one}" for one in sorted(result.expected - buried)]
    result.findings += [f"I11 buried by mistake: {one}" for one in sorted(buried - result.expected)]
    for service, count_before in letters.items():
        told = (await _ends(info))[service] - count_before
        owed = sum(death[0] == service for death in result.expected)
        if told != owed:
            result.findings.append(f"I11 {service} published {told} dead letters of {owed}")
    if result.completed < result.orders // 2:
        result.findings.append(f"{result.completed} of {result.orders} orders completed")
    return result


async def _send(info: StackInfo, some: Sequence[Draft], result: Campaign) -> None:
    producer = AIOKafkaProducer(
        bootstrap_servers=info.kafka_bootstrap, acks="all", linger_ms=20, max_request_size=1_040_000
    )
    await producer.start()
    try:
        sends = [
            await producer.send(d.topic, key=d.key, value=d.value, headers=list(d.headers)) for d in some
        ]
        placed = await asyncio.gather(*sends)
    finally:
        await producer.stop()
    for draft, place in zip(some, placed, strict=True):
        result.sent += 1
        for service, reason in deaths(draft).items():
            result.expected.add((service, draft.topic, place.partition, place.offset, reason))


async def _buried(info: StackInfo, since: Mapping[str, int]) -> set[Death]:
    found: set[Death] = set()
    for service in CONSUMING_SERVICES:
        dsn = databases_at(info.postgres_admin)[service]
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as session:
            cursor = await session.execute(BURIED, [since.get(service, 0)])
            found |= {(service, *row) for row in await cursor.fetchall()}
    return found


async def _ends(info: StackInfo) -> dict[str, int]:
    """How many dead letters each service has published."""
    consumer = AIOKafkaConsumer(bootstrap_servers=info.kafka_bootstrap, enable_auto_commit=False)
    await consumer.start()
    try:
        counts = {}
        for service in CONSUMING_SERVICES:
            topic = dead_letter_topic(service)
            places = [TopicPartition(topic, n) for n in range(3)]
            counts[service] = sum((await consumer.end_offsets(places)).values())
        return counts
    finally:
        await consumer.stop()


async def _completed(info: StackInfo, crowd: Crowd) -> int:
    dsn = databases_at(info.postgres_admin)["order"]
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as session:
        cursor = await session.execute(
            "SELECT count(*) FROM orders WHERE status = 'completed' AND id = ANY(%s)", [list(crowd.accepted)]
        )
        [(count,)] = await cursor.fetchall()
        return int(count)
