"""The small worlds that are explored: who orders what, and what may go wrong how often."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, TypeAlias
from uuid import UUID

from libs.contracts.values import Line, Money, OrderId, PaymentMethodId, ProductId, UserId
from payment.domain.books import Card, wallet_method_id
from product.domain import Product

NOW: Final = datetime(2026, 1, 1, 12, tzinfo=UTC)
"""The moment at which everything is decided; what lies ahead moves towards it."""

LAMP: Final = ProductId(UUID(int=0xA1))
CHAIR: Final = ProductId(UUID(int=0xA2))
CUSTOMER: Final = UserId(UUID(int=0xC1))
CARD: Final = Card(PaymentMethodId(UUID(int=0xD1)), CUSTOMER, "tok_model")
WALLET: Final = wallet_method_id(CUSTOMER)
ORDERS: Final = (OrderId(UUID(int=0xE1)), OrderId(UUID(int=0xE2)), OrderId(UUID(int=0xE3)))
NAMES: Final = ("A", "B", "C")
PRICE: Final = 100

Settlement: TypeAlias = Literal["captured", "refused", "late"]
"""What the card provider may make of a charge; a late one captures after nobody waits any more."""


def euros(minor: int) -> Money:
    """An amount in euro cents."""
    return Money(amount_minor=minor, currency="EUR")


def catalogue(price: int = PRICE, *, active: bool = True) -> Mapping[ProductId, Product]:
    """Both products at one price."""
    return {
        LAMP: Product(LAMP, "Lamp", euros(price), active),
        CHAIR: Product(CHAIR, "Chair", euros(price), active),
    }


@dataclass(frozen=True, slots=True)
class Plan:
    """One order: what is ordered, how it is paid, whether its customer may cancel it at any moment."""

    lines: tuple[tuple[ProductId, int], ...] = ((LAMP, 1),)
    method: PaymentMethodId = WALLET
    settlements: tuple[Settlement, ...] = ("captured",)
    cancels: int = 1

    @property
    def ordered(self) -> tuple[Line, ...]:
        """The lines as they travel."""
        return tuple(Line(product_id=product, quantity=quantity) for product, quantity in self.lines)

    @property
    def total(self) -> int:
        """What it costs at the first catalogue's prices."""
        return sum(quantity for _, quantity in self.lines) * PRICE


@dataclass(frozen=True, slots=True)
class Budget:
    """How often each thing may go wrong, in all.

    `duplicates`: a message is in its topic twice. `crashes`: a process dies after a commit, before it
    acknowledged, and with it what it had only in memory. `timeouts`: a deadline or a retry comes while
    something is still under way (when all is quiet, they are free). `losses`: a message is gone from
    its topic. `silences`: a call to the provider is given up. `denials`: the provider will not give
    money back, yet. `days`: half a day passes before payment goes on. `operator`: an operator looks at a saga, and acts
    later.
    """

    duplicates: int = 0
    crashes: int = 0
    timeouts: int = 0
    losses: int = 0
    silences: int = 0
    denials: int = 0
    days: int = 0
    operator: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A world to explore to its end.

    `reordering`: messages of one topic and key may overtake each other. `forgetful`: the inboxes have
    forgotten, so that a message that comes again is decided again. `times` are the times of steps and
    pauses that differ from the definition's. `catalogues` follow each other, at any moment. `rollout`: beside
    the process that runs a next version of the saga, one without it still reads starts and cancels.
    """

    name: str
    about: str
    orders: tuple[Plan, ...]
    budget: Budget = Budget()
    stock: Mapping[ProductId, int] = field(default_factory=lambda: {LAMP: 5, CHAIR: 5})
    balance: int = 1_000
    reordering: bool = False
    forgetful: bool = False
    times: Mapping[str, timedelta] = field(default_factory=dict)
    catalogues: tuple[Mapping[ProductId, Product], ...] = field(default_factory=lambda: (catalogue(),))
    compensate_running: bool = False
    rollout: bool = False
