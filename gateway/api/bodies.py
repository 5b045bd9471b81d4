"""What clients send and get, as the OpenAPI document shows it."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from gateway.api.strict import Id, Secret, StrictBody, Text
from gateway.domain.orders import Asked
from gateway.domain.passwords import MAX_LENGTH, MIN_LENGTH
from gateway.domain.text import PATTERN
from gateway.store.accounts import Account
from libs.contracts.values import (
    MAX_LINES,
    MAX_MINOR,
    MAX_QUANTITY,
    Line,
    PaymentMethodId,
    ProductId,
    UserId,
)

MAX_STOCK: Final = 1_000_000_000
MAX_DEPOSIT: Final = 10_000_000
_ADDRESS: Final = 254
NAME_PATTERN: Final = PATTERN.replace("]*$", r"]*[!-~\u00a1-\u024f\u0370-\u058f\u4e00-\u9fff]" + PATTERN[1:])
"""What is asked of a name in the schema: something to be seen; a bit stricter than what is accepted."""


def _lower(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


def _not_blank(value: str) -> str:
    if not value:
        raise PydanticCustomError(
            "string_too_short", "String should have at least 1 character that is no blank"
        )
    return value


def _never_null(schema: dict[str, Any]) -> None:
    """A field that may be left out but not be null, as its schema says it."""
    (schema_of_value,) = (one for one in schema.pop("anyOf") if one.get("type") != "null")
    schema |= schema_of_value
    schema.pop("default", None)


Email = Annotated[
    str,
    Field(
        min_length=6,
        max_length=_ADDRESS,
        pattern=(
            r"^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
            r"(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)+$"
        ),
    ),
    BeforeValidator(_lower),
]
"""An address as HTML's input field has it (WHATWG), in lower case, in a domain with a dot."""

Name = Annotated[
    Text,
    AfterValidator(_not_blank),
    Field(min_length=1, max_length=200, json_schema_extra={"pattern": NAME_PATTERN}),
]
Password = Annotated[Secret, Field(json_schema_extra={"pattern": PATTERN})]
Phone = Annotated[str, Field(pattern=r"^\+?[0-9][0-9 ()./-]{3,28}[0-9]$", max_length=30)]
Locale = Annotated[str, Field(pattern=r"^[a-z]{2,3}(-[A-Z][a-z]{3})?(-([A-Z]{2}|[0-9]{3}))?$", max_length=12)]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]


class Answer(BaseModel):
    """An answer's body."""

    model_config = ConfigDict(frozen=True)


class Money(Answer):
    """An amount in minor units (cents) of an ISO 4217 currency."""

    amount_minor: int = Field(ge=0, le=MAX_MINOR, examples=[1999])
    currency: Currency = Field(examples=["EUR"])


class Registration(StrictBody):
    """A new customer."""

    name: Name = Field(examples=["Ada Lovelace"])
    email: Email = Field(examples=["ada@example.com"])
    password: Password = Field(
        min_length=MIN_LENGTH, max_length=MAX_LENGTH, examples=["difference-engine-no-2"]
    )


class Login(StrictBody):
    """Who signs in."""

    email: Text = Field(min_length=1, max_length=_ADDRESS, examples=["ada@example.com"])
    password: Password = Field(min_length=1, max_length=MAX_LENGTH, examples=["difference-engine-no-2"])


class Refresh(StrictBody):
    """The refresh token of a session."""

    refresh_token: str = Field(min_length=1, max_length=200)


class Tokens(Answer):
    """A pair of tokens."""

    access_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - the scheme's name
    expires_in: int = Field(description="seconds", examples=[600])
    refresh_token: str


class Profile(Answer):
    """An account as its owner sees it."""

    user_id: UUID
    name: str
    email: str
    phone: str | None
    locale: str | None
    role: Literal["customer", "operator", "admin"]
    created_at: datetime

    @classmethod
    def of(cls, account: Account) -> Self:
        return cls.model_validate(
            {
                "user_id": account.id,
                "name": account.name,
                "email": account.email,
                "phone": account.phone,
                "locale": account.locale,
                "role": account.role,
                "created_at": account.created_at,
            }
        )


class ProfileChange(StrictBody):
    """What is to be different; null clears phone or locale."""

    name: Name | None = Field(None, examples=["Ada King"], json_schema_extra=_never_null)
    phone: Phone | None = Field(None, examples=["+44 20 7946 0000"])
    locale: Locale | None = Field(None, examples=["en-GB"])

    @model_validator(mode="after")
    def _keeps_a_name(self) -> Self:
        if "name" in self.model_fields_set and self.name is None:
            raise ValueError("name cannot be null")
        return self


class LineIn(StrictBody):
    """One product and how many of it."""

    product_id: Id
    quantity: int = Field(ge=1, le=MAX_QUANTITY, examples=[2])


class OrderIn(StrictBody):
    """An order: what, and how it is paid. Prices are the shop's, not the client's."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "payment_method_id": "01890a5d-ac96-774b-bcce-b302099a8057",
                    "lines": [{"product_id": "7e528b60-cdb1-598c-8777-286b90f3b47f", "quantity": 2}],
                }
            ]
        }
    )

    payment_method_id: Id
    lines: list[LineIn] = Field(min_length=1, max_length=MAX_LINES)

    def asked_by(self, user_id: UserId) -> Asked:
        """What this user asks for."""
        lines = tuple(
            Line(product_id=ProductId(line.product_id), quantity=line.quantity) for line in self.lines
        )
        return Asked(user_id, PaymentMethodId(self.payment_method_id), lines)


class CancelIn(StrictBody):
    """Why the order is no longer wanted."""

    reason: Text | None = Field(None, max_length=500, examples=["Ordered by mistake"])


class OrderLinks(Answer):
    """Where the order is, where its events are streamed, where it is cancelled."""

    self: str
    events: str
    cancel: str


class OrderAccepted(Answer):
    """An order that is durable; what becomes of it is at `links.self`."""

    order_id: UUID
    status: Literal["pending", "cancelling", "completed", "cancelled"]
    links: OrderLinks


class OrderLine(Answer):
    """A line; name and price are known once the products were validated."""

    product_id: UUID
    name: str | None
    quantity: int
    price: Money | None


class OrderPayment(Answer):
    """How the order is paid."""

    payment_id: UUID | None
    method_id: UUID | None
    status: str | None


class TimelineEntry(Answer):
    """Something that happened to the order."""

    event: Literal[
        "created",
        "validated",
        "reserved",
        "paid",
        "completed",
        "cancelling",
        "released",
        "refunded",
        "cancelled",
    ]
    at: datetime
    detail: dict[str, object] | None = None


class Order(Answer):
    """An order as its owner sees it."""

    order_id: UUID
    status: Literal["pending", "cancelling", "completed", "cancelled"]
    reason_code: str | None
    reason: str | None
    lines: list[OrderLine]
    total: Money | None
    payment: OrderPayment
    timeline: list[TimelineEntry]
    created_at: datetime
    updated_at: datetime
    links: OrderLinks
    stale: bool | None = Field(
        None, description="true when the history is away and the order may have moved on"
    )


class OrderPage(Answer):
    """Some of one's own orders; the token of the next page, or null on the last one."""

    items: list[Order]
    next_page_token: str | None


class Category(Answer):
    """A category of products."""

    id: UUID
    name: str


class CategoryIn(StrictBody):
    """A new category."""

    name: Name = Field(examples=["Garden"])


class CategoryPage(Answer):
    """Some categories."""

    items: list[Category]
    next_page_token: str | None


class Product(Answer):
    """A product."""

    id: UUID
    name: str
    category_id: UUID
    price: Money
    active: bool


class ProductPage(Answer):
    """Some products."""

    items: list[Product]
    next_page_token: str | None


class Price(StrictBody):
    """A product's new unit price; orders under way keep the one they were validated with."""

    amount_minor: int = Field(ge=0, le=MAX_MINOR, examples=[1999])
    currency: Currency = Field(examples=["EUR"])


class ProductIn(StrictBody):
    """A new product."""

    name: Name = Field(examples=["Watering can"])
    category_id: Id
    price: Price
    active: bool = True


class ProductChange(StrictBody):
    """What of a product is to be different."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    name: Name | None = Field(None, examples=["Watering can, 10 l"], json_schema_extra=_never_null)
    category_id: Id | None = Field(None, json_schema_extra=_never_null)
    active: bool | None = Field(None, json_schema_extra=_never_null)

    @model_validator(mode="after")
    def _says_what(self) -> Self:
        if not self.model_fields_set or any(getattr(self, name) is None for name in self.model_fields_set):
            raise ValueError("give at least one of name, category_id and active, and none of them null")
        return self


class Stock(Answer):
    """What there is of a product; available is on_hand less reserved."""

    product_id: UUID
    on_hand: int
    reserved: int
    available: int
    sold: int


class StockChange(StrictBody):
    """Either what was counted or by how much it changed."""

    model_config = ConfigDict(
        json_schema_extra={
            "minProperties": 1,
            "maxProperties": 1,
            "examples": [{"on_hand": 100}, {"adjust": -3}],
        }
    )

    on_hand: int | None = Field(None, ge=0, le=MAX_STOCK, json_schema_extra=_never_null)
    adjust: int | None = Field(None, ge=-MAX_STOCK, le=MAX_STOCK, json_schema_extra=_never_null)

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if len(self.model_fields_set) != 1 or (self.on_hand is None and self.adjust is None):
            raise ValueError("give exactly one of on_hand and adjust")
        return self


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
    label: Annotated[Name, Field(max_length=60)] = Field("Card", examples=["Blue card"])


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

    amount_minor: int = Field(ge=1, le=MAX_DEPOSIT, examples=[5000])
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


class JsonWebKey(Answer):
    """A public key (RFC 8037)."""

    kty: Literal["OKP"]
    crv: Literal["Ed25519"]
    x: str
    kid: str
    alg: Literal["EdDSA"]
    use: Literal["sig"]


class JsonWebKeys(Answer):
    """The keys that access tokens are verified with."""

    keys: list[JsonWebKey]


class FaultOut(Answer):
    """One thing wrong with a request."""

    place: Literal["body", "query", "path", "header"] = Field(alias="in")
    pointer: str = Field(examples=["#/lines/0/quantity"])
    detail: str
    code: str


class ProblemOut(Answer):
    """RFC 9457 problem details; `code` is stable, and `type` is the address of its page."""

    type: str = Field(examples=["/problems/not_found"])
    title: str
    status: int = Field(ge=400, le=599)
    detail: str
    code: str
    trace_id: str = Field(pattern="^[0-9a-f]{32}$")
    errors: list[FaultOut] | None = None
