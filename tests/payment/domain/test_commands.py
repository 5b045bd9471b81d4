"""What sagas ask for: done, refused, repeated, raced."""

from datetime import timedelta

import pytest

from libs.contracts.message import Contract
from libs.contracts.payment import PaymentCompleted, PaymentFailed, PaymentRefunded, RefundPayment
from libs.contracts.reasons import ALREADY_UNDONE, PAYMENT_REFUSED
from libs.contracts.values import Money, PaymentMethodId
from libs.messaging.message import Outgoing
from payment.domain.books import wallet_account, wallet_method_id
from payment.domain.commands import MAX_WAITERS
from payment.provider import Outcome
from tests.payment.domain.vault import Vault
from tests.payment.till import asking, pay, undo
from tests.support.builders import a_message_id, a_user_id, an_order_id, euros


def only(answers: list[Contract | Outgoing]) -> Contract:
    """The single answer, to the message in hand."""
    [answer] = answers
    assert isinstance(answer, Contract)
    return answer


def failure(answers: list[Contract | Outgoing]) -> tuple[str, str]:
    """The single answer's reason, as it is a refusal."""
    answer = only(answers)
    assert isinstance(answer, PaymentFailed)
    return answer.reason_code, answer.reason


def test_a_wallet_pays_at_once() -> None:
    vault = Vault()
    user_id = vault.wallet(5_000)
    message = asking(pay(user_id=user_id))
    answer = only(vault.send(message))
    assert answer == PaymentCompleted(
        order_id=message.key,
        payment_id=message.id,  # type: ignore[arg-type]
        amount=euros(1_999),
        provider_reference=None,
    )
    assert vault.wallets[user_id].balance == euros(3_001)
    assert vault.booked(wallet_account(user_id)) == -1_999
    assert vault.booked("revenue") == 1_999
    assert not vault.attempts


def test_a_wallet_pays_to_the_last_cent_and_no_further() -> None:
    vault = Vault()
    user_id = vault.wallet(1_999)
    vault.send(asking(pay(user_id=user_id)))
    reason = "The wallet holds 0.00 EUR, and the order costs 19.99 EUR."
    assert failure(vault.send(asking(pay(user_id=user_id)))) == (PAYMENT_REFUSED, reason)


def test_a_wallet_that_was_never_made_is_empty() -> None:
    vault = Vault()
    message = asking(pay(user_id=a_user_id()))
    reason = "The wallet holds 0.00 EUR, and the order costs 19.99 EUR."
    assert failure(vault.send(message)) == (PAYMENT_REFUSED, reason)
    assert not vault.wallets


def test_a_wallet_pays_in_its_own_currency_only() -> None:
    vault = Vault()
    user_id = vault.wallet(5_000)
    message = asking(pay(user_id=user_id, amount=Money(amount_minor=1, currency="USD")))
    reason = "The wallet is in EUR, and the order is in USD."
    assert failure(vault.send(message)) == (PAYMENT_REFUSED, reason)


@pytest.mark.parametrize("whose", ["another's card", "another's wallet", "nobody's"])
def test_anothers_method_is_refused_like_an_unknown_one(whose: str) -> None:
    vault = Vault()
    method_id = {
        "another's card": vault.card().id,
        "another's wallet": wallet_method_id(vault.wallet(5_000)),
        "nobody's": PaymentMethodId(a_message_id()),
    }[whose]
    message = asking(pay(user_id=vault.wallet(5_000), method_id=method_id))
    reason = "This payment method is not one of yours, or not any more."
    assert failure(vault.send(message)) == (PAYMENT_REFUSED, reason)
    assert not vault.attempts
    assert not vault.entries


def test_a_card_is_left_to_the_provider() -> None:
    vault = Vault()
    card = vault.card("tok_approve")
    message = asking(pay(user_id=card.user_id, method_id=card.id))
    assert vault.send(message) == []
    attempt = vault.attempts[message.key]
    assert (attempt.ask, attempt.state, attempt.token) == ("charge", "due", "tok_approve")
    assert attempt.waiters == (message.answering(),)
    assert vault.payments[message.key].status == "pending"


@pytest.mark.parametrize("by", ["wallet", "card"])
def test_an_order_that_costs_nothing_is_paid_and_undone_without_entries(by: str) -> None:
    vault = Vault()
    card = vault.card()
    method_id = card.id if by == "card" else wallet_method_id(card.user_id)
    message = asking(pay(user_id=card.user_id, method_id=method_id, amount=euros(0)))
    assert isinstance(only(vault.send(message)), PaymentCompleted)
    answer = only(vault.undo(message.key))
    assert answer == PaymentRefunded(order_id=message.key, amount=euros(0), was_captured=True)
    assert not vault.attempts
    assert not vault.wallets
    assert not vault.entries


@pytest.mark.parametrize("balance", [5_000, 0])
def test_a_repeated_payment_is_answered_as_before(balance: int) -> None:
    vault = Vault()
    command = pay(user_id=vault.wallet(balance))
    first = only(vault.send(asking(command)))
    wallets = dict(vault.wallets)
    assert only(vault.send(asking(command))) == first
    assert vault.wallets == wallets


def test_an_answer_does_not_change_with_the_wallet() -> None:
    vault = Vault()
    command = pay(user_id=vault.wallet(0))
    refused = only(vault.send(asking(command)))
    vault.wallets[command.user_id] = vault.wallets[command.user_id].plus(5_000)
    assert only(vault.send(asking(command))) == refused


def test_a_wallet_gets_its_money_back() -> None:
    vault = Vault()
    user_id = vault.wallet(5_000)
    command = pay(user_id=user_id)
    vault.send(asking(command))
    answer = only(vault.undo(command.order_id))
    assert answer == PaymentRefunded(order_id=command.order_id, amount=euros(1_999), was_captured=True)
    assert vault.wallets[user_id].balance == euros(5_000)
    assert vault.booked("revenue") == 0
    assert only(vault.undo(command.order_id)) == answer
    assert vault.wallets[user_id].balance == euros(5_000)
    assert failure(vault.send(asking(command)))[0] == ALREADY_UNDONE


def test_a_refund_before_its_payment_leaves_a_tombstone() -> None:
    vault = Vault()
    command = pay(user_id=vault.wallet(5_000))
    answer = only(vault.undo(command.order_id))
    assert answer == PaymentRefunded(order_id=command.order_id, amount=euros(0), was_captured=False)
    assert vault.payments[command.order_id].status == "cancelled"
    assert failure(vault.send(asking(command)))[0] == ALREADY_UNDONE
    assert only(vault.undo(command.order_id)) == answer
    assert not vault.entries


def test_a_refund_of_a_refused_payment_finds_nothing_to_give_back() -> None:
    vault = Vault()
    command = pay(user_id=vault.wallet(0))
    refused = only(vault.send(asking(command)))
    answer = only(vault.undo(command.order_id))
    assert answer == PaymentRefunded(order_id=command.order_id, amount=euros(0), was_captured=False)
    assert only(vault.send(asking(command))) == refused


def test_a_repeated_card_payment_joins_and_is_due_at_once() -> None:
    vault = Vault()
    card = vault.card()
    command = pay(user_id=card.user_id, method_id=card.id)
    messages = [asking(command) for _ in range(2)]
    vault.send(messages[0])
    claimed = vault.claim(command.order_id)
    vault.answer(claimed, Outcome("unknown"))
    assert vault.attempts[command.order_id].next_at > vault.now
    assert vault.send(messages[1]) == []
    assert vault.attempts[command.order_id].next_at == vault.now
    answers = vault.answer(vault.claim(command.order_id), Outcome("captured", "ch_1"))
    assert [a.correlation for a in answers if isinstance(a, Outgoing)] == [m.answering() for m in messages]


def test_joining_lets_a_call_under_way_finish() -> None:
    vault = Vault()
    card = vault.card()
    command = pay(user_id=card.user_id, method_id=card.id)
    vault.send(asking(command))
    claimed = vault.claim(command.order_id)
    vault.send(asking(command))
    attempt = vault.attempts[command.order_id]
    assert (attempt.claimed_until, attempt.next_at) == (claimed.until, claimed.until)


def test_a_crowd_of_repeats_keeps_a_place_for_each_step() -> None:
    vault = Vault()
    card = vault.card()
    command = pay(user_id=card.user_id, method_id=card.id)
    other = asking(command, "another_step")
    vault.send(other)
    repeats = [asking(command) for _ in range(3 * MAX_WAITERS)]
    for repeat in repeats:
        vault.send(repeat)
    waiters = vault.attempts[command.order_id].waiters
    assert len(waiters) == MAX_WAITERS
    assert waiters[0] == other.answering()
    assert waiters[-1] == repeats[-1].answering()


def test_a_refund_before_the_charge_was_sent_settles_at_once() -> None:
    vault = Vault()
    card = vault.card()
    paying = asking(pay(user_id=card.user_id, method_id=card.id))
    vault.send(paying)
    failed, refunded = vault.undo(paying.key)
    assert isinstance(failed, Outgoing)
    assert isinstance(failed.body, PaymentFailed)
    assert (failed.body.reason_code, failed.correlation) == (ALREADY_UNDONE, paying.answering())
    assert refunded == PaymentRefunded(order_id=paying.key, amount=euros(0), was_captured=False)
    assert vault.attempts[paying.key].state == "done"


def test_a_refund_that_meets_a_charge_under_way_waits_for_its_outcome() -> None:
    vault = Vault()
    order_id = vault.pay_by(vault.card())
    claimed = vault.claim(order_id)
    [failed] = vault.undo(order_id)
    assert isinstance(failed, Outgoing)
    assert isinstance(failed.body, PaymentFailed)
    attempt = vault.attempts[order_id]
    assert (attempt.ask, attempt.claimed_until, attempt.token) == ("query", claimed.until, None)
    assert vault.payments[order_id].status == "cancelled"
    assert vault.answer(claimed, Outcome("captured", "ch_1")) == []
    voiding = vault.claim(order_id)
    assert voiding.ask == "void"
    [refunded] = vault.answer(voiding, Outcome("voided"))
    assert isinstance(refunded, Outgoing)
    assert refunded.body == PaymentRefunded(order_id=order_id, amount=euros(1_999), was_captured=True)


def test_refunds_of_a_card_are_answered_together_when_the_provider_is_done() -> None:
    vault = Vault()
    order_id = vault.pay_by(vault.card())
    vault.answer(vault.claim(order_id), Outcome("captured", "ch_1"))
    messages = [undo(order_id) for _ in range(2)]
    assert vault.send(messages[0]) == []
    assert failure(vault.send(asking(pay(order_id))))[0] == ALREADY_UNDONE
    vault.answer(vault.claim(order_id), Outcome("denied", reason="refunds_refused"))
    assert vault.attempts[order_id].next_at > vault.now
    assert vault.send(messages[1]) == []
    assert vault.attempts[order_id].next_at == vault.now
    answers = vault.answer(vault.claim(order_id), Outcome("refunded"))
    assert [a.correlation for a in answers if isinstance(a, Outgoing)] == [m.answering() for m in messages]
    assert vault.payments[order_id].status == "refunded"


def test_a_refund_wakes_a_parked_attempt() -> None:
    vault = Vault()
    order_id = vault.pay_by(vault.card())
    vault.answer(vault.claim(order_id), Outcome("unknown"))
    vault.now += timedelta(hours=13)
    vault.answer(vault.claim(order_id), Outcome("not_found"))
    assert vault.attempts[order_id].state == "parked"
    vault.undo(order_id)
    vault.answer(vault.claim(order_id), Outcome("not_found"))
    [refunded] = vault.answer(vault.claim(order_id), Outcome("voided"))
    assert isinstance(refunded, Outgoing)
    assert isinstance(refunded.body, PaymentRefunded)


def test_a_tombstone_is_for_its_order_only() -> None:
    vault = Vault()
    vault.send(asking(RefundPayment(order_id=an_order_id())))
    assert isinstance(only(vault.send(asking(pay(user_id=vault.wallet(5_000))))), PaymentCompleted)
