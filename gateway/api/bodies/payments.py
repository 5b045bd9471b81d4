"""Payment methods and the wallet, as clients send and get them."""

from datetime import datetime
from typing import Annotated, Final, Literal
from uuid import UUID

from pydantic import Field

from gateway.api.bodies.fields import MAX_DEPOSIT, Answer, Currency, Money
from gateway.api.strict import WHOLE, StrictBody, trimmed
from gateway.domain.text import VISIBLE_PATTERN

MAX_LABEL: Final = 60


class PaymentMethod(Answer):
    """A way to pay; the wallet is always there."""

    id: UUID
    kind: Literal["wallet", "card"]
    label: str


class PaymentMethodPage(Answer):
    """One's own ways to pay."""

    items: list[PaymentMethod]
    next_page_token: str | None


class CardIn(StrictBody):
    """A card as the provider knows it: its token, never its number."""

    kind: Literal["card"] = Field(examples=["card"])
    token: str = Field(pattern=r"^tok_[A-Za-z0-9_]{1,64}$", max_length=68, examples=["tok_approve"])
    label: Annotated[
        str,
        Field(min_length=1, max_length=MAX_LABEL),
        trimmed(MAX_LABEL, blank=False),
        Field(json_schema_extra={"pattern": VISIBLE_PATTERN}),
    ] = Field("Card", examples=["Blue card"])


class SignedMoney(Answer):
    """A change of a balance; negative when money left the wallet."""

    amount_minor: int
    currency: Currency


class WalletEntry(Answer):
    """A movement of the wallet."""

    id: UUID
    kind: Literal["deposit", "capture", "refund"]
    amount: SignedMoney
    order_id: UUID | None
    at: datetime


class Wallet(Answer):
    """The balance, and what moved it, the newest first."""

    balance: Money
    items: list[WalletEntry]
    next_page_token: str | None


class DepositAmount(StrictBody):
    """Euro cents."""

    amount_minor: Annotated[int, WHOLE] = Field(ge=1, le=MAX_DEPOSIT, examples=[5000])
    currency: Literal["EUR"] = Field(examples=["EUR"])


class DepositIn(StrictBody):
    """Money for the wallet."""

    amount: DepositAmount


class Deposit(Answer):
    """A deposit, and the balance right after it."""

    deposit_id: UUID
    amount: Money
    balance: Money
    at: datetime
