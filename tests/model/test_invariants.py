"""Plants what must never be into single states, and sees it found."""

from dataclasses import replace

import pytest

from inventory.domain import Hold, Stock
from libs.saga.instance import Status
from order.domain import Order
from payment.domain.books import Payment
from tests.model.cards import Provider
from tests.model.exploring import Exploration
from tests.model.scenario import CARD, CUSTOMER, LAMP, NOW, Plan, Scenario, euros
from tests.model.state import ACCOUNTS, PROVIDER, ROW, SHARED, WAREHOUSE, State, changed
from tests.model.substitution import CHANCE, substituted
from tests.model.trip_world import PARTNERS, SAGA, Done, TripScenario, TripWorld
from tests.model.world import World

PAID = Plan(method=CARD.id, cancels=0)


def completed() -> tuple[World, State]:
    """A world and the state in which its one order is completed."""
    world = World(Scenario(name="paid", about="one order by card", orders=(PAID,)))
    with substituted(*CHANCE):
        trace = Exploration(world, 10_000).run().deepest_trace
    end = trace[-1][1]
    assert world.wrong(end) is None
    assert world.quiet(end)
    return world, end


STOCK = [
    (lambda stock: replace(stock, on_hand=stock.on_hand + 1), "I2: of 5 there are"),
    (lambda stock: replace(stock, reserved=1), "I2: 1 are counted as held"),
    (lambda stock: replace(stock, on_hand=6, sold=-1), "I2: below zero"),
]


@pytest.mark.parametrize(("corrupt", "finding"), STOCK)
def test_stock_that_does_not_add_up_is_found(corrupt: object, finding: str) -> None:
    world, end = completed()
    held = world.warehouses[end[WAREHOUSE]]
    assert callable(corrupt)
    stock = tuple(corrupt(one) if one.product_id == LAMP else one for one in held.stock)
    planted = world.warehouses.number(replace(held, stock=stock))
    assert str(world.wrong(changed(end, {WAREHOUSE: planted}))).startswith(finding)


def test_goods_of_a_refused_order_are_found() -> None:
    world, end = completed()
    held = world.warehouses[end[WAREHOUSE]]
    stock = tuple(replace(one, on_hand=5, sold=0) for one in held.stock)
    refused = replace(held, stock=stock, holds=tuple(replace(hold, state="refused") for hold in held.holds))
    wrong = world.wrong(changed(end, {WAREHOUSE: world.warehouses.number(refused)}))
    assert wrong == "I2: a refused order has something"


def test_a_ledger_that_does_not_balance_is_found() -> None:
    world, end = completed()
    books = world.accounts[end[ACCOUNTS]]
    for ledger, finding in (
        (books.ledger[:1], "I1: the ledger does not sum to zero"),
        ((*books.ledger, *books.ledger), "I4: the ledger has an order's entry twice"),
        ((), "I1: a capture without its entry"),
    ):
        planted = world.accounts.number(replace(books, ledger=ledger))
        assert str(world.wrong(changed(end, {ACCOUNTS: planted}))).startswith(finding)


def test_payments_that_their_tables_refuse_are_found() -> None:
    world, end = completed()
    books = world.accounts[end[ACCOUNTS]]
    (payment,) = books.payments
    (attempt,) = books.attempts
    broke = replace(books.wallets[0], balance=euros(0))
    for planted, finding in (
        (
            replace(books, payments=(replace(payment, captured_at=None),)),
            "I1: a payment is completed, captured",
        ),
        (replace(books, attempts=(replace(attempt, claimed_until=NOW),)), "an attempt is done with ends"),
        (replace(books, attempts=(replace(attempt, state="due"),)), "a charge without a token"),
        (replace(books, wallets=(broke,)), "I1: the wallet is not what the ledger says"),
    ):
        assert str(world.wrong(changed(end, {ACCOUNTS: world.accounts.number(planted)}))).startswith(finding)


def test_books_that_the_provider_does_not_know_are_found() -> None:
    world, end = completed()
    slot = SHARED + PROVIDER
    for provider, finding in (
        (Provider(), "I1: a capture is booked that never was"),
        (Provider("voided", captured=True), "I1: the order is completed, and the provider has no money"),
    ):
        assert world.wrong(changed(end, {slot: world.providers.number(provider)})) == finding


def test_a_cancelled_order_with_anything_left_is_found() -> None:
    world, end = completed()
    cancelled = Order(world.ids[0], CUSTOMER, "cancelled")
    state = changed(end, {SHARED + ROW: world.rows.number(cancelled)})
    assert world.wrong(state) == "I5, I10: the order is cancelled, and its goods are sold"
    shelves = world.warehouses[end[WAREHOUSE]]
    stock = tuple(Stock(one.product_id, 5) for one in shelves.stock)
    nothing = replace(shelves, stock=stock, holds=(Hold(world.ids[0], "released"),))
    state = changed(state, {WAREHOUSE: world.warehouses.number(nothing)})
    assert world.wrong(state) == "I5: the order is cancelled, and 100 of its money is kept"
    books = world.accounts[end[ACCOUNTS]]
    refused = replace(books, ledger=(), payments=(Payment(world.ids[0], "cancelled"),))
    state = changed(state, {ACCOUNTS: world.accounts.number(refused)})
    assert world.wrong(state) == "I1: the order is cancelled, and the card's money is with the provider"


def test_an_order_that_never_ends_is_found() -> None:
    world, end = completed()
    pending = Order(world.ids[0], CUSTOMER, "pending")
    wrong = world.wrong(changed(end, {SHARED + ROW: world.rows.number(pending)}))
    assert wrong == "I3: the order stays pending for ever"


def test_a_trip_that_ends_badly_is_found() -> None:
    world = TripWorld(TripScenario(name="trip", about="no faults"))
    with substituted(*CHANCE):
        exploration = Exploration(world, 10_000)
        assert exploration.run().found is None
    ends = {world._journeys[one[SAGA]].saga.status: one for one in exploration._states if world.quiet(one)}
    planted: tuple[tuple[Status, tuple[Done, ...], str], ...] = (
        (Status.COMPLETED, ("done", "undone", "done", "done"), "the trip is paid, and not booked"),
        (Status.COMPLETED, ("done", "done", "none", "done"), "there are tickets for what is not paid"),
        (Status.COMPLETED, ("done", "done", "done", "none"), "completed, and "),
        (Status.COMPENSATED, ("done", "done", "done", "none"), "the trip is paid, and undone"),
        (Status.COMPENSATED, ("done", "undone", "none", "none"), "compensated, and "),
    )
    for status, partners, finding in planted:
        wrong = world.wrong(changed(ends[status], {PARTNERS: world._partners.number(partners)}))
        assert str(wrong).startswith(finding)
