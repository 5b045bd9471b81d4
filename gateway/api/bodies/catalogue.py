"""Products, categories and stock, as clients send and get them."""

from typing import Annotated, Self
from uuid import UUID

from pydantic import ConfigDict, Field, model_validator

from gateway.api.bodies.fields import MAX_STOCK, Answer, Currency, Money, Name, never_null
from gateway.api.strict import WHOLE, Id, StrictBody
from libs.contracts.values import MAX_MINOR


class Price(StrictBody):
    """A product's new unit price; orders under way keep the one they were validated with."""

    amount_minor: Annotated[int, WHOLE] = Field(ge=0, le=MAX_MINOR, examples=[1999])
    currency: Currency = Field(examples=["EUR"])


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


class ProductIn(StrictBody):
    """A new product."""

    name: Name = Field(examples=["Watering can"])
    category_id: Id
    price: Price
    active: bool = True


class ProductChange(StrictBody):
    """What of a product is to be different."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    name: Name | None = Field(None, examples=["Watering can, 10 l"], json_schema_extra=never_null)
    category_id: Id | None = Field(None, json_schema_extra=never_null)
    active: bool | None = Field(None, json_schema_extra=never_null)

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

    on_hand: Annotated[int, Field(ge=0, le=MAX_STOCK), WHOLE] | None = Field(
        None, json_schema_extra=never_null
    )
    adjust: Annotated[int, Field(ge=-MAX_STOCK, le=MAX_STOCK), WHOLE] | None = Field(
        None, json_schema_extra=never_null
    )

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if len(self.model_fields_set) != 1 or (self.on_hand is None and self.adjust is None):
            raise ValueError("give exactly one of on_hand and adjust")
        return self
