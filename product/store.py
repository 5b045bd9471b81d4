"""All SQL of the catalogue: what a batch asks for, the pages that customers turn, and the operators' changes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Final, Literal, TypeAlias
from uuid import UUID

from psycopg.sql import SQL, Composable

from libs.contracts.product import ValidateProducts
from libs.contracts.values import CategoryId, Money, ProductId
from libs.messaging.message import Message
from libs.outbox.transaction import Asked, Row, Transaction
from product.domain import Catalogue, Category, Listed, Product

Sort: TypeAlias = Literal["name", "-name", "price", "-price", "newest"]

PRODUCTS: Final = "SELECT id, name, price_minor, currency, active FROM products WHERE id = ANY(%s::uuid[])"
PRODUCT: Final = """
    SELECT id, name, price_minor, currency, active, category_id FROM products WHERE id = %s::uuid
"""
ADD_PRODUCT: Final = """
    INSERT INTO products (id, name, price_minor, currency, active, category_id)
    VALUES (%s::uuid, %s::text, %s::bigint, %s::text, %s::boolean, %s::uuid)
"""
CHANGE_PRODUCT: Final = """
    UPDATE products
    SET name = coalesce(%s::text, name), category_id = coalesce(%s::uuid, category_id),
        active = coalesce(%s::boolean, active), updated_at = clock_timestamp()
    WHERE id = %s::uuid
    RETURNING id, name, price_minor, currency, active, category_id
"""
PRICE_PRODUCT: Final = """
    UPDATE products SET price_minor = %s::bigint, currency = %s::text, updated_at = clock_timestamp()
    WHERE id = %s::uuid
    RETURNING id, name, price_minor, currency, active, category_id
"""
CATEGORY: Final = "SELECT id, name FROM categories WHERE id = %s::uuid"
ADD_CATEGORY: Final = """
    INSERT INTO categories (id, name) VALUES (%s::uuid, %s::text) ON CONFLICT (folded) DO NOTHING RETURNING id
"""

PAGE: Final = SQL("""
    SELECT id, name, price_minor, currency, active, category_id, {by}
    FROM products WHERE {conditions} ORDER BY {by} {direction}, id {direction} LIMIT %(limit)s
""")
CATEGORIES: Final = SQL("""
    SELECT id, name, folded FROM categories WHERE {conditions} ORDER BY folded, id LIMIT %(limit)s
""")

_BEHIND: Final = MappingProxyType(
    {
        "ASC": SQL("({by}, id) > (%(value)s, %(id)s::uuid)"),
        "DESC": SQL("({by}, id) < (%(value)s, %(id)s::uuid)"),
    }
)
_SORTS: Final[Mapping[Sort, tuple[SQL, Literal["ASC", "DESC"]]]] = MappingProxyType(
    {
        "name": (SQL("folded"), "ASC"),
        "-name": (SQL("folded"), "DESC"),
        "price": (SQL("price_minor"), "ASC"),
        "-price": (SQL("price_minor"), "DESC"),
        "newest": (SQL("created_at"), "DESC"),
    }
)
"""By which column, and from its lowest or its highest value on; among equals in the same order of ids."""


@dataclass(frozen=True, slots=True)
class Place:
    """Behind which row a page begins: the row's value in the sorting column, and its id."""

    value: str | int | datetime
    id: UUID


@dataclass(frozen=True, slots=True)
class Search:
    """Which products on sale are looked for; `text` is a part of the name, in any case of letters."""

    category_id: CategoryId | None = None
    text: str = ""
    sort: Sort = "name"


async def load(tx: Transaction, messages: Sequence[Message[object]]) -> Catalogue:
    """The products that the messages ask for; not locked, a price may change at any time."""
    asked = {
        line.product_id
        for message in messages
        if isinstance(message.body, ValidateProducts)
        for line in message.body.lines
    }
    rows = await tx.fetch(PRODUCTS, [sorted(asked)])
    return Catalogue({row[0]: _product(row) for row in rows})


async def save(_tx: Transaction, _catalogue: Catalogue) -> None:
    """Write nothing: the catalogue keeps no memory of orders."""


async def page(
    tx: Transaction, search: Search, limit: int, after: Place | None
) -> tuple[list[Listed], Place | None]:
    """At most `limit` products, and the place where the next page begins, if there is one."""
    by, direction = _SORTS[search.sort]
    conditions: list[Composable] = [SQL("active")]
    if search.category_id is not None:
        conditions.append(SQL("category_id = %(category)s::uuid"))
    if search.text:
        conditions.append(SQL("strpos(folded, casefold(%(text)s::text COLLATE pg_unicode_fast)) > 0"))
    if after is not None:
        conditions.append(_BEHIND[direction].format(by=by))
    query = PAGE.format(conditions=SQL(" AND ").join(conditions), by=by, direction=SQL(direction))
    asked = {"category": search.category_id, "text": search.text}
    rows = await tx.select(query, asked | _from(after, limit))
    return [_listed(row) for row in rows[:limit]], _next(rows, limit)


async def categories(tx: Transaction, limit: int, after: Place | None) -> tuple[list[Category], Place | None]:
    """At most `limit` categories by name, and the place where the next page begins, if there is one."""
    behind = SQL("true") if after is None else _BEHIND["ASC"].format(by=SQL("folded"))
    rows = await tx.select(CATEGORIES.format(conditions=behind), _from(after, limit))
    return [Category(CategoryId(row[0]), row[1]) for row in rows[:limit]], _next(rows, limit)


async def product(asked: Asked, product_id: ProductId) -> Listed | None:
    """One product, withdrawn ones too."""
    return _found(await asked.fetch(PRODUCT, [product_id]))


async def add_product(tx: Transaction, listed: Listed) -> None:
    """Add a product; its category must be there."""
    new = listed.product
    await tx.queue(
        ADD_PRODUCT,
        [
            new.id,
            new.name,
            new.price.amount_minor,
            new.price.currency,
            new.active,
            listed.category_id,
        ],
    )


async def change_product(
    tx: Transaction,
    product_id: ProductId,
    *,
    name: str | None,
    category_id: CategoryId | None,
    active: bool | None,
) -> Listed | None:
    """Change what is not None, and give the product as it is then; None where there is none."""
    return _found(await tx.fetch(CHANGE_PRODUCT, [name, category_id, active, product_id]))


async def price_product(tx: Transaction, product_id: ProductId, price: Money) -> Listed | None:
    """Set the price for orders from now on, and give the product; None where there is none."""
    return _found(await tx.fetch(PRICE_PRODUCT, [price.amount_minor, price.currency, product_id]))


async def category(tx: Transaction, category_id: CategoryId) -> Category | None:
    """One category."""
    rows = await tx.fetch(CATEGORY, [category_id])
    return Category(CategoryId(rows[0][0]), rows[0][1]) if rows else None


async def add_category(tx: Transaction, new: Category) -> bool:
    """Add a category; false, and nothing is added, where one has its name."""
    return bool(await tx.fetch(ADD_CATEGORY, [new.id, new.name]))


def _from(after: Place | None, limit: int) -> dict[str, object]:
    """Parameters of a page: the place that it lies behind, and one row more than it shows."""
    place: dict[str, object] = {} if after is None else {"value": after.value, "id": after.id}
    return place | {"limit": limit + 1}


def _next(rows: Sequence[Row], limit: int) -> Place | None:
    return Place(rows[limit - 1][-1], rows[limit - 1][0]) if len(rows) > limit else None


def _product(row: Row) -> Product:
    product_id, name, price_minor, currency, active = row[:5]
    return Product(ProductId(product_id), name, Money(amount_minor=price_minor, currency=currency), active)


def _listed(row: Row) -> Listed:
    return Listed(_product(row), CategoryId(row[5]))


def _found(rows: Sequence[Row]) -> Listed | None:
    return _listed(rows[0]) if rows else None
