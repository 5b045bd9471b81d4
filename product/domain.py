"""How an order's lines are named and priced, and when they cannot be; what a name may look like."""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from libs.contracts.message import Contract
from libs.contracts.product import ProductsValidated, ProductsValidationFailed, ValidateProducts
from libs.contracts.reasons import PRODUCTS_UNAVAILABLE, PRODUCTS_UNKNOWN
from libs.contracts.values import MAX_MINOR, CategoryId, Money, PricedLine, ProductId

MAX_NAME_LENGTH: Final = 200

_REFUSED_CATEGORIES: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})
_BIDI_CONTROLS: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that reorder what follows (Unicode TR 36, section 3.1; CVE-2021-42574)."""


@dataclass(frozen=True, slots=True)
class Product:
    """What can be bought, while it is active."""

    id: ProductId
    name: str
    price: Money
    active: bool


@dataclass(frozen=True, slots=True)
class Category:
    """A shelf of the shop."""

    id: CategoryId
    name: str


@dataclass(frozen=True, slots=True)
class Listed:
    """A product as the catalogue shows it."""

    product: Product
    category_id: CategoryId


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The products that a batch asks for, as they were at one moment; what is not there does not exist."""

    products: Mapping[ProductId, Product]


def validate(catalogue: Catalogue, command: ValidateProducts) -> ProductsValidated | ProductsValidationFailed:
    """Name and price every line in its place, or say which products stand in the way.

    Nothing is remembered: a repeat is answered by the catalogue as it is then, and the saga keeps
    the first answer.
    """
    asked = list(dict.fromkeys(line.product_id for line in command.lines))
    if unknown := [product_id for product_id in asked if product_id not in catalogue.products]:
        names = ", ".join(map(str, unknown))
        return _refusal(command, PRODUCTS_UNKNOWN, f"No such product: {names}.", unknown)
    products = [catalogue.products[product_id] for product_id in asked]
    if withdrawn := [product for product in products if not product.active]:
        reason = f"No longer on sale: {_names(withdrawn)}."
        return _refusal(command, PRODUCTS_UNAVAILABLE, reason, [product.id for product in withdrawn])
    if len({product.price.currency for product in products}) > 1:
        priced = ", ".join(f"{product.name} in {product.price.currency}" for product in products)
        reason = f"Products priced in different currencies cannot be ordered together: {priced}."
        return _refusal(command, PRODUCTS_UNAVAILABLE, reason, asked)
    total = sum(
        catalogue.products[line.product_id].price.amount_minor * line.quantity for line in command.lines
    )
    if total > MAX_MINOR:
        reason = f"The order's total is more than can be charged at once: {_names(products)}."
        return _refusal(command, PRODUCTS_UNAVAILABLE, reason, asked)
    return ProductsValidated(
        order_id=command.order_id,
        lines=tuple(
            PricedLine(
                product_id=line.product_id,
                quantity=line.quantity,
                name=catalogue.products[line.product_id].name,
                price=catalogue.products[line.product_id].price,
            )
            for line in command.lines
        ),
        total=Money(amount_minor=total, currency=products[0].price.currency),
    )


def clean(text: str) -> str:
    """The text in Unicode's form NFC without blanks at its ends.

    Raises ValueError where it holds control, bidirectional control or unpaired surrogate characters.
    """
    for character in text:
        if character in _BIDI_CONTROLS or unicodedata.category(character) in _REFUSED_CATEGORIES:
            raise ValueError(f"the character U+{ord(character):04X} is not allowed")
    return unicodedata.normalize("NFC", text).strip()


def _names(products: Iterable[Product]) -> str:
    return ", ".join(product.name for product in products)


def _refusal(
    command: Contract, code: str, reason: str, product_ids: Sequence[ProductId]
) -> ProductsValidationFailed:
    return ProductsValidationFailed(
        order_id=command.order_id, reason_code=code, reason=reason, product_ids=tuple(product_ids)
    )
