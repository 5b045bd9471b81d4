"""The stories that `make demo` tells: what a customer does, and how the order must end."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from devstack.catalogue import SCARCE, WITHDRAWN, product_id
from devstack.customer import Customer

_BEANS: Final = product_id("Espresso beans, 1 kg")
_CUP: Final = product_id("Espresso cup")
_GRINDER: Final = product_id("Hand grinder")
_WALLET_MINOR: Final = 50_000
_QUICK: Final = 15.0
_SLOW: Final = 30.0

Order = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Outage:
    """How a scenario takes the inventory service away and brings it back."""

    begin: Callable[[], Awaitable[None]]
    end: Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Scenario:
    """A story, the end it must come to, and the events that prove it, in their order."""

    name: str
    told: str
    status: str
    reason_code: str | None
    events: tuple[str, ...]
    play: Callable[[Customer], Awaitable[Order]]

    def differs(self, order: Order) -> str | None:
        """Say in what the order differs from the story; None where it does not."""
        seen = (order["status"], order["reason_code"], tuple(entry["event"] for entry in order["timeline"]))
        expected = (self.status, self.reason_code, self.events)
        return None if seen == expected else f"{self.name}: expected {expected}, but the order shows {seen}"


_TERMINAL: Final = ("completed", "cancelled")
_REFUSED_EARLY: Final = ("created", "cancelling", "cancelled")
_REFUSED_AT_PAYMENT: Final = ("created", "validated", "reserved", "cancelling", "released", "cancelled")


async def _completed(customer: Customer) -> Order:
    await customer.pay_in(_WALLET_MINOR)
    order_id = await customer.order(await customer.wallet(), {_BEANS: 2, _CUP: 4})
    return await customer.until(order_id, _TERMINAL, _QUICK)


async def _out_of_stock(customer: Customer) -> Order:
    order_id = await customer.order(await customer.wallet(), {product_id(SCARCE): 50, _CUP: 1})
    return await customer.until(order_id, _TERMINAL, _QUICK)


async def _products_unknown(customer: Customer) -> Order:
    order_id = await customer.order(await customer.wallet(), {_CUP: 1, uuid.uuid4(): 1})
    return await customer.until(order_id, _TERMINAL, _QUICK)


async def _products_unavailable(customer: Customer) -> Order:
    order_id = await customer.order(await customer.wallet(), {product_id(WITHDRAWN): 1})
    return await customer.until(order_id, _TERMINAL, _QUICK)


async def _payment_refused(customer: Customer) -> Order:
    order_id = await customer.order(await customer.card("tok_refuse"), {_GRINDER: 1})
    return await customer.until(order_id, _TERMINAL, _QUICK)


async def _cancelled_by_customer(customer: Customer) -> Order:
    await customer.pay_in(_WALLET_MINOR)
    order_id = await customer.order(await customer.wallet(), {_BEANS: 1})
    await customer.until(order_id, ["completed"], _QUICK)
    await customer.cancel(order_id, "Bought by mistake")
    return await customer.until(order_id, ["cancelled"], _QUICK)


QUICK: Final = (
    Scenario(
        "completed",
        "an order that is in stock, paid from the wallet",
        "completed",
        None,
        ("created", "validated", "reserved", "paid", "completed"),
        _completed,
    ),
    Scenario(
        "out_of_stock",
        "fifty of something of which there are two",
        "cancelled",
        "out_of_stock",
        ("created", "validated", "cancelling", "cancelled"),
        _out_of_stock,
    ),
    Scenario(
        "products_unknown",
        "a product that the shop never had",
        "cancelled",
        "products_unknown",
        _REFUSED_EARLY,
        _products_unknown,
    ),
    Scenario(
        "products_unavailable",
        "a product that was withdrawn",
        "cancelled",
        "products_unavailable",
        _REFUSED_EARLY,
        _products_unavailable,
    ),
    Scenario(
        "payment_refused",
        "a card that the provider refuses",
        "cancelled",
        "payment_refused",
        _REFUSED_AT_PAYMENT,
        _payment_refused,
    ),
    Scenario(
        "cancelled_by_customer",
        "a completed order that its customer takes back",
        "cancelled",
        "cancelled_by_customer",
        (
            *("created", "validated", "reserved", "paid", "completed"),
            *("cancelling", "released", "refunded", "cancelled"),
        ),
        _cancelled_by_customer,
    ),
)


def timeouts(outage: Outage) -> tuple[Scenario, Scenario]:
    """Return the stories of the payment and of the reservation that nobody answers in time, told side by side.

    The second takes the inventory service away: only when the first has got its reservation.
    """
    reserved = asyncio.Event()

    async def unanswered_payment(customer: Customer) -> Order:
        try:
            order_id = await customer.order(await customer.card("tok_silent"), {_GRINDER: 1})
            await customer.until_event(order_id, "reserved", _QUICK)
        finally:
            reserved.set()
        return await customer.until(order_id, _TERMINAL, _SLOW)

    async def unanswered_reservation(customer: Customer) -> Order:
        wallet = await customer.wallet()
        await reserved.wait()
        await outage.begin()
        try:
            order_id = await customer.order(wallet, {_CUP: 1})
            await customer.until(order_id, ["cancelling"], _QUICK)  # at once, with nobody there to undo it
        finally:
            await outage.end()
        return await customer.until(order_id, _TERMINAL, _SLOW)

    return (
        Scenario(
            "payment_timeout",
            "a card provider that never answers",
            "cancelled",
            "payment_timeout",
            ("created", "validated", "reserved", "cancelling", "released", "refunded", "cancelled"),
            unanswered_payment,
        ),
        Scenario(
            "inventory_timeout",
            "the inventory service is down when it is asked, comes back, answers late, and undoes",
            "cancelled",
            "inventory_timeout",
            ("created", "validated", "reserved", "cancelling", "released", "cancelled"),
            unanswered_reservation,
        ),
    )
