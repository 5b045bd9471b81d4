"""The value types that messages are made of: ids, money, order lines."""

from typing import Annotated, NewType
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

OrderId = NewType("OrderId", UUID)
SagaId = NewType("SagaId", UUID)
UserId = NewType("UserId", UUID)
ProductId = NewType("ProductId", UUID)
CategoryId = NewType("CategoryId", UUID)
PaymentMethodId = NewType("PaymentMethodId", UUID)
PaymentId = NewType("PaymentId", UUID)
MessageId = NewType("MessageId", UUID)

MAX_LINES = 50
MAX_QUANTITY = 1_000
MAX_MINOR = 9_007_199_254_740_991  # 2^53 - 1: exact in every JSON reader (RFC 8259, section 6)

Currency = Annotated[str, Field(pattern="^[A-Z]{3}$", description="ISO 4217 code")]
Minor = Annotated[int, Field(ge=0, le=MAX_MINOR, description="amount in minor units, e.g. cents")]
Quantity = Annotated[int, Field(ge=1, le=MAX_QUANTITY)]


class Value(BaseModel):
    """A frozen value; a field that an older reader does not know is ignored by it."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")


class Money(Value):
    """An amount in minor units of one currency; never a float."""

    amount_minor: Minor
    currency: Currency

    def times(self, quantity: int) -> "Money":
        """This amount `quantity` times."""
        return Money(amount_minor=self.amount_minor * quantity, currency=self.currency)


class Line(Value):
    """What a customer asked for: one product and how many of it."""

    product_id: ProductId
    quantity: Quantity


class PricedLine(Line):
    """A line with the name and the unit price that the product service gave it."""

    name: str
    price: Money


class Shortage(Value):
    """A line that stock did not cover."""

    product_id: ProductId
    requested: int
    available: int


Lines = Annotated[tuple[Line, ...], Field(min_length=1, max_length=MAX_LINES)]
PricedLines = Annotated[tuple[PricedLine, ...], Field(min_length=1, max_length=MAX_LINES)]
