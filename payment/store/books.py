"""Reads and writes the books of a batch, by sets."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from psycopg.types.json import Jsonb

from libs.contracts.payment import ProcessPayment, RefundPayment
from libs.contracts.values import Money, OrderId, PaymentMethodId, UserId
from libs.messaging.message import Message
from libs.outbox.transaction import Row, Transaction
from payment.domain.books import Attempt, Books, Card, Entry, Payment, Rows, Wallet, wallet_method_id
from payment.store.waiters import waiters_from, waiters_to

PAYMENTS: Final = """
    SELECT order_id, payment_id, user_id, method_id, method_kind, amount_minor, currency, status,
           provider_reference, reason_code, reason, captured_at, refunded_at
    FROM payments WHERE order_id = ANY(%s::uuid[]) ORDER BY order_id FOR UPDATE
"""
ATTEMPTS: Final = """
    SELECT order_id, kind, state, next_at, token, first_sent_at, attempts, claimed_until, last_error, waiters
    FROM payment_attempts WHERE order_id = ANY(%s::uuid[]) ORDER BY order_id FOR UPDATE
"""
WALLETS: Final = """
    SELECT user_id, balance_minor, currency FROM wallets
    WHERE user_id = ANY(%s::uuid[]) ORDER BY user_id FOR UPDATE
"""
CARDS: Final = """
    SELECT id, user_id, token FROM payment_methods WHERE id = ANY(%s::uuid[]) AND kind = 'card'
"""
INSERT_PAYMENTS: Final = """
    INSERT INTO payments (created_at, updated_at, order_id, payment_id, user_id, method_id, method_kind,
                          amount_minor, currency, status, provider_reference, reason_code, reason,
                          captured_at, refunded_at)
    SELECT %s::timestamptz, %s::timestamptz, new.*
    FROM unnest(%s::uuid[], %s::uuid[], %s::uuid[], %s::uuid[], %s::text[], %s::bigint[], %s::text[], %s::text[],
                %s::text[], %s::text[], %s::text[], %s::timestamptz[], %s::timestamptz[]) AS new
"""
UPDATE_PAYMENTS: Final = """
    UPDATE payments AS old
    SET updated_at = %s::timestamptz, status = new.status, provider_reference = new.provider_reference,
        reason_code = new.reason_code, reason = new.reason, captured_at = new.captured_at,
        refunded_at = new.refunded_at
    FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::text[], %s::text[], %s::timestamptz[], %s::timestamptz[])
         AS new (order_id, status, provider_reference, reason_code, reason, captured_at, refunded_at)
    WHERE old.order_id = new.order_id
"""
SAVE_ATTEMPTS: Final = """
    INSERT INTO payment_attempts (created_at, updated_at, order_id, kind, state, next_at, token, attempts,
                                  claimed_until, last_error, waiters)
    SELECT %s::timestamptz, %s::timestamptz, new.*
    FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::timestamptz[], %s::text[], %s::bigint[],
                %s::timestamptz[], %s::text[], %s::jsonb[]) AS new
    ON CONFLICT (order_id) DO UPDATE
    SET updated_at = excluded.updated_at, kind = excluded.kind, state = excluded.state,
        next_at = excluded.next_at, token = excluded.token, attempts = excluded.attempts,
        claimed_until = excluded.claimed_until, last_error = excluded.last_error, waiters = excluded.waiters
"""
UPDATE_WALLETS: Final = """
    UPDATE wallets AS old SET updated_at = %s::timestamptz, balance_minor = new.balance_minor
    FROM unnest(%s::uuid[], %s::bigint[]) AS new (user_id, balance_minor)
    WHERE old.user_id = new.user_id
"""
INSERT_ENTRIES: Final = """
    INSERT INTO ledger_entries (at, transaction_id, account, kind, amount_minor, currency, order_id)
    SELECT %s::timestamptz, new.*
    FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::bigint[], %s::text[], %s::uuid[]) AS new
"""


async def load(tx: Transaction, messages: Sequence[Message[object]]) -> Books:
    """Lock and read what the messages are about, payments first, each table in the order of its key.

    One round trip for new payments, of which wallets cost nothing else; attempts are read for payments that can
    have one, and refunds look for their wallets once their payments are known.
    """
    wanted = _Wanted.of(messages)
    reading_payments = await tx.queue(PAYMENTS, [wanted.orders])
    reading_cards = await tx.queue(CARDS, [wanted.cards]) if wanted.cards else None
    reading_wallets = await tx.queue(WALLETS, [wanted.users]) if wanted.users and not wanted.refunds else None
    payments = {row[0]: _payment(row) for row in await reading_payments.rows()}
    if wanted.refunds and (users := wanted.users_with(payments.values())):
        reading_wallets = await tx.queue(WALLETS, [users])
    books = Books(tx.now, Rows(payments))
    if orders := [payment.order_id for payment in payments.values() if payment.method_kind != "wallet"]:
        books.attempts = Rows({row[0]: _attempt(row) for row in await tx.fetch(ATTEMPTS, [orders])})
    if reading_cards is not None:
        books.cards = {row[0]: Card(*row) for row in await reading_cards.rows()}
    if reading_wallets is not None:
        books.wallets = Rows({row[0]: _wallet(row) for row in await reading_wallets.rows()})
    return books


async def save(tx: Transaction, books: Books) -> None:
    """Write what is new and what has changed."""
    await _insert_payments(tx, books.now, books.payments.inserted())
    await _update_payments(tx, books.now, books.payments.updated())
    await _save_attempts(tx, books.now, [*books.attempts.inserted(), *books.attempts.updated()])
    await _update_wallets(tx, books)
    await _insert_entries(tx, books.now, books.entries)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What a batch's messages name, sorted where it is locked."""

    orders: list[OrderId]
    cards: list[PaymentMethodId]
    users: list[UserId]
    refunds: frozenset[OrderId]

    @staticmethod
    def of(messages: Iterable[Message[object]]) -> "_Wanted":
        orders: set[OrderId] = set()
        cards: set[PaymentMethodId] = set()
        users: set[UserId] = set()
        refunds: set[OrderId] = set()
        for message in messages:
            orders.add(message.key)
            match message.body:
                case ProcessPayment(user_id=user, payment_method_id=method):
                    if method == wallet_method_id(user):
                        users.add(user)
                    else:
                        cards.add(method)
                case RefundPayment():
                    refunds.add(message.key)
        return _Wanted(sorted(orders), sorted(cards), sorted(users), frozenset(refunds))

    def users_with(self, payments: Iterable[Payment]) -> list[UserId]:
        """The users whose wallets are needed, those included that get a refund."""
        returning = {
            payment.user_id
            for payment in payments
            if payment.order_id in self.refunds
            and payment.status == "completed"
            and payment.method_kind == "wallet"
            and payment.user_id is not None
        }
        return sorted({*self.users, *returning})


def _payment(row: Row) -> Payment:
    order_id, payment_id, user_id, method_id, method_kind, minor, currency, status, *rest = row
    money = Money.model_construct(amount_minor=minor, currency=currency)
    return Payment(order_id, status, payment_id, user_id, method_id, method_kind, money, *rest)


def _attempt(row: Row) -> Attempt:
    order_id, ask, state, next_at, token, first_sent_at, attempts, claimed_until, last_error, waiters = row
    return Attempt(
        order_id=order_id,
        ask=ask,
        state=state,
        next_at=next_at,
        token=token,
        first_sent_at=first_sent_at,
        attempts=attempts,
        claimed_until=claimed_until,
        last_error=last_error,
        waiters=waiters_from(waiters),
    )


def _wallet(row: Row) -> Wallet:
    user_id, minor, currency = row
    return Wallet(user_id, Money.model_construct(amount_minor=minor, currency=currency))


async def _insert_payments(tx: Transaction, now: datetime, payments: Sequence[Payment]) -> None:
    if not payments:
        return
    await tx.queue(
        INSERT_PAYMENTS,
        [
            now,
            now,
            [payment.order_id for payment in payments],
            [payment.payment_id for payment in payments],
            [payment.user_id for payment in payments],
            [payment.method_id for payment in payments],
            [payment.method_kind for payment in payments],
            [payment.amount.amount_minor for payment in payments],
            [payment.amount.currency for payment in payments],
            [payment.status for payment in payments],
            [payment.provider_reference for payment in payments],
            [payment.reason_code for payment in payments],
            [payment.reason for payment in payments],
            [payment.captured_at for payment in payments],
            [payment.refunded_at for payment in payments],
        ],
    )


async def _update_payments(tx: Transaction, now: datetime, payments: Sequence[Payment]) -> None:
    if not payments:
        return
    await tx.queue(
        UPDATE_PAYMENTS,
        [
            now,
            [payment.order_id for payment in payments],
            [payment.status for payment in payments],
            [payment.provider_reference for payment in payments],
            [payment.reason_code for payment in payments],
            [payment.reason for payment in payments],
            [payment.captured_at for payment in payments],
            [payment.refunded_at for payment in payments],
        ],
    )


async def _save_attempts(tx: Transaction, now: datetime, attempts: Sequence[Attempt]) -> None:
    if not attempts:
        return
    await tx.queue(
        SAVE_ATTEMPTS,
        [
            now,
            now,
            [attempt.order_id for attempt in attempts],
            [attempt.ask for attempt in attempts],
            [attempt.state for attempt in attempts],
            [attempt.next_at for attempt in attempts],
            [attempt.token for attempt in attempts],
            [attempt.attempts for attempt in attempts],
            [attempt.claimed_until for attempt in attempts],
            [attempt.last_error for attempt in attempts],
            [Jsonb(waiters_to(attempt.waiters)) for attempt in attempts],
        ],
    )


async def _update_wallets(tx: Transaction, books: Books) -> None:
    if strangers := books.wallets.inserted():
        raise LookupError(f"{len(strangers)} wallets are to be changed that were never made")
    if wallets := books.wallets.updated():
        await tx.queue(
            UPDATE_WALLETS,
            [
                books.now,
                [wallet.user_id for wallet in wallets],
                [wallet.balance.amount_minor for wallet in wallets],
            ],
        )


async def _insert_entries(tx: Transaction, now: datetime, entries: Sequence[Entry]) -> None:
    if not entries:
        return
    await tx.queue(
        INSERT_ENTRIES,
        [
            now,
            [entry.transaction_id for entry in entries],
            [entry.account for entry in entries],
            [entry.kind for entry in entries],
            [entry.amount_minor for entry in entries],
            [entry.currency for entry in entries],
            [entry.order_id for entry in entries],
        ],
    )
