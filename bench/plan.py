"""What the load generator is told to do, and what it hands back; both travel as JSON."""

from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from pydantic import TypeAdapter


@dataclass(frozen=True, slots=True)
class Buyer:
    """A customer with a token, and the payment method that this customer orders with."""

    token: str
    payment_method_id: UUID
    solvent: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """One load.

    A closed loop keeps `in_flight` orders under way; an open loop sends `rate` orders a second by
    schedule, whatever the answers do. `orders` ends the load early, after so many. `seen_share` of
    the orders are posted with `Prefer: wait`, so that their end is what a client sees over HTTP.
    With `follow` false nobody waits for the ends: orders are only accepted.
    """

    gateway_url: str
    kafka_bootstrap: str
    buyers: tuple[Buyer, ...]
    products: tuple[UUID, ...]
    loop: Literal["closed", "open"]
    seconds: float
    warmup_seconds: float = 0.0
    in_flight: int = 1
    rate: float = 0.0
    orders: int | None = None
    refused_share: float = 0.1
    seen_share: float = 0.0
    follow: bool = True
    drain_seconds: float = 60.0
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Placed:
    """An order as its client saw it; times are seconds since the epoch.

    `due` is when the order should have been sent: in an open loop its place in the schedule, so a
    stalled server or generator is charged for the wait that it causes. `ended` is None when the
    client never learned of an end.
    """

    due: float
    answered: float
    ended: float | None
    order_id: UUID | None
    status: int
    over_http: bool
    solvent: bool
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a load did: the window that counts, the orders, and what the generator itself cost."""

    window_from: float
    window_to: float
    orders: tuple[Placed, ...]
    cpu_seconds: float
    reconnects: int
    worst_lag_ms: float


PLAN = TypeAdapter(Plan)
OUTCOME = TypeAdapter(Outcome)
