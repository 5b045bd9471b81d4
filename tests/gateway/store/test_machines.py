"""Idempotency keys and refresh families against their models: any sequence of operations, on the real database."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, ClassVar, TypeVar
from uuid import UUID, uuid4

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule

from gateway.domain.tokens import Verdict, first_token, hashed
from gateway.store import accounts, intents
from gateway.store.accounts import Candidate
from gateway.store.intents import Claim
from libs.contracts.values import OrderId, UserId
from libs.outbox.connection import connect, transaction
from libs.outbox.pipeline import Connection
from libs.outbox.transaction import Transaction
from tests.support.builders import a_message_id, a_user_id, an_order
from tests.support.databases import Database, Databases
from tests.support.machines import DatabaseMachine, run_machine

pytestmark = pytest.mark.integration

T = TypeVar("T")
ROUTE = "POST /api/orders"
GRACE = timedelta(seconds=1_000)  # so long that a slow machine makes no difference
DAY = 86_400


@pytest.fixture
async def database(run_databases: Databases) -> Any:
    made = await run_databases.fresh("gateway")
    yield made
    await run_databases.drop(made)


class StoreMachine(DatabaseMachine):
    """A machine that asks the gateway's store, one transaction after the other."""

    connection: ClassVar[Connection]

    @classmethod
    async def open(cls, stack: AsyncExitStack) -> None:
        opened = await connect(cls.database.runtime_dsn, name="machine")
        cls.connection = await stack.enter_async_context(opened)

    def run(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """What comes of it in a transaction of its own."""

        async def within() -> T:
            async with transaction(self.connection) as tx:
                await tx.read_clock()
                return await work(tx)

        return self.wait_for(within())


KEYS = st.sampled_from(["a", "b", "c", "d"])
BODIES = st.sampled_from([b"x" * 32, b"y" * 32])


class IdempotencyKeys(StoreMachine):
    """A key stands for the first request that came with it, until it is a day old."""

    def __init__(self) -> None:
        super().__init__()
        self.user_id = a_user_id()
        self.model: dict[str, tuple[bytes, OrderId]] = {}
        self.orders = 0

    @rule(group=st.dictionaries(KEYS, BODIES, min_size=1, max_size=4))
    def claim(self, group: dict[str, bytes]) -> None:
        claims = []
        for key, fingerprint in sorted(group.items()):
            order = an_order(1, user_id=self.user_id)
            claims.append(Claim(self.user_id, key, fingerprint, order, a_message_id()))

        async def both(tx: Transaction) -> Any:
            won = await intents.claim(tx, ROUTE, claims, DAY)
            fresh = [one for one in claims if one.order.order_id in won]
            if fresh:
                await intents.open_orders(tx, fresh)
            return won, await intents.known(tx, ROUTE, claims)

        won, known = self.run(both)
        for one in claims:
            free = one.key not in self.model
            assert (one.order.order_id in won) == free
            if free:
                self.model[one.key] = one.fingerprint, one.order.order_id
                self.orders += 1
            stored = known[self.user_id, one.key]
            assert (stored.fingerprint, stored.order_id) == self.model[one.key]

    @rule(key=KEYS)
    def a_day_passes_for(self, key: str) -> None:
        async def age(tx: Transaction) -> None:
            await tx.queue(
                "UPDATE idempotency_keys SET created_at = created_at - interval '1 day' WHERE user_id = %s AND key = %s",
                [self.user_id, key],
            )

        self.run(age)
        self.model.pop(key, None)

    @rule()
    def tidy_up(self) -> None:
        self.run(lambda tx: intents.forget_keys(tx, DAY))

    @invariant()
    def each_order_has_an_intent(self) -> None:
        async def count(tx: Transaction) -> int:
            rows = await tx.fetch("SELECT count(*) FROM order_intents WHERE user_id = %s", [self.user_id])
            return int(rows[0][0])

        assert self.run(count) == self.orders


async def test_idempotency_keys(database: Database) -> None:
    await run_machine(IdempotencyKeys, database, examples=40, steps=30)


@dataclass
class Family:
    """A session as it should be: its tokens in order, since when each is used, and whether it is over."""

    family_id: UUID
    tokens: list[str] = field(default_factory=list)
    used: dict[str, float] = field(default_factory=dict)
    revoked: bool = False


class RefreshFamilies(StoreMachine):
    """Rotation, repeats within the grace, reuse after it, sign-out; with time that passes for all at once."""

    user_id: UserId

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.families: list[Family] = []

    @initialize()
    def somebody(self) -> None:
        who = Candidate(a_user_id(), f"{uuid4().hex}@example.com", "Ada", "customer", "$argon2id$none")
        self.run(lambda tx: accounts.register(tx, who))
        self.user_id = who.id

    @rule()
    def sign_in(self) -> None:
        family = Family(uuid4(), [first_token()])
        self.run(lambda tx: accounts.begin_family(tx, self.user_id, family.family_id, family.tokens[0], DAY))
        self.families.append(family)

    @rule(seconds=st.sampled_from([310.0, 420.0, 1_100.0]))
    def time_passes(self, seconds: float) -> None:
        async def age(tx: Transaction) -> None:
            await tx.queue(
                "UPDATE refresh_tokens SET used_at = used_at - make_interval(secs => %s) WHERE user_id = %s",
                [seconds, self.user_id],
            )

        self.run(age)
        self.now += seconds

    @rule(data=st.data())
    def refresh(self, data: st.DataObject) -> None:
        if not self.families:
            return
        family = data.draw(st.sampled_from(self.families))
        token = data.draw(st.sampled_from(family.tokens))
        renewal = self.run(lambda tx: accounts.renew(tx, token, b"key", DAY, GRACE))
        used_at = family.used.get(token)
        if family.revoked:
            assert (renewal.verdict, renewal.token) == (Verdict.REFUSE, None)
        elif used_at is None:
            assert renewal.verdict is Verdict.ROTATE
            assert renewal.token is not None
            family.tokens.append(renewal.token)
            family.used[token] = self.now
        elif self.now - used_at < GRACE.total_seconds():
            assert renewal.verdict is Verdict.REPEAT
            assert renewal.token == family.tokens[family.tokens.index(token) + 1]
        else:
            assert (renewal.verdict, renewal.token) == (Verdict.REUSE, None)
            family.revoked = True

    @rule(data=st.data())
    def sign_out(self, data: st.DataObject) -> None:
        if self.families:
            family = data.draw(st.sampled_from(self.families))
            self.run(lambda tx: accounts.end_family(tx, family.family_id))
            family.revoked = True

    @rule()
    def a_guess(self) -> None:
        renewal = self.run(lambda tx: accounts.renew(tx, first_token(), b"key", DAY, GRACE))
        assert renewal.verdict is Verdict.REFUSE

    @invariant()
    def a_living_family_has_one_unused_token_and_a_dead_one_none_that_lives(self) -> None:
        for family in self.families:
            hashes = [hashed(token) for token in family.tokens]

            async def rows(tx: Transaction, these: list[bytes] = hashes) -> list[Any]:
                return await tx.fetch(
                    "SELECT used_at, revoked_at FROM refresh_tokens WHERE token_hash = ANY(%s)", [these]
                )

            found = self.run(rows)
            assert len(found) == len(family.tokens)
            living = [used for used, revoked in found if revoked is None]
            assert (living == []) == family.revoked
            if not family.revoked:
                assert sum(used is None for used in living) == 1


async def test_refresh_families(database: Database) -> None:
    await run_machine(RefreshFamilies, database, examples=40, steps=30)
