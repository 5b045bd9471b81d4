"""What the provider answers: every verdict, to every question, in every state that a payment can be in."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from itertools import product
from typing import get_args

import pytest

from libs.contracts.payment import PaymentCompleted, PaymentFailed, PaymentRefunded
from libs.contracts.values import OrderId
from libs.messaging.message import Outgoing
from payment.domain.books import AttemptState, Status
from payment.domain.outcome import (
    CHARGE_WITHIN,
    MAX_DELAY_OF_CHARGE,
    MAX_DELAY_OF_UNDO,
)
from payment.provider import Ask, Outcome, Verdict
from tests.payment.domain.vault import Claimed, Vault
from tests.payment.till import asking, pay, undo
from tests.support.builders import an_order_id

VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
ASKS: tuple[Ask, ...] = get_args(Ask)


def charged(vault: Vault) -> Claimed:
    """A charge under way."""
    return vault.claim(vault.pay_by(vault.card()))


def queried(vault: Vault) -> Claimed:
    """A charge whose answer was lost, and that is asked about."""
    return after(vault, charged(vault), "unknown")


def charged_again(vault: Vault) -> Claimed:
    """A charge that is repeated, as the provider did not know it."""
    return after(vault, queried(vault), "not_found")


def after(vault: Vault, claimed: Claimed, verdict: Verdict) -> Claimed:
    """What is claimed next, once it is due."""
    vault.answer(claimed, Outcome(verdict))
    vault.now = max(vault.now, vault.attempts[claimed.order_id].next_at)
    return vault.claim(claimed.order_id)


def refunding(vault: Vault) -> Claimed:
    """A refund under way."""
    claimed = charged(vault)
    vault.answer(claimed, Outcome("captured", "ch_1"))
    vault.undo(claimed.order_id)
    return vault.claim(claimed.order_id)


def cancelled_while_charged(vault: Vault) -> Claimed:
    """A charge under way that is not wanted any more."""
    claimed = charged(vault)
    vault.undo(claimed.order_id)
    return claimed


def cancelled_and_queried(vault: Vault) -> Claimed:
    """A charge that is not wanted any more, and asked about."""
    return after(vault, cancelled_while_charged(vault), "unknown")


def voiding_unseen(vault: Vault) -> Claimed:
    """A void of a charge that the provider does not know."""
    return after(vault, cancelled_and_queried(vault), "not_found")


def voiding_captured(vault: Vault) -> Claimed:
    """A void of what was captured."""
    return after(vault, cancelled_while_charged(vault), "captured")


def queried_captured(vault: Vault) -> Claimed:
    """A void of what was captured was denied, and the charge is asked about."""
    return after(vault, voiding_captured(vault), "denied")


Situation = Callable[[Vault], Claimed]


@dataclass(frozen=True, slots=True)
class Expected:
    """What comes of it: the payment, what is due, who is answered with what, and whether at once or later."""

    status: Status
    ask: Ask | None = None
    answers: tuple[type, ...] = ()
    later: bool = False


DONE = None
completed = Expected("completed", DONE, (PaymentCompleted,))
failed = Expected("failed", DONE, (PaymentFailed,))
refunded = Expected("refunded", DONE, (PaymentRefunded,))
cancelled = Expected("cancelled", DONE, (PaymentRefunded,))
ask_later = Expected("pending", "query", later=True)
refund_later = Expected("completed", "refund", later=True)
void_now = Expected("cancelled", "void")
void_later = Expected("cancelled", "void", later=True)
query_later = Expected("cancelled", "query", later=True)

CHARGE: Mapping[Verdict, Expected] = {
    "captured": completed,
    "refused": failed,
    "voided": failed,
    "refunded": failed,
    "pending": ask_later,
    "not_found": ask_later,
    "denied": ask_later,
    "unknown": ask_later,
}
REFUND: Mapping[Verdict, Expected] = {
    "captured": refund_later,
    "refused": refund_later,
    "voided": refunded,
    "refunded": refunded,
    "pending": refund_later,
    "not_found": refund_later,
    "denied": refund_later,
    "unknown": refund_later,
}
CANCELLED: Mapping[Verdict, Expected] = {
    "captured": void_now,
    "refused": cancelled,
    "voided": cancelled,
    "refunded": cancelled,
    "pending": query_later,
    "not_found": query_later,
    "denied": query_later,
    "unknown": query_later,
}
CANCELLED_QUERY: Mapping[Verdict, Expected] = {
    **CANCELLED,
    "pending": void_now,
    "not_found": void_now,
    "denied": void_later,
    "unknown": void_later,
}
TABLE: Mapping[Situation, Mapping[Verdict, Expected]] = {
    charged: CHARGE,
    charged_again: CHARGE,
    queried: {**CHARGE, "not_found": Expected("pending", "charge")},
    refunding: REFUND,
    cancelled_while_charged: CANCELLED,
    cancelled_and_queried: CANCELLED_QUERY,
    voiding_unseen: CANCELLED,
    # Once a capture was seen, only giving it back will do.
    voiding_captured: {**CANCELLED, "refused": query_later},
    queried_captured: {**CANCELLED_QUERY, "refused": void_later},
}


@pytest.mark.parametrize("verdict", VERDICTS)
@pytest.mark.parametrize("situation", TABLE, ids=lambda situation: situation.__name__)
def test_every_verdict_in_every_situation(situation: Situation, verdict: Verdict) -> None:
    vault = Vault()
    claimed = situation(vault)
    waiters = vault.attempts[claimed.order_id].waiters
    expected = TABLE[situation][verdict]

    answers = vault.answer(claimed, Outcome(verdict, "ch_1", "because"))

    attempt = vault.attempts[claimed.order_id]
    assert vault.payments[claimed.order_id].status == expected.status
    if expected.ask is None:
        assert attempt.state == "done"
        assert [type(a.body) for a in answers if isinstance(a, Outgoing)] == list(expected.answers)
        assert [a.correlation for a in answers if isinstance(a, Outgoing)] == list(waiters)
    else:
        assert answers == []
        assert (attempt.ask, attempt.state, attempt.claimed_until) == (expected.ask, "due", None)
        assert attempt.waiters == waiters
        assert (attempt.next_at > vault.now) == expected.later


@pytest.mark.parametrize("situation", TABLE, ids=lambda situation: situation.__name__)
def test_an_answer_from_a_claim_that_ran_out_only_counts_when_money_was_captured(
    situation: Situation,
) -> None:
    for ask, verdict in product(ASKS, VERDICTS):
        vault = Vault()
        first = situation(vault)
        vault.now = first.until
        second = vault.claim(first.order_id)
        before = (vault.payments[first.order_id], vault.attempts[first.order_id], len(vault.entries))

        answers = vault.answer(Claimed(first.order_id, ask, first.until), Outcome(verdict, "ch_1"))

        payment, attempt = vault.payments[first.order_id], vault.attempts[first.order_id]
        if verdict != "captured" or payment.status == "completed" == before[0].status:
            assert (payment, attempt, len(vault.entries)) == before
            assert answers == []
        elif payment.status == "completed":
            assert [type(a.body) for a in answers if isinstance(a, Outgoing)] == [PaymentCompleted]
        else:
            assert payment.captured_at is not None
            assert (attempt.ask, attempt.claimed_until, attempt.next_at) == (
                "void",
                second.until,
                second.until,
            )


@pytest.mark.parametrize("end", ["completed", "failed", "refunded", "cancelled", "tombstone"])
def test_what_is_settled_is_only_shaken_by_a_capture(end: str) -> None:
    for ask, verdict in product(ASKS, VERDICTS):
        vault = Vault()
        order_id = settled(vault, end)
        payment, attempts, entries = vault.payments[order_id], dict(vault.attempts), len(vault.entries)

        answers = vault.answer(Claimed(order_id, ask, vault.now), Outcome(verdict, "ch_1"))

        assert answers == []
        if verdict == "captured" and end != "completed":
            assert (vault.attempts[order_id].ask, vault.attempts[order_id].state) == ("void", "due")
            assert vault.answer(vault.claim(order_id), Outcome("voided")) == []
            assert vault.booked("revenue", order_id) == 0
            assert vault.payments[order_id].status == payment.status
        else:
            assert (vault.payments[order_id], vault.attempts, len(vault.entries)) == (
                payment,
                attempts,
                entries,
            )


def settled(vault: Vault, end: str) -> OrderId:
    """An order whose payment by card has come to this end."""
    order_id = an_order_id()
    if end == "tombstone":
        vault.undo(order_id)
        return order_id
    vault.pay_by(vault.card(), order_id)
    claimed = vault.claim(order_id)
    if end == "cancelled":
        vault.undo(order_id)
    vault.answer(claimed, Outcome("refused" if end in {"failed", "cancelled"} else "captured"))
    if end == "refunded":
        vault.undo(order_id)
        vault.answer(vault.claim(order_id), Outcome("refunded"))
    return order_id


def test_an_answer_about_an_unknown_order_changes_nothing() -> None:
    vault = Vault()
    assert vault.answer(Claimed(an_order_id(), "query", vault.now), Outcome("captured")) == []
    assert not vault.payments
    assert not vault.attempts


@pytest.mark.parametrize(("age", "ask", "state"), [(0, "charge", "due"), (1, "query", "parked")])
def test_no_charge_is_repeated_once_its_key_is_old(age: int, ask: Ask, state: AttemptState) -> None:
    vault = Vault()
    claimed = queried(vault)
    sent_at = vault.attempts[claimed.order_id].first_sent_at
    assert sent_at is not None
    vault.now = sent_at + CHARGE_WITHIN + timedelta(microseconds=age)
    vault.answer(vault.claim(claimed.order_id), Outcome("not_found"))
    attempt = vault.attempts[claimed.order_id]
    assert (attempt.ask, attempt.state) == (ask, state)
    assert len(attempt.waiters) == 1


def test_a_parked_payment_is_asked_about_again_when_its_command_is_repeated() -> None:
    vault = Vault()
    card = vault.card()
    command = pay(user_id=card.user_id, method_id=card.id)
    vault.send(asking(command))
    vault.answer(vault.claim(command.order_id), Outcome("unknown"))
    vault.now += CHARGE_WITHIN + timedelta(seconds=1)
    vault.answer(vault.claim(command.order_id), Outcome("not_found"))
    assert vault.send(asking(command)) == []
    answers = vault.answer(vault.claim(command.order_id), Outcome("captured", "ch_1"))
    assert [type(a.body) for a in answers if isinstance(a, Outgoing)] == [PaymentCompleted] * 2


@pytest.mark.parametrize(
    ("situation", "limit"), [(charged, MAX_DELAY_OF_CHARGE), (refunding, MAX_DELAY_OF_UNDO)]
)
def test_asking_gets_slower_up_to_a_limit(situation: Situation, limit: timedelta) -> None:
    vault = Vault()
    claimed = situation(vault)
    delays = []
    for _ in range(24):
        vault.answer(claimed, Outcome("unknown"), jitter=0.999)
        delays.append(vault.attempts[claimed.order_id].next_at - vault.now)
        vault.now = vault.attempts[claimed.order_id].next_at
        claimed = vault.claim(claimed.order_id)
    assert delays == sorted(delays)
    assert delays[0] < timedelta(seconds=1)
    assert 0.99 * limit < delays[-1] <= limit


def test_chance_takes_half_of_a_delay_at_most() -> None:
    delays = []
    for jitter in (0.0, 0.5, 0.999):
        vault = Vault()
        claimed = charged(vault)
        vault.answer(claimed, Outcome("unknown"), jitter)
        delays.append((vault.attempts[claimed.order_id].next_at - vault.now) / timedelta(milliseconds=500))
    assert delays == pytest.approx([0.5, 0.75, 0.9995])


def test_the_reference_and_the_reason_are_kept() -> None:
    vault = Vault()
    claimed = charged(vault)
    [answer] = vault.answer(claimed, Outcome("refused", "ch_1", "card_\u0000declined\u202e"))
    assert isinstance(answer, Outgoing)
    assert isinstance(answer.body, PaymentFailed)
    assert answer.body.reason == "The card was refused: card declined."
    assert vault.payments[claimed.order_id].provider_reference == "ch_1"


def test_what_went_wrong_is_kept_until_it_goes_right() -> None:
    vault = Vault()
    claimed = refunding(vault)
    vault.answer(claimed, Outcome("denied", reason="refunds_refused"))
    assert vault.attempts[claimed.order_id].last_error == "denied: refunds_refused"
    vault.send(undo(claimed.order_id))
    vault.answer(vault.claim(claimed.order_id), Outcome("refunded"))
    assert vault.attempts[claimed.order_id].last_error is None
