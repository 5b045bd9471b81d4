"""The whole service as a process, with Kafka, PostgreSQL and the card provider."""

import asyncio
import json
import signal
from collections.abc import Awaitable, Callable

import pytest

from libs.contracts.message import Contract
from libs.contracts.payment import ProcessPayment, RefundPayment
from libs.contracts.topics import PAYMENT_EVENTS
from libs.contracts.values import OrderId, PaymentMethodId, UserId
from payment import store
from tests.payment.provider import Provider
from tests.payment.till import pay
from tests.support.builders import (
    a_correlation,
    a_message_id,
    a_record,
    a_user_id,
    an_order_id,
    euros,
)
from tests.support.databases import Database
from tests.support.services import ServiceProcess
from tests.support.store import a_transaction
from tests.support.topics import RawRecord, Topics
from tests.support.waiting import eventually

pytestmark = pytest.mark.integration


@pytest.fixture
async def payment(
    service: Callable[..., Awaitable[ServiceProcess]], books: Database, provider: Provider
) -> ServiceProcess:
    """The service, ready."""
    return await service("payment", on=books, CARD_PROVIDER_URL=provider.url, CARD_TIMEOUT_SECONDS="0.5")


def record(body: Contract, step: str = "process_payment") -> RawRecord:
    """A command as it lies in its topic."""
    return a_record(body, correlation=a_correlation(body.order_id, step))


async def events(topics: Topics, order_id: OrderId) -> list[RawRecord]:
    """What was answered about an order."""
    return [one for one in await topics.read(PAYMENT_EVENTS) if one.key == str(order_id).encode()]


async def expect(topics: Topics, order_id: OrderId, *names: str, within: float = 20.0) -> list[RawRecord]:
    """The order's answers once they are these and no others."""

    async def ask() -> list[RawRecord]:
        found = await events(topics, order_id)
        assert [one.header("ce_type") for one in found] == [f"payment.{name}.v1" for name in names]
        return found

    return await eventually(ask, within=within, every=0.1, what=f"{names} for {order_id}")


async def by_card(books: Database, token: str) -> ProcessPayment:
    """A payment by a new customer's card."""
    user_id, method_id = a_user_id(), PaymentMethodId(a_message_id())
    async with a_transaction(books.runtime_dsn) as tx:
        await store.add_card(tx, user_id, method_id, token, "Card")
    return pay(user_id=user_id, method_id=method_id)


async def with_wallet(books: Database, minor: int) -> UserId:
    """A new customer with so much in the wallet."""
    user_id = a_user_id()
    async with a_transaction(books.runtime_dsn) as tx:
        await store.deposit(tx, user_id, "first", euros(minor), a_message_id())
    return user_id


async def test_commands_are_answered_over_kafka(
    payment: ServiceProcess, books: Database, topics: Topics
) -> None:
    by_wallet = pay(user_id=await with_wallet(books, 5_000))
    approved, refused = await by_card(books, "tok_approve"), await by_card(books, "tok_refuse")
    unknown = an_order_id()
    sent = record(approved)
    await topics.publish(
        record(by_wallet),
        sent,
        sent,
        record(refused),
        record(RefundPayment(order_id=unknown), "refund_payment"),
    )
    [paid] = await expect(topics, approved.order_id, "PaymentCompleted")
    assert paid.header("causation_id") == sent.header("ce_id")
    assert paid.header("saga_id") == str(approved.order_id)
    assert (paid.header("step"), paid.header("attempt")) == ("process_payment", "1")
    assert paid.header("ce_source") == "/payment"
    await expect(topics, by_wallet.order_id, "PaymentCompleted")
    await expect(topics, refused.order_id, "PaymentFailed")
    [nothing] = await expect(topics, unknown, "PaymentRefunded")
    assert json.loads(nothing.value or b"")["was_captured"] is False

    await topics.publish(
        *(record(RefundPayment(order_id=one.order_id), "refund_payment") for one in (by_wallet, approved)),
        record(pay(unknown)),
    )
    await expect(topics, by_wallet.order_id, "PaymentCompleted", "PaymentRefunded")
    await expect(topics, approved.order_id, "PaymentCompleted", "PaymentRefunded")
    *_, late = await expect(topics, unknown, "PaymentRefunded", "PaymentFailed")
    assert json.loads(late.value or b"")["reason_code"] == "already_undone"
    assert await books.row("SELECT sum(amount_minor) FROM ledger_entries") == (0,)
    assert await books.rows("SELECT FROM dead_letters UNION ALL SELECT FROM parked_messages") == []


async def test_a_service_killed_while_the_provider_is_silent_charges_once(
    payment: ServiceProcess, books: Database, topics: Topics, provider: Provider
) -> None:
    commands = [await by_card(books, "tok_captured_silent") for _ in range(10)]
    await topics.publish(*map(record, commands))

    async def some_are_captured() -> bool:
        known = await provider.charges()
        return any(str(one.order_id) in known for one in commands)

    await eventually(some_are_captured, what="charges at the provider")
    await payment.kill()
    await books.rows(
        "UPDATE payment_attempts SET next_at = now(), claimed_until = now() WHERE state = 'due'"
    )  # as if the leases had run out
    await payment.start()
    await asyncio.gather(*(expect(topics, one.order_id, "PaymentCompleted") for one in commands))
    charges = await provider.charges()
    assert {charges[str(one.order_id)]["captured_minor"] for one in commands} == {1_999}
    assert await books.row("SELECT count(*) FROM ledger_entries") == (20,)


async def test_a_stopped_service_leaves_in_time_with_calls_under_way(
    payment: ServiceProcess, books: Database, topics: Topics
) -> None:
    command = await by_card(books, "tok_silent")
    await topics.publish(record(command))

    async def under_way() -> bool:
        return bool(await books.rows("SELECT FROM payment_attempts WHERE attempts > 0"))

    await eventually(under_way, what="the charge under way")
    assert await payment.stop(), "it had to be killed"
    assert await books.row("SELECT claimed_until IS NULL FROM payment_attempts") == (True,)


async def test_a_paused_service_wakes_up_and_goes_on(
    payment: ServiceProcess, books: Database, topics: Topics, provider: Provider
) -> None:
    before = await by_card(books, "tok_approve")
    await topics.publish(record(before))
    await expect(topics, before.order_id, "PaymentCompleted")
    payment.signal(signal.SIGSTOP)
    after = await by_card(books, "tok_approve")
    await topics.publish(record(after))
    payment.signal(signal.SIGCONT)
    await expect(topics, after.order_id, "PaymentCompleted")
    assert (await provider.charges())[str(after.order_id)]["captured_minor"] == 1_999
