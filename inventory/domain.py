"""What a shelf may do: holds every line of an order or none, gives back, sells; never below zero."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Self, TypeAlias, assert_never

from libs.contracts.inventory import (
    InventoryReleased,
    InventoryReserved,
    InventoryReserveFailed,
    ReleaseInventory,
    ReserveInventory,
)
from libs.contracts.order import OrderCompleted
from libs.contracts.reasons import ALREADY_UNDONE, OUT_OF_STOCK
from libs.contracts.values import Line, OrderId, ProductId, Shortage

HoldState: TypeAlias = Literal["held", "released", "sold", "refused"]
Quantities: TypeAlias = tuple[tuple[ProductId, int], ...]
"""How many of which products, each product once."""


@dataclass(frozen=True, slots=True)
class Stock:
    """How much there is of one product; `on_hand` includes what is reserved, a sale lowers both."""

    product_id: ProductId
    on_hand: int = 0
    reserved: int = 0
    sold: int = 0

    @property
    def available(self) -> int:
        """What the next order may still hold."""
        return self.on_hand - self.reserved

    def hold(self, quantity: int) -> Self:
        return replace(self, reserved=self.reserved + quantity)

    def release(self, quantity: int) -> Self:
        return replace(self, reserved=self.reserved - quantity)

    def sell(self, quantity: int) -> Self:
        return replace(
            self,
            on_hand=self.on_hand - quantity,
            reserved=self.reserved - quantity,
            sold=self.sold + quantity,
        )

    def restock(self, quantity: int) -> Self:
        """Take back what was sold."""
        return replace(self, on_hand=self.on_hand + quantity, sold=self.sold - quantity)

    def counted(self, on_hand: int) -> Self | None:
        """The stock after a count; None where more than `on_hand` is promised to orders."""
        return replace(self, on_hand=on_hand) if on_hand >= self.reserved else None


@dataclass(frozen=True, slots=True)
class Refused:
    """Why an order's lines could not be held."""

    reason: str
    shortages: tuple[Shortage, ...]


@dataclass(frozen=True, slots=True)
class Hold:
    """What was decided for an order, for ever; one per order.

    `quantities` is empty for a refused order and for one that was released before it was reserved
    (a tombstone); `refused` is there exactly when the state says so.
    """

    order_id: OrderId
    state: HoldState
    quantities: Quantities = ()
    refused: Refused | None = None

    def answer(self) -> InventoryReserved | InventoryReserveFailed:
        """The answer to the order's ReserveInventory, the same at every repeat until the release."""
        if self.refused is not None:
            return InventoryReserveFailed(
                order_id=self.order_id,
                reason_code=OUT_OF_STOCK,
                reason=self.refused.reason,
                shortages=self.refused.shortages,
            )
        if self.state == "released":
            return InventoryReserveFailed(
                order_id=self.order_id,
                reason_code=ALREADY_UNDONE,
                reason="The order's reservation was released before.",
                shortages=(),
            )
        return InventoryReserved(order_id=self.order_id)


@dataclass(slots=True)
class Shelves:
    """The stock and the holds that a batch touches, locked; what is not there does not exist.

    `changed_stock`, `new_holds` and `changed_holds` name what a save has to write.
    """

    stock: dict[ProductId, Stock]
    holds: dict[OrderId, Hold]
    changed_stock: set[ProductId] = field(default_factory=set)
    new_holds: set[OrderId] = field(default_factory=set)
    changed_holds: set[OrderId] = field(default_factory=set)

    def shortages(self, wanted: Quantities) -> tuple[Shortage, ...]:
        """What of this cannot be held, in the order given; of a product without stock 0 is available."""
        return tuple(
            Shortage(product_id=product_id, requested=quantity, available=available)
            for product_id, quantity in wanted
            if quantity > (available := self.stock.get(product_id, Stock(product_id)).available)
        )

    def put(self, hold: Hold) -> None:
        """Keep a hold in its new state, and move the stock that this means."""
        before = self.holds.get(hold.order_id)
        self._move(hold, None if before is None else before.state)
        self.holds[hold.order_id] = hold
        (self.new_holds if before is None else self.changed_holds).add(hold.order_id)

    def _move(self, hold: Hold, before: HoldState | None) -> None:
        for product_id, quantity in hold.quantities:
            stock = self.stock[product_id]
            match before, hold.state:
                case None, "held":
                    stock = stock.hold(quantity)
                case "held", "released":
                    stock = stock.release(quantity)
                case "held", "sold":
                    stock = stock.sell(quantity)
                case "sold", "released":
                    stock = stock.restock(quantity)
                case _:
                    raise ValueError(f"a hold does not go from {before} to {hold.state}")
            self.stock[product_id] = stock
            self.changed_stock.add(product_id)


def reserve(shelves: Shelves, command: ReserveInventory) -> InventoryReserved | InventoryReserveFailed:
    """Hold every line or none. A repeat gets the answer it got before; after a release, a refusal."""
    if (known := shelves.holds.get(command.order_id)) is not None:
        return known.answer()
    wanted = quantities(command.lines)
    if short := shelves.shortages(wanted):
        hold = Hold(command.order_id, "refused", refused=Refused(shortage_text(short), short))
    else:
        hold = Hold(command.order_id, "held", wanted)
    shelves.put(hold)
    return hold.answer()


def release(shelves: Shelves, command: ReleaseInventory) -> InventoryReleased:
    """Give back what is held, restock what was sold; before the reservation, leave a tombstone."""
    hold = shelves.holds.get(command.order_id)
    if hold is None:
        shelves.put(Hold(command.order_id, "released"))
    else:
        match hold.state:
            case "held" | "sold":
                shelves.put(replace(hold, state="released"))
            case "released" | "refused":
                pass
            case unreachable:
                assert_never(unreachable)
    return InventoryReleased(order_id=command.order_id)


def sell(shelves: Shelves, event: OrderCompleted) -> None:
    """Turn the order's hold into a sale; where nothing is held (any more), change nothing."""
    hold = shelves.holds.get(event.order_id)
    if hold is not None and hold.state == "held":
        shelves.put(replace(hold, state="sold"))


def quantities(lines: Iterable[Line]) -> Quantities:
    """How many of each product the lines ask for, in the order of first mention."""
    sums: dict[ProductId, int] = {}
    for line in lines:
        sums[line.product_id] = sums.get(line.product_id, 0) + line.quantity
    return tuple(sums.items())


def shortage_text(shortages: Sequence[Shortage]) -> str:
    """A sentence for a person: which products are short, and by how much."""
    parts = [
        f"product {short.product_id} ({short.requested} requested, {short.available} available)"
        for short in shortages
    ]
    return f"Not enough in stock of {', '.join(parts)}."
