"""Tries the shelves in any order of commands: stock is conserved, never negative, and held all or none."""

from hypothesis import settings, strategies
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from inventory.domain import Shelves, Stock, release, reserve, sell
from libs.contracts.inventory import (
    InventoryReserved,
    InventoryReserveFailed,
    ReleaseInventory,
    ReserveInventory,
)
from libs.contracts.order import OrderCompleted
from libs.contracts.values import Line, OrderId, PaymentId, ProductId
from tests.support.builders import a_product_id, a_user_id, an_order_id, euros, priced

PRODUCTS: tuple[ProductId, ...] = tuple(a_product_id() for _ in range(3))
STRANGER = a_product_id()

wanted = strategies.lists(
    strategies.builds(
        Line,
        product_id=strategies.sampled_from((*PRODUCTS, STRANGER)),
        quantity=strategies.integers(1, 4),
    ),
    min_size=1,
    max_size=3,
)


class ShelvesMachine(RuleBasedStateMachine):
    """Orders ask, complete and are undone, in any order and again and again; a model of each is kept beside."""

    orders = Bundle("orders")

    @initialize(amounts=strategies.tuples(*(strategies.integers(0, 6) for _ in PRODUCTS)))
    def fill(self, amounts: tuple[int, ...]) -> None:
        self.initial = dict(zip(PRODUCTS, amounts, strict=True))
        self.shelves = Shelves({p: Stock(p, on_hand=amount) for p, amount in self.initial.items()}, {})
        self.held: dict[OrderId, dict[ProductId, int]] = {}
        self.sold: dict[OrderId, dict[ProductId, int]] = {}
        self.answers: dict[OrderId, InventoryReserved | InventoryReserveFailed] = {}
        self.undone: set[OrderId] = set()

    @rule(target=orders, lines=wanted)
    def ask(self, lines: list[Line]) -> ReserveInventory:
        command = ReserveInventory(order_id=an_order_id(), lines=tuple(lines))
        needs: dict[ProductId, int] = {}
        for line in lines:
            needs[line.product_id] = needs.get(line.product_id, 0) + line.quantity
        fits = all(
            quantity <= self.free(product_id) if product_id in self.initial else False
            for product_id, quantity in needs.items()
        )
        answer = reserve(self.shelves, command)
        assert isinstance(answer, InventoryReserved) == fits
        self.answers[command.order_id] = answer
        if fits:
            self.held[command.order_id] = needs
        return command

    @rule(target=orders, lines=wanted)
    def undo_before_asking(self, lines: list[Line]) -> ReserveInventory:
        command = ReserveInventory(order_id=an_order_id(), lines=tuple(lines))
        release(self.shelves, ReleaseInventory(order_id=command.order_id))
        self.undone.add(command.order_id)
        return command

    @rule(command=orders)
    def ask_again(self, command: ReserveInventory) -> None:
        answer = reserve(self.shelves, command)
        known = self.answers.get(command.order_id)
        if command.order_id in self.undone and not isinstance(known, InventoryReserveFailed):
            assert isinstance(answer, InventoryReserveFailed)
            assert answer.reason_code == "already_undone"
        else:
            assert answer == known

    @rule(command=orders)
    def undo(self, command: ReserveInventory) -> None:
        release(self.shelves, ReleaseInventory(order_id=command.order_id))
        self.undone.add(command.order_id)
        self.held.pop(command.order_id, None)
        self.sold.pop(command.order_id, None)

    @rule(command=orders)
    def complete(self, command: ReserveInventory) -> None:
        sell(
            self.shelves,
            OrderCompleted(
                order_id=command.order_id,
                user_id=a_user_id(),
                lines=priced(command.lines),
                total=euros(1),
                payment_id=PaymentId(an_order_id()),
            ),
        )
        if command.order_id in self.held:
            self.sold[command.order_id] = self.held.pop(command.order_id)

    @rule(product_id=strategies.sampled_from(PRODUCTS), on_hand=strategies.integers(0, 8))
    def count(self, product_id: ProductId, on_hand: int) -> None:
        stock = self.shelves.stock[product_id]
        counted = stock.counted(on_hand)
        assert (counted is None) == (on_hand < self.total(self.held, product_id))
        if counted is not None:
            self.initial[product_id] += on_hand - stock.on_hand
            self.shelves.stock[product_id] = counted

    @invariant()
    def nothing_is_lost_or_made(self) -> None:
        for product_id, initial in self.initial.items():
            stock = self.shelves.stock[product_id]
            assert stock.on_hand + stock.sold == initial
            assert stock.reserved == self.total(self.held, product_id)
            assert stock.sold == self.total(self.sold, product_id)
            assert 0 <= stock.reserved <= stock.on_hand
        assert STRANGER not in self.shelves.stock

    def free(self, product_id: ProductId) -> int:
        taken = self.total(self.held, product_id) + self.total(self.sold, product_id)
        return self.initial[product_id] - taken

    def total(self, orders: dict[OrderId, dict[ProductId, int]], product_id: ProductId) -> int:
        return sum(needs.get(product_id, 0) for needs in orders.values())


TestShelves = ShelvesMachine.TestCase
TestShelves.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
