"""Order, inventory and product as the model runs them: their real decide functions on rows held in memory."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

import inventory.app
import order.app
import product.app
from inventory.domain import Hold, Shelves, Stock
from libs.contracts.inventory import ReserveInventory
from libs.contracts.message import Contract
from libs.contracts.values import OrderId, ProductId
from libs.messaging.message import Message, Outgoing
from libs.service.service import Answer
from order.domain import Order, Orders
from product.domain import Catalogue, Product
from tests.model.mail import Letter, letter_of

Decide: TypeAlias = Callable[[Any, Message[object]], Answer]
Deciders: TypeAlias = dict[type[object], Decide]
"""Who decides on what, as in a service's table of routes."""

ORDER: Final[Deciders] = {route.body: route.decide for route in order.app.service.routes}
INVENTORY: Final[Deciders] = {route.body: route.decide for route in inventory.app.service.routes}
PRODUCT: Final[Deciders] = {route.body: route.decide for route in product.app.service.routes}


@dataclass(frozen=True, slots=True)
class Warehouse:
    """The inventory's tables, in the order of their keys."""

    stock: tuple[Stock, ...]
    holds: tuple[Hold, ...] = ()


def answers(given: Answer, message: Message[object]) -> tuple[Letter, ...]:
    """What the host puts into the outbox."""
    match given:
        case None:
            return ()
        case Contract() | Outgoing():
            several: Sequence[Contract | Outgoing] = (given,)
        case _:
            several = given
    return tuple(letter_of(one if isinstance(one, Outgoing) else Outgoing(one), message) for one in several)


def order_decides(
    decide: Deciders, row: Order | None, message: Message[object]
) -> tuple[Order | None, tuple[Letter, ...]]:
    """The order's row afterwards, and what is sent."""
    orders = Orders({} if row is None else {row.id: row})
    sent = answers(decide[type(message.body)](orders, message), message)
    return written(orders, row, message.key), sent


def written(orders: Orders, row: Order | None, order_id: OrderId) -> Order | None:
    """The row as the store's save leaves it: only what is marked as new, changed or priced is written."""
    after = orders.by_id.get(order_id)
    if after is None or order_id not in orders.new | orders.changed:
        return row
    if row is not None and order_id not in orders.priced:
        return replace(after, charged=row.charged)
    return after


def inventory_decides(
    decide: Deciders, held: Warehouse, message: Message[object]
) -> tuple[Warehouse, tuple[Letter, ...]]:
    """The warehouse afterwards, and what is sent; only what the store would load is in reach."""
    holds = {hold.order_id: hold for hold in held.holds if hold.order_id == message.key}
    touched = {product_id for hold in holds.values() for product_id, _ in hold.quantities}
    if isinstance(message.body, ReserveInventory):
        touched |= {line.product_id for line in message.body.lines}
    shelves = Shelves({stock.product_id: stock for stock in held.stock if stock.product_id in touched}, holds)
    sent = answers(decide[type(message.body)](shelves, message), message)
    stock: dict[ProductId, Stock] = {one.product_id: one for one in held.stock}
    stock |= {key: shelves.stock[key] for key in shelves.changed_stock}
    kept: dict[OrderId, Hold] = {hold.order_id: hold for hold in held.holds}
    kept |= {key: shelves.holds[key] for key in shelves.new_holds | shelves.changed_holds}
    after = Warehouse(
        tuple(stock[key] for key in sorted(stock)),
        tuple(kept[key] for key in sorted(kept)),
    )
    return after, sent


def product_decides(
    decide: Deciders, products: Mapping[ProductId, Product], message: Message[object]
) -> tuple[Letter, ...]:
    """What is sent; the catalogue remembers nothing."""
    return answers(decide[type(message.body)](Catalogue(products), message), message)
