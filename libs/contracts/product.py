"""The product service: what it is asked for and what it tells."""

from typing import ClassVar

from libs.contracts.message import Command, Event, Refusal
from libs.contracts.topics import PRODUCT_COMMANDS, PRODUCT_EVENTS
from libs.contracts.values import Lines, Money, PricedLines, ProductId


class ProductsValidated(Event):
    """Every product is known and on sale; the lines carry its name and price."""

    wire: ClassVar[str] = "product.ProductsValidated.v1"
    topic: ClassVar[str] = PRODUCT_EVENTS

    lines: PricedLines
    total: Money


class ProductsValidationFailed(Refusal):
    """Some products are unknown or withdrawn; reason_code is `products_unknown` or `products_unavailable`."""

    wire: ClassVar[str] = "product.ProductsValidationFailed.v1"
    topic: ClassVar[str] = PRODUCT_EVENTS

    product_ids: tuple[ProductId, ...]


class ValidateProducts(Command[ProductsValidated, ProductsValidationFailed]):
    """Name and price every line."""

    wire: ClassVar[str] = "product.ValidateProducts.v1"
    topic: ClassVar[str] = PRODUCT_COMMANDS

    lines: Lines
