"""The card desk with the real provider, on a real database."""

import asyncio
import itertools
from datetime import timedelta

import pytest

from libs.contracts.values import OrderId
from payment import card_http, store
from payment.card_desk import LEASE_MARGIN, CardDesk
from tests.payment.provider import Provider
from tests.payment.till import Till, asking, pay, undo
from tests.payment.till import till as another_till
from tests.support.builders import a_user_id
from tests.support.waiting import eventually

pytestmark = pytest.mark.integration


async def captured(provider: Provider, order_id: OrderId) -> tuple[int, int]:
    """What the provider took for an order, and what it gave back."""
    charge = (await provider.charges()).get(str(order_id), {})
    return charge.get("captured_minor", 0), charge.get("refunded_minor", 0)


async def test_a_card_is_charged_once_and_answered_with_the_reference(till: Till, provider: Provider) -> None:
    command = await till.by_card("tok_approve")
    message = asking(command)
    async with till.open():
        await till.send(message)
        [answer] = await till.expect(command.order_id, "PaymentCompleted")
    assert answer.body["provider_reference"].startswith("ch_")
    assert answer.body["amount"] == {"amount_minor": 1_999, "currency": "EUR"}
    assert answer.headers["causation_id"] == str(message.id)
    assert answer.headers["saga_id"] == str(command.order_id)
    assert answer.headers["step"] == "process_payment"
    assert await captured(provider, command.order_id) == (1_999, 0)
    assert await till.booked(command.order_id) == {"card_clearing": -1_999, "revenue": 1_999}
    assert await till.attempt(command.order_id) == ("charge", "done")
    await till.balances()


async def test_a_refused_card_fails_the_payment_with_a_reason(till: Till) -> None:
    command = await till.by_card("tok_refuse")
    async with till.open():
        await till.send(asking(command))
        [answer] = await till.expect(command.order_id, "PaymentFailed")
    assert answer.body["reason_code"] == "payment_refused"
    assert answer.body["reason"] == "The card was refused: card declined."
    assert await till.booked(command.order_id) == {}


async def test_a_charge_whose_answer_is_lost_is_asked_about(till: Till, provider: Provider) -> None:
    command = await till.by_card("tok_captured_silent")
    async with till.open():
        await till.send(asking(command))
        await till.expect(command.order_id, "PaymentCompleted")
    assert await captured(provider, command.order_id) == (1_999, 0)


async def test_a_late_charge_completes_when_the_provider_is_done(till: Till, provider: Provider) -> None:
    await provider.settle(late_seconds=1.5)
    command = await till.by_card("tok_late")
    async with till.open():
        await till.send(asking(command))
        await till.expect(command.order_id, "PaymentCompleted", within=20)


async def test_a_silent_provider_blocks_nobody_else(till: Till, provider: Provider) -> None:
    silent = [await till.by_card("tok_silent") for _ in range(60)]
    command = await till.by_card("tok_approve")
    async with till.open():
        await till.send(*map(asking, silent))
        await eventually(lambda: _tried(till, len(silent)), what="all silent ones tried")
        await till.send(asking(command))
        await till.expect(command.order_id, "PaymentCompleted", within=2)
    assert {await till.payment(one.order_id) for one in silent} == {"pending"}


async def _tried(till: Till, count: int) -> bool:
    (tried,) = await till.database.row("SELECT count(*) FROM payment_attempts WHERE attempts > 0")
    return bool(tried == count)


async def test_a_repeated_command_joins_and_both_are_answered(till: Till) -> None:
    command = await till.by_card("tok_captured_silent")
    first, second = asking(command), asking(command)
    async with till.open():
        await till.send(first, second)
        answers = await till.expect(command.order_id, "PaymentCompleted", "PaymentCompleted")
        await till.send(third := asking(command))
        answers = await till.expect(command.order_id, *["PaymentCompleted"] * 3)
    assert [one.headers["causation_id"] for one in answers] == [str(m.id) for m in (first, second, third)]
    assert len({one.body["payment_id"] for one in answers}) == 1


async def test_a_completed_card_payment_is_refunded(till: Till, provider: Provider) -> None:
    command = await till.by_card("tok_approve")
    async with till.open():
        await till.send(asking(command))
        await till.expect(command.order_id, "PaymentCompleted")
        await till.send(undo(command.order_id))
        *_, answer = await till.expect(command.order_id, "PaymentCompleted", "PaymentRefunded")
        await till.send(undo(command.order_id), asking(command))
        *_, again, late = await till.expect(
            command.order_id, "PaymentCompleted", "PaymentRefunded", "PaymentRefunded", "PaymentFailed"
        )
    assert (answer.body["was_captured"], answer.body["amount"]["amount_minor"]) == (True, 1_999)
    assert again.body == answer.body
    assert late.body["reason_code"] == "already_undone"
    assert await captured(provider, command.order_id) == (1_999, 1_999)
    assert await till.payment(command.order_id) == "refunded"
    assert await till.booked(command.order_id) == {}
    await till.balances()


async def test_a_refund_that_meets_a_charge_under_way_waits_for_it(till: Till, provider: Provider) -> None:
    command = await till.by_card("tok_captured_silent")
    async with till.open():
        await till.send(paying := asking(command))
        await eventually(lambda: _tried(till, 1), what="the charge sent")
        await till.send(undoing := undo(command.order_id))
        refused, refunded = await till.expect(command.order_id, "PaymentFailed", "PaymentRefunded")
    assert (refused.body["reason_code"], refused.headers["causation_id"]) == (
        "already_undone",
        str(paying.id),
    )
    assert refunded.headers["causation_id"] == str(undoing.id)
    assert refunded.headers["step"] == "refund_payment"
    assert refunded.body["was_captured"] is True
    assert await captured(provider, command.order_id) == (1_999, 1_999)
    assert await till.payment(command.order_id) == "cancelled"
    assert await till.booked(command.order_id) == {}


async def test_a_refund_of_a_charge_that_nobody_knows_burns_its_key(till: Till, provider: Provider) -> None:
    command = await till.by_card("tok_silent")
    async with till.open():
        await till.send(asking(command))
        await eventually(lambda: _tried(till, 1), what="the charge sent")
        await till.send(undo(command.order_id))
        *_, refunded = await till.expect(command.order_id, "PaymentFailed", "PaymentRefunded")
    assert refunded.body["was_captured"] is False
    assert (await provider.charges())[str(command.order_id)]["status"] == "voided"


async def test_a_refund_before_anything_was_sent_needs_no_provider(till: Till, provider: Provider) -> None:
    command = await till.by_card("tok_approve")
    await till.send(asking(command))
    await till.send(undo(command.order_id))
    async with till.open():
        await till.expect(command.order_id, "PaymentFailed", "PaymentRefunded")
    assert str(command.order_id) not in await provider.charges()


async def test_a_refused_refund_is_answered_once_the_provider_gives_in(
    till: Till, provider: Provider
) -> None:
    command = await till.by_card("tok_approve")
    async with till.open():
        await till.send(asking(command))
        await till.expect(command.order_id, "PaymentCompleted")
        await provider.settle(refuse_refunds=True)
        await till.send(first := undo(command.order_id))
        await eventually(lambda: _denied(till, command.order_id), what="a denial")
        assert await till.attempt(command.order_id) == ("refund", "due")
        assert await till.payment(command.order_id) == "completed"
        await till.database.rows("UPDATE payment_attempts SET next_at = now() + interval '5 minutes'")
        await provider.settle()
        await till.send(second := undo(command.order_id))
        *_, one, two = await till.expect(
            command.order_id, "PaymentCompleted", "PaymentRefunded", "PaymentRefunded", within=2
        )
    assert [one.headers["causation_id"], two.headers["causation_id"]] == [str(first.id), str(second.id)]
    await till.balances()


async def _denied(till: Till, order_id: OrderId) -> bool:
    (error,) = await till.database.row(
        "SELECT last_error FROM payment_attempts WHERE order_id = %s", order_id
    )
    return bool(error == "denied: refunds_refused")


async def test_a_void_that_is_refused_goes_on_until_the_money_is_back(till: Till, provider: Provider) -> None:
    await provider.settle(refuse_refunds=True)
    command = await till.by_card("tok_captured_silent")
    async with till.open():
        await till.send(asking(command))
        await eventually(lambda: _tried(till, 1), what="the charge sent")
        await till.send(undo(command.order_id))
        await eventually(lambda: _denied(till, command.order_id), what="a denial")
        assert await till.booked(command.order_id) == {"card_clearing": -1_999, "revenue": 1_999}
        await provider.settle()
        await till.expect(command.order_id, "PaymentFailed", "PaymentRefunded")
    assert await till.booked(command.order_id) == {}


async def test_no_charge_is_sent_under_an_old_key(till: Till, provider: Provider) -> None:
    command = await till.by_card("tok_approve")
    await till.send(asking(command))
    await till.database.rows(
        "UPDATE payment_attempts SET first_sent_at = now() - interval '12 hours 1 second'"
    )
    async with till.open():
        await eventually(lambda: _is(till, command.order_id, "query", "parked"), what="parked")
        await eventually(lambda: _gauge(till, 1), what="the metric")
        assert await provider.charges() == {} or str(command.order_id) not in await provider.charges()
        await till.send(undo(command.order_id))
        await till.expect(command.order_id, "PaymentFailed", "PaymentRefunded")
        await eventually(lambda: _gauge(till, 0), what="the metric back")
    assert (await provider.charges())[str(command.order_id)]["status"] == "voided"


async def _is(till: Till, order_id: OrderId, kind: str, state: str) -> bool:
    return await till.attempt(order_id) == (kind, state)


async def _gauge(till: Till, value: int) -> bool:
    return till.runtime.metrics.get_sample_value("payment_attempts_parked") == value


async def test_a_provider_that_is_away_is_waited_for(till: Till, provider: Provider) -> None:
    command = await till.by_card("tok_approve")
    await provider.stop()
    try:
        async with till.open():
            await till.send(asking(command))
            await eventually(lambda: _tried(till, 1), what="a try")
            await provider.start()
            await till.expect(command.order_id, "PaymentCompleted", within=15)
    finally:
        if not await _answers(provider):
            await provider.start()
    assert await captured(provider, command.order_id) == (1_999, 0)


async def test_a_provider_that_is_back_finds_all_that_waited_for_it(till: Till, provider: Provider) -> None:
    waiting, other = await till.by_card("tok_approve"), await till.by_card("tok_approve")
    await provider.stop()
    async with till.open():
        try:
            await till.send(asking(waiting))
            await eventually(lambda: _unreached(till), what="nobody there")
            await till.database.rows("UPDATE payment_attempts SET next_at = now() + interval '5 minutes'")
        finally:
            await provider.start()
        await till.send(asking(other))
        await till.expect(other.order_id, "PaymentCompleted")
        await till.expect(waiting.order_id, "PaymentCompleted", within=5)


async def _unreached(till: Till) -> bool:
    return bool(
        await till.database.rows(
            "SELECT FROM payment_attempts WHERE starts_with(last_error, 'unreached:') AND claimed_until IS NULL"
        )
    )


async def _answers(provider: Provider) -> bool:
    try:
        await provider.charges()
    except OSError:
        return False
    return True


async def test_what_a_stopped_process_had_under_way_is_asked_about_at_once(
    till: Till, provider: Provider
) -> None:
    command = await till.by_card("tok_captured_silent")
    async with (
        another_till(till.database, card_provider_url=provider.url, card_timeout_seconds=60) as patient,
        patient.open(),
    ):
        await patient.send(asking(command))
        await eventually(lambda: _known(provider, command.order_id), what="the charge at the provider")
    assert await till.attempt(command.order_id) == ("query", "due")
    async with till.open():
        await till.expect(command.order_id, "PaymentCompleted", within=5)


async def _known(provider: Provider, order_id: OrderId) -> bool:
    return str(order_id) in await provider.charges()


async def test_what_a_killed_process_had_claimed_comes_up_again(till: Till, provider: Provider) -> None:
    command = await till.by_card("tok_approve")
    await till.send(asking(command))
    async with till.runtime.database.transaction() as tx:
        [call] = await store.claim(tx, first=10, again=10, lease=timedelta(seconds=0.5))
    assert (call.ask, call.token, call.first) == ("charge", "tok_approve", True)
    async with till.open():
        await till.expect(command.order_id, "PaymentCompleted", within=10)
    assert await captured(provider, command.order_id) == (1_999, 0)


async def test_a_process_that_was_paused_since_its_claim_sends_nothing(
    till: Till, provider: Provider
) -> None:
    leap = [LEASE_MARGIN.total_seconds()]
    clock = itertools.accumulate(itertools.repeat(0.0), lambda now, _: now + leap[0])
    till.desk = CardDesk(card_http.connect, clock=lambda: next(clock))
    command = await till.by_card("tok_approve")
    await till.send(asking(command))

    async def held_back() -> bool:
        (error,) = await till.database.row("SELECT last_error FROM payment_attempts")
        return bool(error == "unknown: not sent: the claim was made too long ago")

    async with till.open():
        await eventually(held_back, what="a call held back")
        assert str(command.order_id) not in await provider.charges()
        leap[0] = 0.0
        await till.expect(command.order_id, "PaymentCompleted", within=15)


async def test_two_processes_share_the_work_and_call_once(till: Till, provider: Provider) -> None:
    commands = [await till.by_card("tok_approve") for _ in range(40)]
    async with another_till(till.database, card_provider_url=provider.url) as other:
        async with till.open(), other.open():
            await asyncio.gather(
                till.send(*map(asking, commands[:20])), other.send(*map(asking, commands[20:]))
            )
            for command in commands:
                await till.expect(command.order_id, "PaymentCompleted")
        calls = [
            one.runtime.metrics.get_sample_value("card_calls_total", {"ask": "charge", "verdict": "captured"})
            for one in (till, other)
        ]
    assert sum(call or 0 for call in calls) == 40


async def test_a_wallet_payment_opens_no_attempt(till: Till) -> None:
    user_id = a_user_id()
    await till.deposit(user_id, 5_000)
    command = pay(user_id=user_id)
    await till.send(asking(command))
    await till.expect(command.order_id, "PaymentCompleted")
    assert await till.database.rows("SELECT FROM payment_attempts") == []
