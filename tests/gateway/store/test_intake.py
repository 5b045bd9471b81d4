"""Accepting orders in groups: what shares a transaction, what refuses alone, and what a lost commit leaves behind."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from uuid import uuid4

import psycopg
import pytest

from gateway.store.intake import Accepted, Answer, Intake, InUse, Limits, Reused, Unavailable
from gateway.store.intents import Claim
from libs.outbox.transaction import Transaction
from tests.gateway.front import Front
from tests.support.builders import a_message_id, a_user_id, an_order

pytestmark = pytest.mark.integration

Open = Callable[[], AbstractAsyncContextManager[Transaction]]


def a_claim(key: str | None = None) -> Claim:
    order = an_order()
    return Claim(order.user_id, key or uuid4().hex, b"f" * 32, order, a_message_id())


def intake(gate: Front, opened: Open | None = None, **limits: float) -> Intake:
    """An intake on the gateway's database; `opened` gives its transactions."""
    runtime = gate.runtime
    given = Limits(**limits)  # type: ignore[arg-type]
    return Intake(opened or runtime.database.transaction, runtime.outbox, given)


async def stored(gate: Front, *claims: Claim) -> list[tuple[int, int, int]]:
    """How many keys, intents and messages there are of each claim."""
    counts = []
    for one in claims:
        order_id = one.order.order_id
        keys = await gate.database.rows("SELECT 1 FROM idempotency_keys WHERE order_id = %s", order_id)
        kept = await gate.database.rows(
            "SELECT 1 FROM order_intents WHERE order_id = %s AND message_id = %s", order_id, one.message_id
        )
        sent = await gate.database.rows("SELECT 1 FROM outbox WHERE message_id = %s", one.message_id)
        counts.append((len(keys), len(kept), len(sent)))
    return counts


async def all_of(orders: Intake, claims: Sequence[Claim]) -> list[Answer]:
    return await asyncio.gather(*(orders.accept(one) for one in claims))


async def test_what_comes_together_shares_a_transaction(gate: Front) -> None:
    orders = intake(gate)
    claims = [a_claim() for _ in range(64)]
    answers = await all_of(orders, claims)
    assert answers == [Accepted(one.order.order_id, replayed=False) for one in claims]
    assert orders.committed == 1
    assert await stored(gate, *claims) == [(1, 1, 1)] * 64
    assert orders.waiting == 0


async def test_a_group_has_its_largest_size(gate: Front) -> None:
    orders = intake(gate, group_size=10)
    assert len(await all_of(orders, [a_claim() for _ in range(95)])) == 95
    assert orders.committed == 10


async def test_a_lone_order_waits_for_nobody(gate: Front) -> None:
    orders = intake(gate, group_wait=60)
    started = time.monotonic()
    assert isinstance(await orders.accept(a_claim()), Accepted)
    assert time.monotonic() - started < 30


class Gates:
    """Transactions that go wrong when told to: before the commit, after it, or not until they are let through."""

    def __init__(self, gate: Front) -> None:
        self._transaction = gate.runtime.database.transaction
        self.lose_after: list[Exception] = []
        self.fail_before: list[Exception] = []
        self.hold = asyncio.Event()
        self.hold.set()
        self.opened = 0
        self.first = asyncio.Event()

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[Transaction]:
        self.opened += 1
        self.first.set()
        await self.hold.wait()
        async with self._transaction() as tx:
            yield tx
            if self.fail_before:
                raise self.fail_before.pop(0)
        if self.lose_after:
            raise self.lose_after.pop(0)


LOST = psycopg.OperationalError("server closed the connection unexpectedly")


async def test_a_commit_whose_answer_was_lost_is_met_again(gate: Front) -> None:
    gates = Gates(gate)
    gates.lose_after = [LOST, LOST]
    orders = intake(gate, gates)
    claims = [a_claim() for _ in range(5)]
    answers = await all_of(orders, claims)
    assert answers == [Accepted(one.order.order_id, replayed=False) for one in claims], (
        "its own, not a replay"
    )
    assert gates.opened == 3
    assert await stored(gate, *claims) == [(1, 1, 1)] * 5


@pytest.mark.parametrize(
    "fault",
    [
        LOST,
        psycopg.errors.DeadlockDetected("deadlock detected"),
        psycopg.errors.SerializationFailure("could not serialize access"),
        psycopg.errors.LockNotAvailable("canceling statement due to lock timeout"),
        psycopg.errors.AdminShutdown("terminating connection due to administrator command"),
        psycopg.errors.DiskFull("could not extend file"),
    ],
)
async def test_a_fault_of_the_system_is_tried_again(gate: Front, fault: Exception) -> None:
    gates = Gates(gate)
    gates.fail_before = [fault]
    orders = intake(gate, gates)
    claim = a_claim()
    assert await orders.accept(claim) == Accepted(claim.order.order_id, replayed=False)
    assert await stored(gate, claim) == [(1, 1, 1)]


async def test_after_a_while_nothing_is_promised_and_the_key_settles_it(gate: Front) -> None:
    gates = Gates(gate)
    gates.lose_after = [LOST] * 1_000
    orders = intake(gate, gates, commit=0.2)
    claim = a_claim()
    assert await orders.accept(claim) == Unavailable()
    gates.lose_after = []
    again = replace(claim, order=an_order(user_id=claim.user_id), message_id=a_message_id())
    assert await orders.accept(again) == Accepted(claim.order.order_id, replayed=True)
    assert await stored(gate, claim, again) == [(1, 1, 1), (0, 0, 0)]


async def test_a_database_that_is_away_is_unavailable_and_nothing_is_stored(gate: Front) -> None:
    gates = Gates(gate)
    gates.fail_before = [LOST] * 1_000
    orders = intake(gate, gates, commit=0.2)
    claims = [a_claim() for _ in range(3)]
    assert await all_of(orders, claims) == [Unavailable()] * 3
    assert await stored(gate, *claims) == [(0, 0, 0)] * 3
    assert orders.waiting == 0, "the keys are free again"


async def test_one_that_cannot_be_stored_takes_nobody_with_it(gate: Front) -> None:
    orders = intake(gate)
    claims = [a_claim() for _ in range(9)]
    guilty = replace(a_claim(), key="x" * 256)
    answers = await asyncio.gather(*(orders.accept(one) for one in [*claims, guilty]), return_exceptions=True)
    assert answers[:-1] == [Accepted(one.order.order_id, replayed=False) for one in claims]
    assert isinstance(answers[-1], psycopg.errors.CheckViolation)
    assert await stored(gate, *claims, guilty) == [(1, 1, 1)] * 9 + [(0, 0, 0)]


async def test_a_key_in_flight_is_in_use(gate: Front) -> None:
    gates = Gates(gate)
    gates.hold.clear()
    orders = intake(gate, gates)
    claim = a_claim()
    first = asyncio.ensure_future(orders.accept(claim))
    await asyncio.sleep(0)
    assert await orders.accept(claim) == InUse()
    others = replace(a_claim(claim.key), user_id=a_user_id())
    second = asyncio.ensure_future(orders.accept(others))
    gates.hold.set()
    assert await first == Accepted(claim.order.order_id, replayed=False)
    assert isinstance(await second, Accepted), "the key is each user's own"


async def test_repeats_and_reuse(gate: Front) -> None:
    orders = intake(gate)
    claim = a_claim()
    await orders.accept(claim)
    same = replace(claim, order=an_order(user_id=claim.user_id), message_id=a_message_id())
    assert await orders.accept(same) == Accepted(claim.order.order_id, replayed=True)
    assert await orders.accept(replace(same, fingerprint=b"g" * 32)) == Reused()
    assert dict(orders.answered) == {"Accepted": 2, "Reused": 1}


async def test_repeats_and_new_ones_in_one_group(gate: Front) -> None:
    orders = intake(gate)
    old = [a_claim() for _ in range(5)]
    await all_of(orders, old)
    repeats = [replace(one, order=an_order(user_id=one.user_id)) for one in old]
    fresh = [a_claim() for _ in range(5)]
    before = orders.committed
    answers = await all_of(orders, [*repeats, *fresh])
    assert orders.committed == before + 1
    assert answers == [
        *(Accepted(one.order.order_id, replayed=True) for one in old),
        *(Accepted(one.order.order_id, replayed=False) for one in fresh),
    ]


async def test_a_client_that_leaves_takes_nobody_with_it(gate: Front) -> None:
    gates = Gates(gate)
    gates.hold.clear()
    orders = intake(gate, gates)
    claims = [a_claim() for _ in range(3)]
    waiting = [asyncio.ensure_future(orders.accept(one)) for one in claims]
    await asyncio.sleep(0)
    waiting[0].cancel()
    gates.hold.set()
    assert await asyncio.gather(*waiting[1:]) == [
        Accepted(one.order.order_id, replayed=False) for one in claims[1:]
    ]
    assert await stored(gate, *claims) == [(1, 1, 1)] * 3, "what was taken in is durable, heard or not"


async def test_a_full_queue_refuses(gate: Front) -> None:
    gates = Gates(gate)
    gates.hold.clear()
    orders = intake(gate, gates, queue=5)
    waiting = [asyncio.ensure_future(orders.accept(a_claim())) for _ in range(5)]
    await asyncio.sleep(0)
    assert await orders.accept(a_claim()) == Unavailable()
    gates.hold.set()
    assert all(isinstance(answer, Accepted) for answer in await asyncio.gather(*waiting))


async def test_while_one_group_hangs_others_go_on(gate: Front) -> None:
    gates = Gates(gate)
    gates.hold.clear()
    orders = intake(gate, gates, group_wait=0.001)
    stuck = asyncio.ensure_future(orders.accept(a_claim()))
    await gates.first.wait()
    gates.hold, held = asyncio.Event(), gates.hold
    gates.hold.set()
    assert isinstance(await orders.accept(a_claim()), Accepted)
    assert not stuck.done()
    held.set()
    assert isinstance(await stuck, Accepted)


async def test_the_backlog_is_looked_at_now_and_then(gate: Front) -> None:
    orders = intake(gate)
    await orders.accept(a_claim())
    rows, at = orders.backlog.rows, orders.backlog.at
    assert rows >= 1
    assert orders.backlog.age >= 0
    await orders.accept(a_claim())
    assert orders.backlog.at == at, "not for every group"
    orders.backlog.at = float("-inf")
    await orders.measure_backlog()
    assert orders.backlog.rows >= rows
