"""Tries the shelves' rules: each command done, refused, repeated and raced."""

import pytest

from inventory.domain import Hold, Shelves, Stock, release, reserve, sell
from libs.contracts.inventory import (
    InventoryReleased,
    InventoryReserved,
    InventoryReserveFailed,
    ReleaseInventory,
    ReserveInventory,
)
from libs.contracts.order import OrderCompleted
from libs.contracts.values import Line, OrderId, PaymentId, ProductId, Shortage
from tests.support.builders import a_product_id, a_user_id, an_order_id, euros, priced


def shelves(*stock: Stock) -> Shelves:
    return Shelves({one.product_id: one for one in stock}, {})


def asking(order_id: OrderId, *wanted: tuple[ProductId, int]) -> ReserveInventory:
    lines = tuple(Line(product_id=product_id, quantity=quantity) for product_id, quantity in wanted)
    return ReserveInventory(order_id=order_id, lines=lines)


def completed(command: ReserveInventory) -> OrderCompleted:
    return OrderCompleted(
        order_id=command.order_id,
        user_id=a_user_id(),
        lines=priced(command.lines),
        total=euros(1_000),
        payment_id=PaymentId(an_order_id()),
    )


def undoing(command: ReserveInventory) -> ReleaseInventory:
    return ReleaseInventory(order_id=command.order_id)


@pytest.fixture
def tea() -> ProductId:
    return a_product_id()


@pytest.fixture
def cup() -> ProductId:
    return a_product_id()


def test_every_line_is_held(tea: ProductId, cup: ProductId) -> None:
    shelf = shelves(Stock(tea, on_hand=5), Stock(cup, on_hand=2, reserved=1))
    command = asking(an_order_id(), (tea, 5), (cup, 1))
    assert reserve(shelf, command) == InventoryReserved(order_id=command.order_id)
    assert shelf.stock == {tea: Stock(tea, 5, 5), cup: Stock(cup, 2, 2)}
    assert shelf.holds == {command.order_id: Hold(command.order_id, "held", ((tea, 5), (cup, 1)))}
    assert shelf.changed_stock == {tea, cup}
    assert shelf.new_holds == {command.order_id}


def test_nothing_is_held_when_one_line_is_short(tea: ProductId, cup: ProductId) -> None:
    shelf = shelves(Stock(tea, on_hand=9), Stock(cup, on_hand=3, reserved=2))
    command = asking(an_order_id(), (tea, 1), (cup, 2))
    answer = reserve(shelf, command)
    assert answer == InventoryReserveFailed(
        order_id=command.order_id,
        reason_code="out_of_stock",
        reason=f"Not enough in stock of product {cup} (2 requested, 1 available).",
        shortages=(Shortage(product_id=cup, requested=2, available=1),),
    )
    assert shelf.stock == {tea: Stock(tea, 9), cup: Stock(cup, 3, 2)}
    assert not shelf.changed_stock


def test_every_short_line_is_named_in_the_order_of_the_lines(tea: ProductId, cup: ProductId) -> None:
    answer = reserve(shelves(Stock(tea, on_hand=1)), asking(an_order_id(), (cup, 4), (tea, 2)))
    assert isinstance(answer, InventoryReserveFailed)
    assert [(short.product_id, short.requested, short.available) for short in answer.shortages] == [
        (cup, 4, 0),
        (tea, 2, 1),
    ]
    assert answer.reason == (
        f"Not enough in stock of product {cup} (4 requested, 0 available),"
        f" product {tea} (2 requested, 1 available)."
    )


def test_lines_of_one_product_are_added_up(tea: ProductId) -> None:
    shelf = shelves(Stock(tea, on_hand=5))
    answer = reserve(shelf, asking(an_order_id(), (tea, 3), (tea, 3)))
    assert isinstance(answer, InventoryReserveFailed)
    assert answer.shortages == (Shortage(product_id=tea, requested=6, available=5),)
    assert isinstance(reserve(shelf, asking(an_order_id(), (tea, 2), (tea, 3))), InventoryReserved)
    assert shelf.stock[tea] == Stock(tea, 5, 5)


def test_two_orders_race_for_the_last_one(tea: ProductId) -> None:
    shelf = shelves(Stock(tea, on_hand=1))
    first, second = asking(an_order_id(), (tea, 1)), asking(an_order_id(), (tea, 1))
    assert isinstance(reserve(shelf, first), InventoryReserved)
    assert isinstance(reserve(shelf, second), InventoryReserveFailed)
    release(shelf, undoing(first))
    assert isinstance(reserve(shelf, second), InventoryReserveFailed), "a refusal is an answer for ever"
    assert isinstance(reserve(shelf, asking(an_order_id(), (tea, 1))), InventoryReserved)


def test_a_repeated_reservation_is_answered_as_before(tea: ProductId) -> None:
    shelf = shelves(Stock(tea, on_hand=3))
    held, short = asking(an_order_id(), (tea, 2)), asking(an_order_id(), (tea, 2))
    answers = [reserve(shelf, held), reserve(shelf, short)]
    stock = dict(shelf.stock)
    assert [reserve(shelf, held), reserve(shelf, short)] == answers
    sell(shelf, completed(held))
    assert reserve(shelf, held) == answers[0]
    assert stock == {tea: Stock(tea, 3, 2)}
    assert shelf.stock == {tea: Stock(tea, 1, 0, 2)}


def test_a_release_gives_back_once(tea: ProductId) -> None:
    shelf = shelves(Stock(tea, on_hand=3))
    command = asking(an_order_id(), (tea, 2))
    reserve(shelf, command)
    for _ in range(2):
        assert release(shelf, undoing(command)) == InventoryReleased(order_id=command.order_id)
        assert shelf.stock == {tea: Stock(tea, 3)}
    assert shelf.holds[command.order_id].state == "released"


def test_a_release_of_a_refused_order_changes_nothing(tea: ProductId) -> None:
    shelf = shelves(Stock(tea))
    command = asking(an_order_id(), (tea, 1))
    answer = reserve(shelf, command)
    assert release(shelf, undoing(command)) == InventoryReleased(order_id=command.order_id)
    assert reserve(shelf, command) == answer
    assert shelf.stock == {tea: Stock(tea)}


@pytest.mark.parametrize("reserved_before", [True, False])
def test_a_reservation_after_its_release_is_refused(tea: ProductId, *, reserved_before: bool) -> None:
    shelf = shelves(Stock(tea, on_hand=3))
    command = asking(an_order_id(), (tea, 1))
    if reserved_before:
        reserve(shelf, command)
    release(shelf, undoing(command))
    answer = reserve(shelf, command)
    assert isinstance(answer, InventoryReserveFailed)
    assert answer.reason_code == "already_undone"
    assert shelf.stock == {tea: Stock(tea, 3)}
    assert shelf.holds[command.order_id].state == "released"


def test_a_completed_order_turns_its_hold_into_a_sale_once(tea: ProductId, cup: ProductId) -> None:
    shelf = shelves(Stock(tea, on_hand=5), Stock(cup, on_hand=1))
    command = asking(an_order_id(), (tea, 2), (cup, 1))
    reserve(shelf, command)
    for _ in range(2):
        sell(shelf, completed(command))
        assert shelf.stock == {tea: Stock(tea, 3, 0, 2), cup: Stock(cup, 0, 0, 1)}
    assert shelf.holds[command.order_id].state == "sold"


def test_a_release_after_the_sale_restocks_once(tea: ProductId) -> None:
    shelf = shelves(Stock(tea, on_hand=5))
    command = asking(an_order_id(), (tea, 2))
    reserve(shelf, command)
    sell(shelf, completed(command))
    for _ in range(2):
        release(shelf, undoing(command))
        assert shelf.stock == {tea: Stock(tea, 5)}


def test_a_sale_that_comes_after_the_release_changes_nothing(tea: ProductId) -> None:
    shelf = shelves(Stock(tea, on_hand=5))
    command = asking(an_order_id(), (tea, 2))
    reserve(shelf, command)
    release(shelf, undoing(command))
    sell(shelf, completed(command))
    assert shelf.stock == {tea: Stock(tea, 5)}
    assert shelf.holds[command.order_id].state == "released"


def test_a_sale_of_what_was_refused_or_never_asked_changes_nothing(tea: ProductId) -> None:
    shelf = shelves(Stock(tea, on_hand=1))
    refused, unheard = asking(an_order_id(), (tea, 2)), asking(an_order_id(), (tea, 1))
    reserve(shelf, refused)
    sell(shelf, completed(refused))
    sell(shelf, completed(unheard))
    assert shelf.stock == {tea: Stock(tea, 1)}
    assert {order_id: hold.state for order_id, hold in shelf.holds.items()} == {refused.order_id: "refused"}


def test_a_hold_takes_no_other_way_than_the_declared_ones(tea: ProductId) -> None:
    shelf = shelves(Stock(tea, on_hand=5))
    command = asking(an_order_id(), (tea, 2))
    reserve(shelf, command)
    release(shelf, undoing(command))
    with pytest.raises(ValueError, match="from released to held"):
        shelf.put(Hold(command.order_id, "held", ((tea, 2),)))


def test_a_count_below_what_is_promised_is_refused(tea: ProductId) -> None:
    stock = Stock(tea, on_hand=5, reserved=3, sold=7)
    assert stock.counted(3) == Stock(tea, 3, 3, 7)
    assert stock.counted(2) is None
