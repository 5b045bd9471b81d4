"""The port to the card provider: what may be asked of it, and what its answers can mean."""

from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from libs.contracts.values import Money, OrderId

Ask: TypeAlias = Literal["charge", "query", "void", "refund"]
"""What is due at the provider."""

Verdict: TypeAlias = Literal[
    "captured", "refused", "voided", "refunded", "pending", "not_found", "denied", "unknown"
]
"""What an answer says about the charge under an order's key.

`refused`: the charge was declined for good. `denied`: a void or refund was declined, for now. `not_found`
settles nothing: the charge may still be on its way. `unknown`: no answer, or none that can be read; whatever
was asked may have happened.
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A verdict, the provider's reference for the charge, and its reason for a no or what went wrong.

    `reached` is false when nobody was there to ask.
    """

    verdict: Verdict
    reference: str | None = None
    reason: str | None = None
    reached: bool = True


class CardProvider(Protocol):
    """Captures and gives back money; the order id is the idempotency key of everything.

    Every call may be repeated and ends within the adapter's time limit; none raises: what cannot be told is
    the verdict `unknown`.
    """

    async def charge(self, order_id: OrderId, amount: Money, token: str) -> Outcome:
        """Capture the amount once, however often this is called; a voided key captures nothing."""

    async def query(self, order_id: OrderId) -> Outcome:
        """What has become of the charge."""

    async def void(self, order_id: OrderId) -> Outcome:
        """Give back what was captured; a key that was never seen is burnt and can capture nothing any more."""

    async def refund(self, order_id: OrderId) -> Outcome:
        """Give back what was captured."""
