"""A card provider that keeps its own books: it may answer late, not at all though it has captured, or be away."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from libs.contracts.values import Money, OrderId
from libs.service.runtime import Runtime
from payment.provider import CardProvider, Outcome, Verdict
from tests.simulation.clock import PROCESS
from tests.simulation.world import World

CARDS: Final = "cards"
TIMEOUT_SECONDS: Final = 1.5


@dataclass(frozen=True, slots=True)
class Charge:
    """What the provider knows under one key; `captures` counts what must happen once at most."""

    status: Verdict
    amount_minor: int = 0
    captures: int = 0
    captured_at: float | None = None

    def at(self, now: float) -> "Charge":
        """The charge by now: a late one captures when its time has come."""
        if self.status == "pending" and self.captured_at is not None and self.captured_at <= now:
            return replace(self, status="captured", captures=self.captures + 1)
        return self


Step: TypeAlias = Callable[[Charge | None], Charge | None]
"""What a request makes of a charge; None where there is nothing that it could be done to."""


class Cards:
    """The provider; the keys are order ids."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.charges: dict[OrderId, Charge] = {}
        self.up = True
        self.swallow = 0.0
        """With which chance an answer gets lost at present, whatever was done."""

    @asynccontextmanager
    async def connect(self, _runtime: Runtime) -> AsyncIterator[CardProvider]:
        """As payment.card_http.connect."""
        yield self

    async def charge(self, order_id: OrderId, amount: Money, token: str) -> Outcome:
        """Capture once per key; tokens say what becomes of it."""
        return await self._asked(order_id, lambda known: self._charged(known, amount, token))

    async def query(self, order_id: OrderId) -> Outcome:
        """What has become of the charge."""
        return await self._asked(order_id, lambda known: known)

    async def void(self, order_id: OrderId) -> Outcome:
        """Give back, or burn the key."""
        return await self._asked(order_id, _voided)

    async def refund(self, order_id: OrderId) -> Outcome:
        """Give back what was captured."""
        return await self._asked(order_id, _refunded, denied=True)

    def captured(self, order_id: OrderId) -> int:
        """What it keeps of an order's money."""
        charge = self.charges.get(order_id)
        return charge.amount_minor if charge and charge.at(self._world.time).status == "captured" else 0

    def _charged(self, known: Charge | None, amount: Money, token: str) -> Charge:
        if known is not None:
            return known
        match token:
            case "tok_refuse":
                return Charge("refused", amount.amount_minor)
            case "tok_late":
                at = self._world.time + self._world.chance.uniform(0.2, 4.0)
                return Charge("pending", amount.amount_minor, captured_at=at)
            case _:
                return Charge("captured", amount.amount_minor, 1)

    async def _asked(self, order_id: OrderId, do: Step, *, denied: bool = False) -> Outcome:
        world, process = self._world, PROCESS.get()
        await asyncio.sleep(world.delay())
        if process is None or not process.alive:
            return Outcome("unknown", reason="nobody is there to ask")
        if not self.up or not world.network.between(process, CARDS):
            return Outcome("unknown", reason="no connection", reached=False)
        known = self.charges.get(order_id)
        done = do(None if known is None else known.at(world.time))
        if done is not None:
            self.charges[order_id] = done
            world.note("card", order_id, done.status)
        if self.swallow and world.chance.random() < self.swallow:
            world.faults["provider silent"] += 1
            await asyncio.sleep(TIMEOUT_SECONDS)
            return Outcome("unknown", reason="no answer in time")
        await asyncio.sleep(world.delay() * 10)
        if done is None:
            return Outcome("denied", reason="nothing captured") if denied else Outcome("not_found")
        return Outcome(done.status, f"ch_{str(order_id)[-12:]}")


def _voided(known: Charge | None) -> Charge:
    if known is None:
        return Charge("voided")
    return (
        known if known.status in {"voided", "refunded"} else replace(known, status="voided", captured_at=None)
    )


def _refunded(known: Charge | None) -> Charge | None:
    if known is None or known.status not in {"captured", "voided", "refunded"}:
        return None
    return replace(known, status="refunded") if known.status == "captured" else known
