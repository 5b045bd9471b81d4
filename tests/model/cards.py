"""Payment as the model runs it: its real decide functions, its claims of due calls, and a card provider."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Literal, TypeAlias

import payment.app
from libs.contracts.payment import ProcessPayment
from libs.contracts.values import MessageId, OrderId
from libs.messaging.message import Message
from payment.domain.books import Attempt, Books, Payment, Rows, Wallet
from payment.domain.outcome import ProviderAnswered, may_charge
from payment.provider import Ask, Outcome, Verdict
from tests.model.mail import Letter
from tests.model.participants import Deciders, answers
from tests.model.scenario import CARD, NOW, Plan
from tests.model.substitution import digest

PAYMENT: Final[Deciders] = {route.body: route.decide for route in payment.app.service.routes}

LEASE: Final = timedelta(seconds=30)
HALF_A_DAY: Final = timedelta(hours=13)

Booked: TypeAlias = tuple[str, str, int, OrderId]
"""A ledger entry: account, kind, amount, order."""


@dataclass(frozen=True, slots=True)
class Accounts:
    """The payment service's tables, in the order of their keys."""

    wallets: tuple[Wallet, ...]
    payments: tuple[Payment, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    ledger: tuple[Booked, ...] = ()

    def payment(self, order_id: OrderId) -> Payment | None:
        """An order's payment."""
        return next((one for one in self.payments if one.order_id == order_id), None)

    def attempt(self, order_id: OrderId) -> Attempt | None:
        """What is due at the provider for an order, or was."""
        return next((one for one in self.attempts if one.order_id == order_id), None)

    def booked(self, order_id: OrderId, kind: str) -> int:
        """What was moved for an order in one way."""
        return sum(
            amount
            for _, how, amount, order in self.ledger
            if order == order_id and how == kind and amount > 0
        )

    def with_attempt(self, attempt: Attempt) -> "Accounts":
        """These with another state of an attempt."""
        kept = {one.order_id: one for one in self.attempts} | {attempt.order_id: attempt}
        return replace(self, attempts=tuple(kept[key] for key in sorted(kept)))


def payment_decides(
    decide: Deciders, accounts: Accounts, message: Message[object]
) -> tuple[Accounts, tuple[Letter, ...]]:
    """The tables afterwards, and what is sent; only what the store would load is in reach."""
    key = message.key
    books = Books(
        NOW,
        Rows({one.order_id: one for one in accounts.payments if one.order_id == key}),
        Rows({one.order_id: one for one in accounts.attempts if one.order_id == key}),
        Rows({one.user_id: one for one in accounts.wallets}),
        {CARD.id: CARD} if isinstance(message.body, ProcessPayment) else {},
    )
    sent = answers(decide[type(message.body)](books, message), message)
    payments = {one.order_id: one for one in (*accounts.payments, *books.payments.changed())}
    attempts = {one.order_id: one for one in (*accounts.attempts, *map(_settled, books.attempts.changed()))}
    wallets = {one.user_id: one for one in (*accounts.wallets, *books.wallets.changed())}
    entries = [(one.account, one.kind, one.amount_minor, key) for one in books.entries]
    after = Accounts(
        tuple(wallets[user] for user in sorted(wallets)),
        tuple(payments[order] for order in sorted(payments)),
        tuple(attempts[order] for order in sorted(attempts)),
        tuple(sorted((*accounts.ledger, *entries))),
    )
    return after, sent


def _settled(attempt: Attempt) -> Attempt:
    """Without what only says when: a call that is due later is due as soon as time has passed."""
    held = attempt.claimed_until
    waits = held is not None and held > NOW and attempt.next_at >= held
    next_at = held if waits and held is not None else NOW
    return replace(attempt, attempts=0, last_error=None, next_at=next_at)


def not_stored(accounts: Accounts) -> str | None:
    """What the tables' own rules would refuse."""
    if len({(account, kind, order) for account, kind, _, order in accounts.ledger}) < len(accounts.ledger):
        return "I4: the ledger has an order's entry twice"
    if any(one.balance.amount_minor < 0 for one in accounts.wallets):
        return "I1: a wallet is below zero"
    for one in accounts.payments:
        captured, refunded = one.captured_at is not None, one.refunded_at is not None
        tells = {
            "pending": not captured,
            "completed": captured and not refunded,
            "refunded": refunded,
        }.get(one.status, True)
        if not tells or (refunded and not captured):
            return f"I1: a payment is {one.status}, captured {captured}, refunded {refunded}"
    return next((wrong for one in accounts.attempts if (wrong := _attempt_wrong(one)) is not None), None)


def _attempt_wrong(attempt: Attempt) -> str | None:
    first, asking = attempt.first_sent_at, attempt.ask == "charge" and attempt.in_flight(NOW)
    if asking and first is not None and NOW - first >= HALF_A_DAY:
        return "I1: a charge was sent under a key that its provider may have forgotten"
    open_ends = (attempt.token, attempt.claimed_until) != (None, None) or attempt.waiters
    if attempt.state == "done" and open_ends:
        return "an attempt is done with ends left open"
    if attempt.ask == "charge" and attempt.state != "done" and attempt.token is None:
        return "a charge without a token"
    return None


# The provider

ChargeState: TypeAlias = Literal["none", "pending", "captured", "refused", "voided", "refunded"]


@dataclass(frozen=True, slots=True)
class Call:
    """A call of the provider: on its way, answered, or (`stray`) on its way with nobody waiting any more."""

    ask: Ask
    claimed_until: datetime
    verdict: Verdict | None = None
    stray: bool = False


@dataclass(frozen=True, slots=True)
class Provider:
    """What the provider knows under an order's key, and the calls about it."""

    state: ChargeState = "none"
    captured: bool = False
    calls: tuple[Call, ...] = ()

    @property
    def holds_money(self) -> bool:
        """Whether the customer's money is there."""
        return self.captured and self.state not in {"voided", "refunded"}

    @property
    def awaited(self) -> bool:
        """Whether a call may still be answered to somebody."""
        return any(not call.stray for call in self.calls)

    def with_calls(self, *calls: Call) -> "Provider":
        """This with other calls."""
        return replace(self, calls=tuple(sorted(calls, key=repr)))

    def without(self, call: Call) -> "Provider":
        """This with one call less."""
        left = list(self.calls)
        left.remove(call)
        return self.with_calls(*left)


def carried_out(  # noqa: C901, PLR0912 - a table: what is asked, what is known
    provider: Provider, call: Call, plan: Plan, *, deny: bool
) -> Iterator[tuple[Provider, Verdict]]:
    """What the provider may make of a call, and what it answers; `deny`: it gives no money back today."""
    match call.ask, provider.state:
        case "charge", "none":
            for settlement in plan.settlements:
                match settlement:
                    case "captured":
                        yield replace(provider, state="captured", captured=True), "captured"
                    case "refused":
                        yield replace(provider, state="refused"), "refused"
                    case "late":
                        yield replace(provider, state="pending"), "unknown"
        case "charge", "captured" | "refused" | "pending" | "voided" as known:
            yield provider, known
        case "charge", "refunded":
            yield provider, "voided"
        case "query", "none":
            yield provider, "not_found"
        case "query", "captured" | "refused" | "pending" | "voided" | "refunded" as known:
            yield provider, known
        case "void", "none" | "refused" | "pending":
            yield replace(provider, state="voided"), "voided"
        case "void", "voided" | "refunded" as known:
            yield provider, known
        case "refund", "refunded" | "voided" if provider.captured:
            yield provider, "refunded"
        case (("void" | "refund"), "captured"):
            if deny:
                yield provider, "denied"
            elif call.ask == "void":
                yield replace(provider, state="voided"), "voided"
            else:
                yield replace(provider, state="refunded"), "refunded"
        case _:
            yield provider, "denied"


def claim(accounts: Accounts, provider: Provider, order_id: OrderId) -> tuple[Accounts, Provider] | None:
    """Claim what is due for an order, as the store's statement does; None where nothing is.

    From then on a charge counts as sent.
    """
    attempt = accounts.attempt(order_id)
    if attempt is None or attempt.state != "due" or attempt.next_at > NOW:
        return None
    ask: Ask = attempt.ask
    if ask == "charge" and not may_charge(attempt, NOW):
        ask = "query"  # as the claim's statement says
    until = NOW + LEASE
    sent = attempt.first_sent_at or NOW if ask == "charge" else attempt.first_sent_at
    claimed = replace(attempt, ask=ask, claimed_until=until, next_at=until, first_sent_at=sent)
    return accounts.with_attempt(claimed), provider.with_calls(*provider.calls, Call(ask, until))


def run_out(accounts: Accounts, provider: Provider, order_id: OrderId) -> tuple[Accounts, Provider] | None:
    """An order's claim runs out; None where none is held. Older claims stay older."""
    attempt = accounts.attempt(order_id)
    if attempt is None or attempt.claimed_until is None or not attempt.in_flight(NOW):
        return None
    gone = replace(attempt, claimed_until=_older(attempt.claimed_until), next_at=NOW)
    calls = (
        replace(call, claimed_until=_older(call.claimed_until)) for call in provider.calls if not call.stray
    )
    strays = (call for call in provider.calls if call.stray)
    return accounts.with_attempt(gone), provider.with_calls(*calls, *strays)


def half_a_day_later(accounts: Accounts, order_id: OrderId) -> Accounts | None:
    """What is still due for an order after half a day in which nobody asked; None where nothing was ever sent."""
    attempt = accounts.attempt(order_id)
    if attempt is None or attempt.state == "done" or attempt.first_sent_at is None or attempt.in_flight(NOW):
        return None
    return accounts.with_attempt(replace(attempt, first_sent_at=attempt.first_sent_at - HALF_A_DAY))


def _older(claimed_until: datetime) -> datetime:
    return claimed_until - LEASE * (2 if claimed_until > NOW else 1)


def answered(order_id: OrderId, call: Call, verdict: Verdict) -> Message[object]:
    """The provider's answer, as the desk feeds it back."""
    reference = "ch_model" if verdict in {"captured", "refused", "voided", "refunded"} else None
    body = ProviderAnswered(order_id, call.ask, call.claimed_until, Outcome(verdict, reference), 0.0)
    return Message(MessageId(digest("provider", order_id, call.ask, verdict)), order_id, body, NOW)
