"""Every way in which an order can end, over HTTP, with the timeline that proves it."""

from uuid import UUID, uuid4

import httpx
import pytest

from tests.support.cards import Cards
from tests.support.shop import Customer, Operator, Order, Shop
from tests.support.waiting import eventually

PAID = ["created", "validated", "reserved", "paid", "completed"]


async def test_paid_by_wallet(customer: Customer, operator: Operator) -> None:
    tea, cake = await operator.product(cents=250, stock=10), await operator.product(cents=1_999, stock=10)
    order = await customer.ended(await customer.order(await customer.wallet(), [(tea, 2), (cake, 3)]))
    assert (order.status, order.reason_code, order.events) == ("completed", None, PAID)
    assert order.total is not None
    assert order.total.amount_minor == 2 * 250 + 3 * 1_999
    assert await customer.balance() == 1_000_000 - order.total.amount_minor
    assert {line.product_id: line.quantity for line in order.lines} == {tea: 2, cake: 3}
    assert all(line.name and line.price for line in order.lines)

    async def sold() -> bool:
        shelf = await operator.stock(tea)
        assert (shelf.on_hand, shelf.reserved, shelf.available, shelf.sold) == (8, 0, 8, 2)
        return True

    await eventually(sold)


async def test_paid_by_card(customer: Customer, operator: Operator, cards: Cards) -> None:
    product = await operator.product(cents=1_234)
    order = await customer.ended(await customer.order(await customer.card(), [(product, 1)]))
    assert (order.status, order.events) == ("completed", PAID)
    assert await cards.taken(order.order_id) == 1_234
    assert order.payment is not None
    assert order.payment.status == "completed"
    assert await customer.balance() == 1_000_000


async def test_unknown_product(customer: Customer, operator: Operator) -> None:
    known, unknown = await operator.product(), uuid4()
    order = await customer.ended(await customer.order(await customer.wallet(), [(known, 1), (unknown, 1)]))
    assert_cancelled(order, "products_unknown", without=["validated", "reserved", "paid"])
    assert str(unknown) in (order.reason or "")
    await assert_untouched(operator, known, 100)


async def test_withdrawn_product(customer: Customer, operator: Operator) -> None:
    product = await operator.product(name="Discontinued kettle")
    await operator.withdraw(product)
    order = await customer.ended(await customer.order(await customer.wallet(), [(product, 1)]))
    assert_cancelled(order, "products_unavailable", without=["validated", "reserved", "paid"])
    assert "Discontinued kettle" in (order.reason or "")


async def test_short_stock_holds_no_line_and_names_what_is_there(
    customer: Customer, operator: Operator
) -> None:
    plenty, scarce = await operator.product(stock=50), await operator.product(stock=2, name="Rare stamp")
    order = await customer.ended(await customer.order(await customer.wallet(), [(plenty, 5), (scarce, 3)]))
    assert_cancelled(order, "out_of_stock", without=["reserved", "paid"])
    reason = order.reason or ""
    assert "3" in reason, reason
    assert "2" in reason, reason
    await assert_untouched(operator, plenty, 50)
    await assert_untouched(operator, scarce, 2)


async def test_wallet_without_cover(shop: Shop, operator: Operator) -> None:
    customer = await shop.customer(cents=999)
    product = await operator.product(cents=1_000)
    order = await customer.ended(await customer.order(await customer.wallet(), [(product, 1)]))
    assert_cancelled(order, "payment_refused", without=["paid", "refunded"])
    assert "released" in order.events
    assert await customer.balance() == 999
    await assert_untouched(operator, product, 100)


async def test_card_refused(customer: Customer, operator: Operator) -> None:
    product = await operator.product()
    order = await customer.ended(await customer.order(await customer.card("tok_refuse"), [(product, 1)]))
    assert_cancelled(order, "payment_refused", without=["paid", "refunded"])
    await assert_untouched(operator, product, 100)


async def test_another_customers_method_pays_nothing(
    shop: Shop, customer: Customer, operator: Operator
) -> None:
    victim = await shop.customer(cents=5_000)
    product = await operator.product()
    order = await customer.ended(await customer.order(await victim.wallet(), [(product, 1)]))
    assert_cancelled(order, "payment_refused", without=["paid", "refunded"])
    assert await victim.balance() == 5_000
    assert (await victim.send("GET", f"/api/orders/{order.order_id}")).status_code == httpx.codes.NOT_FOUND


async def test_a_card_that_is_charged_late_but_in_time(
    customer: Customer, operator: Operator, cards: Cards
) -> None:
    product = await operator.product()
    async with cards.answering_after(seconds=1.0):
        order = await customer.ended(await customer.order(await customer.card("tok_late"), [(product, 1)]))
    assert (order.status, order.events) == ("completed", PAID)
    assert await cards.taken(order.order_id) == 1_000


async def test_a_card_that_is_charged_after_the_deadline_is_given_back(
    customer: Customer, operator: Operator, cards: Cards, payment_deadline: float
) -> None:
    product = await operator.product()
    async with cards.answering_after(seconds=payment_deadline + 1.0):
        order_id = await customer.order(await customer.card("tok_late"), [(product, 1)])
        order = await customer.ended(order_id, within=3 * payment_deadline + 60)
    assert_cancelled(order, "payment_timeout", without=["completed"])
    await eventually(lambda: cards.gave_back(order_id), within=payment_deadline + 10)
    await assert_untouched(operator, product, 100)


async def test_a_payment_that_is_never_answered(
    customer: Customer, operator: Operator, cards: Cards, payment_deadline: float
) -> None:
    product = await operator.product()
    order_id = await customer.order(await customer.card("tok_silent"), [(product, 1)])
    order = await customer.ended(order_id, within=3 * payment_deadline + 60)
    assert_cancelled(order, "payment_timeout", without=["completed"])
    assert "released" in order.events
    await assert_untouched(operator, product, 100)
    assert await cards.gave_back(order_id)


async def test_a_capture_that_is_never_answered_is_found_by_asking(
    customer: Customer, operator: Operator, cards: Cards, payment_deadline: float
) -> None:
    product = await operator.product()
    order_id = await customer.order(await customer.card("tok_captured_silent"), [(product, 1)])
    order = await customer.ended(order_id, within=3 * payment_deadline + 60)
    taken = await cards.taken(order_id)
    assert taken == (1_000 if order.status == "completed" else 0), order


async def test_cancelled_before_completion(customer: Customer, operator: Operator) -> None:
    product = await operator.product()
    order_id = await customer.order(await customer.card("tok_silent"), [(product, 1)])

    async def reserved() -> bool:
        return "reserved" in (await customer.look(order_id)).events

    await eventually(reserved, within=20)
    assert (await customer.cancel(order_id)).status_code == httpx.codes.ACCEPTED
    order = await customer.ended(order_id, within=150)
    assert_cancelled(order, "cancelled_by_customer", without=["completed"])
    await assert_untouched(operator, product, 100)
    again = await customer.cancel(order_id)
    assert (again.status_code, again.json()["code"]) == (httpx.codes.CONFLICT, "order_not_cancellable")


@pytest.mark.parametrize("method", ["wallet", "card"])
async def test_cancelled_after_completion(customer: Customer, operator: Operator, method: str) -> None:
    product = await operator.product(cents=700, stock=5)
    paying = await customer.wallet() if method == "wallet" else await customer.card()
    order_id = await customer.order(paying, [(product, 2)])
    assert (await customer.ended(order_id)).status == "completed"
    assert (await customer.cancel(order_id)).status_code == httpx.codes.ACCEPTED
    order = await customer.becomes(order_id, "cancelled")
    assert order.reason_code == "cancelled_by_customer"
    assert order.events[:5] == PAID
    assert set(order.events[5:]) == {"cancelling", "released", "refunded", "cancelled"}
    assert await customer.balance() == 1_000_000
    await assert_untouched(operator, product, 5)


async def test_the_same_request_again_is_the_same_order(customer: Customer, operator: Operator) -> None:
    product, wallet, key = await operator.product(), await customer.wallet(), uuid4().hex
    first = await customer.post_order(wallet, [(product, 1)], key=key)
    again = await customer.post_order(wallet, [(product, 1)], key=key)
    other = await customer.post_order(wallet, [(product, 2)], key=key)
    assert (first.status_code, again.status_code) == (httpx.codes.ACCEPTED, httpx.codes.ACCEPTED)
    assert again.json()["order_id"] == first.json()["order_id"]
    assert again.headers["Idempotency-Replayed"] == "true"
    assert "Idempotency-Replayed" not in first.headers
    assert other.status_code == httpx.codes.UNPROCESSABLE_ENTITY
    assert other.json()["code"] == "idempotency_key_reused"
    assert (await customer.ended(UUID(first.json()["order_id"]))).status == "completed"
    page = (await customer.ask("GET", "/api/orders")).json()
    assert [item["order_id"] for item in page["items"]] == [first.json()["order_id"]]


async def test_an_order_is_there_right_after_its_post(customer: Customer, operator: Operator) -> None:
    product = await operator.product()
    response = await customer.post_order(await customer.wallet(), [(product, 1)])
    assert response.headers["Location"] == f"/api/orders/{response.json()['order_id']}"
    order = await customer.look(UUID(response.json()["order_id"]))
    assert order.status in {"pending", "completed"}


async def test_prefer_wait_answers_with_the_end(customer: Customer, operator: Operator) -> None:
    product = await operator.product()
    response = await customer.post_order(await customer.wallet(), [(product, 1)], Prefer="wait=20")
    assert (response.status_code, response.json()["status"]) == (httpx.codes.ACCEPTED, "completed")


def assert_cancelled(order: Order, reason_code: str, *, without: list[str]) -> None:
    """Cancelled, for this reason, and none of these events happened."""
    assert (order.status, order.reason_code) == ("cancelled", reason_code), order
    assert order.reason, "a reason that a person can read"
    assert order.events[0] == "created"
    assert order.events[-1] == "cancelled"
    assert not set(order.events) & set(without), order.events


async def assert_untouched(operator: Operator, product: UUID, on_hand: int) -> None:
    """All of it is on the shelf, and none is reserved or sold."""
    shelf = await operator.stock(product)
    assert (shelf.on_hand, shelf.reserved, shelf.available, shelf.sold) == (on_hand, 0, on_hand, 0)
