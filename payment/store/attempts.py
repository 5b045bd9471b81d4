"""Claims what is due at the provider, for this process and for a while."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from libs.contracts.values import Money, OrderId
from libs.outbox.transaction import Transaction
from payment.domain.outcome import CHARGE_WITHIN, UNREACHED
from payment.provider import Ask

CLAIM: Final = """
    WITH due AS MATERIALIZED (
        SELECT order_id,
               CASE WHEN kind = 'charge' AND first_sent_at < statement_timestamp() - %s::interval THEN 'query'
                    ELSE kind END AS kind
        FROM payment_attempts
        WHERE state = 'due' AND next_at <= statement_timestamp() AND (attempts = 0) = %s::boolean
        ORDER BY next_at LIMIT %s::bigint
        FOR UPDATE SKIP LOCKED
    )
    UPDATE payment_attempts AS mine
    SET kind = due.kind, attempts = mine.attempts + 1, updated_at = statement_timestamp(),
        claimed_until = statement_timestamp() + %s::interval, next_at = statement_timestamp() + %s::interval,
        first_sent_at = CASE WHEN due.kind = 'charge' THEN coalesce(mine.first_sent_at, statement_timestamp())
                             ELSE mine.first_sent_at END
    FROM due JOIN payments USING (order_id)
    WHERE mine.order_id = due.order_id
    RETURNING mine.order_id, mine.kind, mine.claimed_until, payments.amount_minor, payments.currency,
              mine.token, mine.attempts = 1
"""
WAKE: Final = """
    UPDATE payment_attempts SET next_at = statement_timestamp()
    WHERE state = 'due' AND claimed_until IS NULL AND next_at > statement_timestamp()
          AND starts_with(last_error, %s::text)
"""
OUTLOOK: Final = """
    SELECT (SELECT extract(epoch FROM min(next_at) - statement_timestamp())::float8
            FROM payment_attempts WHERE state = 'due'),
           (SELECT count(*) FROM payment_attempts WHERE state = 'parked')
"""


@dataclass(frozen=True, slots=True)
class Outlook:
    """Seconds until something is due or a claim runs out, negative when overdue; how many wait for a human."""

    due_in: float | None
    parked: int


@dataclass(frozen=True, slots=True)
class Call:
    """What this process may ask the provider now, for the first time or again; after `claimed_until` others may."""

    order_id: OrderId
    ask: Ask
    claimed_until: datetime
    amount: Money
    token: str | None
    first: bool


async def claim(tx: Transaction, *, first: int, again: int, lease: timedelta) -> list[Call]:
    """Take what is due longest: at most `first` that were not tried yet, and `again` that were.

    From the commit on a charge counts as sent. One that is too old to be sent comes as a query.
    """
    taking = [
        await tx.queue(CLAIM, [CHARGE_WITHIN, new, limit, lease, lease])
        for new, limit in ((True, first), (False, again))
        if limit > 0
    ]
    return [
        Call(order_id, kind, until, Money(amount_minor=minor, currency=currency), token, is_first)
        for taken in taking
        for order_id, kind, until, minor, currency, token, is_first in await taken.rows()
    ]


async def wake_unreached(tx: Transaction) -> None:
    """Make due what waits only because the provider was away."""
    await tx.queue(WAKE, [UNREACHED])


async def outlook(tx: Transaction) -> Outlook:
    """What is still to come; `due_in` is None when nothing is."""
    ((due_in, parked),) = await tx.fetch(OUTLOOK)
    return Outlook(due_in, parked)
