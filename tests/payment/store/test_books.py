"""Tries load and save on the real database, as the runtime role, and the guards of the tables themselves."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import psycopg
import pytest

from libs.contracts.message import Contract
from libs.contracts.payment import PaymentCompleted, PaymentFailed, RefundPayment
from libs.contracts.values import PaymentMethodId, UserId
from libs.messaging.message import Correlation, Trace
from migrations import runner
from payment import store
from payment.app import service
from payment.domain.books import Attempt, Books, Payment, wallet_account
from payment.store.waiters import waiters_from, waiters_to
from tests.payment.till import pay
from tests.support.builders import (
    a_correlation,
    a_message,
    a_message_id,
    a_trace_parent,
    a_user_id,
    an_order_id,
    euros,
)
from tests.support.databases import Database
from tests.support.store import a_transaction, handle, handle_in

pytestmark = pytest.mark.integration

BALANCE = "SELECT balance_minor FROM wallets WHERE user_id = %s"


async def fill(books: Database, minor: int) -> UserId:
    """A new customer with so much in the wallet."""
    user_id = a_user_id()
    async with a_transaction(books.runtime_dsn) as tx:
        await store.deposit(tx, user_id, "first", euros(minor), uuid4())
    return user_id


async def card(books: Database) -> tuple[UserId, PaymentMethodId]:
    """A new customer with a card."""
    user_id = a_user_id()
    async with a_transaction(books.runtime_dsn) as tx:
        added = await store.add_card(tx, user_id, PaymentMethodId(a_message_id()), "tok_approve", "Card")
    assert added is not None
    return user_id, added.id


async def test_the_migration_makes_the_tables_that_the_code_knows(books: Database) -> None:
    await asyncio.to_thread(runner.check, "payment", books.owner_dsn)


async def test_a_batch_of_wallet_payments_takes_five_statements_and_no_look_at_attempts(
    books: Database,
) -> None:
    users = [await fill(books, 5_000) for _ in range(20)]
    async with a_transaction(books.runtime_dsn) as tx:
        answers = await handle_in(tx, service, *(pay(user_id=user) for user in users))
        statements = [one for one in tx.statements if "clock_timestamp" not in one]
    assert {type(answer) for answer in answers} == {PaymentCompleted}
    assert len(statements) == 5
    assert not any("payment_attempts" in one or "payment_methods" in one for one in statements)


async def test_a_batch_of_everything_takes_few_statements(books: Database) -> None:
    users = [await fill(books, 5_000) for _ in range(5)]
    cards = [await card(books) for _ in range(5)]
    by_wallet = [pay(user_id=user) for user in users]
    by_card = [pay(user_id=user, method_id=method) for user, method in cards]
    await handle(books.runtime_dsn, service, *by_wallet, *by_card)
    undos: list[Contract] = [RefundPayment(order_id=one.order_id) for one in [*by_wallet, *by_card]]
    async with a_transaction(books.runtime_dsn) as tx:
        new = [pay(user_id=users[0]), pay(user_id=cards[0][0], method_id=cards[0][1])]
        await handle_in(tx, service, *undos, *new, *by_wallet)
        statements = [one for one in tx.statements if "clock_timestamp" not in one]
    assert len(statements) == 9
    assert await books.row("SELECT count(*) FROM payments WHERE status = 'refunded'") == (5,)
    assert await books.row("SELECT count(*) FROM payments WHERE status = 'cancelled'") == (5,)
    assert await books.row("SELECT sum(amount_minor) FROM ledger_entries") == (0,)


async def test_what_was_saved_is_loaded_again(books: Database) -> None:
    order_id, tombstone = an_order_id(), an_order_id()
    async with a_transaction(books.runtime_dsn) as tx:
        loaded = await store.load(tx, [a_message(RefundPayment(order_id=order_id))])
        now = loaded.now
        payment = Payment(
            order_id=order_id,
            status="failed",
            payment_id=a_message_id(),  # type: ignore[arg-type]
            user_id=a_user_id(),
            method_id=PaymentMethodId(a_message_id()),
            method_kind="card",
            amount=euros(7),
            provider_reference="ch_1",
            reason_code="payment_refused",
            reason="Because.",
        )
        attempt = Attempt(
            order_id,
            "charge",
            "due",
            now,
            token="tok_x",
            attempts=3,
            claimed_until=now + timedelta(seconds=1),
            last_error="unknown: x",
            waiters=(a_correlation(order_id, "process_payment"), Correlation()),
        )
        loaded.put(payment)
        loaded.put(Payment(tombstone, "cancelled"))
        loaded.put_attempt(attempt)
        await store.save(tx, loaded)

    async def load() -> Books:
        async with a_transaction(books.runtime_dsn) as tx:
            messages = [a_message(RefundPayment(order_id=one)) for one in (order_id, tombstone)]
            return await store.load(tx, messages)

    again = await load()
    assert again.payments.get(order_id) == payment
    assert again.payments.get(tombstone) == Payment(tombstone, "cancelled")
    assert again.attempts.get(order_id) == attempt

    changed = replace(payment, captured_at=now, refunded_at=now + timedelta(seconds=1))
    done = replace(attempt, state="done", token=None, claimed_until=None, waiters=(), ask="void")
    async with a_transaction(books.runtime_dsn) as tx:
        loaded = await store.load(tx, [a_message(RefundPayment(order_id=order_id))])
        loaded.put(changed)
        loaded.put_attempt(done)
        await store.save(tx, loaded)
    again = await load()
    assert again.payments.get(order_id) == changed
    assert again.attempts.get(order_id) == done


def test_those_who_wait_come_back_with_all_their_headers() -> None:
    full = a_correlation(uuid4(), "process_payment", 3)._replace(
        causation_id=a_message_id(),
        trace=Trace(a_trace_parent(), "vendor=1"),
    )
    waiters = (full, full._replace(trace=Trace(a_trace_parent())), Correlation())
    assert waiters_from(waiters_to(waiters)) == waiters


async def test_payments_that_race_for_a_wallet_never_overdraw_it(books: Database) -> None:
    user_id = await fill(books, 5_000)
    answers = await asyncio.gather(
        *(handle(books.runtime_dsn, service, pay(user_id=user_id)) for _ in range(6))
    )
    kinds = [type(answer) for [answer] in answers]
    assert (kinds.count(PaymentCompleted), kinds.count(PaymentFailed)) == (2, 4)
    assert await books.row(BALANCE, user_id) == (5_000 - 2 * 1_999,)


async def test_batches_that_share_wallets_the_other_way_round_do_not_deadlock(books: Database) -> None:
    one, two = await fill(books, 100_000), await fill(books, 100_000)
    await asyncio.gather(
        *(
            handle(books.runtime_dsn, service, *(pay(user_id=user) for user in users))
            for users in [(one, two), (two, one)] * 4
        )
    )
    for user in (one, two):
        assert await books.row(BALANCE, user) == (100_000 - 8 * 1_999,)


async def test_a_refund_finds_the_wallet_by_its_payment(books: Database) -> None:
    user_id = await fill(books, 5_000)
    command = pay(user_id=user_id)
    await handle(books.runtime_dsn, service, command)
    await handle(books.runtime_dsn, service, RefundPayment(order_id=command.order_id))
    assert await books.row(BALANCE, user_id) == (5_000,)


async def test_payment_and_refund_in_one_batch_cancel_out(books: Database) -> None:
    user_id = await fill(books, 5_000)
    command = pay(user_id=user_id)
    await handle(books.runtime_dsn, service, command, RefundPayment(order_id=command.order_id), command)
    assert await books.row(BALANCE, user_id) == (5_000,)
    assert await books.row("SELECT count(*) FROM ledger_entries WHERE order_id IS NOT NULL") == (4,)


async def test_a_wallet_that_was_never_made_cannot_be_changed(books: Database) -> None:
    async with a_transaction(books.runtime_dsn) as tx:
        loaded = await store.load(tx, [a_message(pay())])
        user_id = a_user_id()
        loaded.wallets.put(user_id, loaded.wallet(user_id).plus(1))
        with pytest.raises(LookupError, match="never made"):
            await store.save(tx, loaded)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger_entries SET amount_minor = 1",
        "DELETE FROM ledger_entries",
        "TRUNCATE ledger_entries",
    ],
)
async def test_the_service_can_only_append_to_the_ledger(books: Database, statement: str) -> None:
    async with await psycopg.AsyncConnection.connect(books.runtime_dsn) as session:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await session.execute(statement.encode())


ENTRY = """
    INSERT INTO ledger_entries (transaction_id, order_id, account, kind, amount_minor, currency, at)
    VALUES (%s, %s, %s, %s, %s, %s, now()), (%s, %s, %s, %s, %s, %s, now())
"""


async def test_a_ledger_transaction_that_does_not_balance_is_refused(books: Database) -> None:
    transaction, order_id = uuid4(), an_order_id()
    sides = (
        (transaction, order_id, "card_clearing", "capture", -5, "EUR"),
        (
            transaction,
            order_id,
            "revenue",
            "capture",
            6,
            "EUR",
        ),
    )
    with pytest.raises(psycopg.errors.CheckViolation, match="add up to zero"):
        await books.rows(ENTRY, *sides[0], *sides[1])


async def test_a_transaction_must_balance_in_each_currency(books: Database) -> None:
    transaction, order_id = uuid4(), an_order_id()
    with pytest.raises(psycopg.errors.CheckViolation, match="add up to zero"):
        await books.rows(
            ENTRY,
            *(transaction, order_id, "card_clearing", "capture", -5, "EUR"),
            *(transaction, order_id, "revenue", "capture", 5, "USD"),
        )


async def test_an_order_is_captured_once_whoever_books_it(books: Database) -> None:
    order_id = an_order_id()

    async def capture() -> None:
        transaction = uuid4()
        await books.rows(
            ENTRY,
            *(transaction, order_id, "card_clearing", "capture", -5, "EUR"),
            *(transaction, order_id, "revenue", "capture", 5, "EUR"),
        )

    await capture()
    with pytest.raises(psycopg.errors.UniqueViolation):
        await capture()


async def test_no_wallet_is_overdrawn_whoever_writes_it(books: Database) -> None:
    user_id = await fill(books, 5)
    with pytest.raises(psycopg.errors.CheckViolation):
        await books.rows("UPDATE wallets SET balance_minor = -1 WHERE user_id = %s", user_id)
    assert await books.row(
        "SELECT sum(amount_minor)::bigint FROM ledger_entries WHERE account = %s", wallet_account(user_id)
    ) == (5,)
