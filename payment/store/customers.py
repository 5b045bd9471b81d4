"""What customers see and change by themselves: their methods, their wallet, their deposits."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from libs.contracts.values import Money, PaymentMethodId, UserId
from libs.outbox.transaction import Row, Transaction
from payment import domain
from payment.domain.books import (
    WALLET_CURRENCY,
    Books,
    EntryKind,
    MethodKind,
    Rows,
    Wallet,
    wallet_account,
    wallet_method_id,
)
from payment.store.books import WALLETS, save

MAX_CARDS: Final = 50
"""A customer has no more of them at a time."""

OPEN_WALLET: Final = """
    INSERT INTO wallets (user_id, currency, balance_minor) VALUES (%s::uuid, %s::text, 0) ON CONFLICT DO NOTHING
"""
ADD_WALLET_METHOD: Final = """
    INSERT INTO payment_methods (id, user_id, kind, label)
    VALUES (%s::uuid, %s::uuid, 'wallet', 'Wallet') ON CONFLICT DO NOTHING
"""
METHODS: Final = """
    SELECT id, kind, label FROM payment_methods
    WHERE user_id = %s::uuid AND (kind = 'card', id) > (%s::boolean, %s::uuid)
    ORDER BY kind = 'card', id LIMIT %s::bigint
"""
ADD_CARD: Final = """
    INSERT INTO payment_methods (id, user_id, kind, token, label)
    SELECT %s::uuid, %s::uuid, 'card', %s::text, %s::text
    WHERE (SELECT count(*) FROM payment_methods WHERE user_id = %s::uuid AND kind = 'card' AND token <> %s::text)
          < %s::bigint
    ON CONFLICT (user_id, token) DO UPDATE SET label = excluded.label
    RETURNING id, kind, label
"""
REMOVE_METHOD: Final = """
    DELETE FROM payment_methods WHERE id = %s::uuid AND user_id = %s::uuid AND kind = 'card' RETURNING id
"""
WALLET: Final = "SELECT user_id, balance_minor, currency FROM wallets WHERE user_id = %s::uuid"
ENTRIES: Final = """
    SELECT id, transaction_id, kind, amount_minor, currency, order_id, at FROM ledger_entries
    WHERE account = %s::text AND starts_with(account, 'wallet:') AND id < %s::bigint
    ORDER BY id DESC LIMIT %s::bigint
"""
DEPOSIT: Final = """
    SELECT deposit_id, amount_minor, currency, balance_minor, made_at FROM deposits
    WHERE user_id = %s::uuid AND idempotency_key = %s::text
"""
INSERT_DEPOSIT: Final = """
    INSERT INTO deposits (user_id, idempotency_key, deposit_id, amount_minor, currency, balance_minor, made_at)
    VALUES (%s::uuid, %s::text, %s::uuid, %s::bigint, %s::text, %s::bigint, %s::timestamptz)
"""


@dataclass(frozen=True, slots=True)
class Method:
    """A payment method as its owner sees it."""

    id: PaymentMethodId
    kind: MethodKind
    label: str


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of a wallet's statement; `amount_minor` is what it did to the balance, `number` its place."""

    number: int
    id: UUID
    kind: EntryKind
    amount_minor: int
    currency: str
    order_id: UUID | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Deposited:
    """A deposit, and the balance right after it; `before` when its key had been used before."""

    id: UUID
    amount: Money
    balance: Money
    at: datetime
    before: bool = False


async def open_wallet(tx: Transaction, user_id: UserId) -> None:
    """Make the user's wallet and the method that pays from it, where they are not there."""
    await tx.queue(OPEN_WALLET, [user_id, WALLET_CURRENCY])
    await tx.queue(ADD_WALLET_METHOD, [wallet_method_id(user_id), user_id])


async def methods(tx: Transaction, user_id: UserId, limit: int, after: Method | None = None) -> list[Method]:
    """The user's methods behind `after`: the wallet, which is made when missing, then cards in order of adding."""
    if after is not None:
        return await _methods(tx, user_id, limit, is_card=after.kind == "card", id_=after.id)
    nothing = UUID(int=0)
    found = await _methods(tx, user_id, limit, is_card=False, id_=nothing)
    if not found or found[0].kind != "wallet":
        await open_wallet(tx, user_id)
        found = await _methods(tx, user_id, limit, is_card=False, id_=nothing)
    return found


async def add_card(
    tx: Transaction, user_id: UserId, method_id: PaymentMethodId, token: str, label: str
) -> Method | None:
    """Keep a card; one with this token that is there already gets the label. None when there are too many."""
    values = [method_id, user_id, token, label, user_id, token, MAX_CARDS]
    return next((Method(*row) for row in await tx.fetch(ADD_CARD, values)), None)


async def remove_method(tx: Transaction, user_id: UserId, method_id: PaymentMethodId) -> bool:
    """Forget one of the user's cards; false when it is none of them. Payments under way go on."""
    return bool(await tx.fetch(REMOVE_METHOD, [method_id, user_id]))


async def wallet(tx: Transaction, user_id: UserId) -> Wallet:
    """The user's wallet, made when missing."""
    rows = await tx.fetch(WALLET, [user_id])
    if not rows:
        await open_wallet(tx, user_id)
        rows = await tx.fetch(WALLET, [user_id])
    return _wallet(rows[0])


async def entries(tx: Transaction, user_id: UserId, limit: int, before: int) -> list[Entry]:
    """What happened in the user's wallet, newest first, from the entries numbered below `before`."""
    return [Entry(*row) for row in await tx.fetch(ENTRIES, [wallet_account(user_id), before, limit])]


async def deposit(tx: Transaction, user_id: UserId, key: str, amount: Money, deposit_id: UUID) -> Deposited:
    """Put money into the wallet, once per key: a repeat gives the first one, whatever its amount was."""
    await open_wallet(tx, user_id)
    locking = await tx.queue(WALLETS, [[user_id]])
    looking = await tx.queue(
        DEPOSIT, [user_id, key]
    )  # after the lock: of two with one key, the second sees the first
    wallets = {row[0]: _wallet(row) for row in await locking.rows()}
    for known_id, minor, currency, balance, at in await looking.rows():
        return Deposited(known_id, _money(minor, currency), _money(balance, currency), at, before=True)
    books = Books(tx.now, wallets=Rows(wallets))
    filled = domain.deposit(books, user_id, amount, deposit_id)
    await save(tx, books)
    made = Deposited(deposit_id, amount, filled.balance, tx.now)
    await tx.queue(
        INSERT_DEPOSIT,
        [
            user_id,
            key,
            made.id,
            amount.amount_minor,
            amount.currency,
            made.balance.amount_minor,
            made.at,
        ],
    )
    return made


async def _methods(tx: Transaction, user_id: UserId, limit: int, *, is_card: bool, id_: UUID) -> list[Method]:
    return [Method(*row) for row in await tx.fetch(METHODS, [user_id, is_card, id_, limit])]


def _wallet(row: Row) -> Wallet:
    user_id, minor, currency = row
    return Wallet(user_id, _money(minor, currency))


def _money(minor: int, currency: str) -> Money:
    return Money(amount_minor=minor, currency=currency)
