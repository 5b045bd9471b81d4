"""The shop's stock of the dev profile: categories, products and what lies on the shelves, loaded where absent."""

import asyncio
import os
import uuid
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from psycopg import AsyncConnection

_NAMESPACE: Final = UUID("6b1f3c1e-7d0a-4f6e-9d53-0c3f4a9f2b10")
_PLENTY: Final = 10_000

_SHELVES: Final[dict[str, tuple[tuple[str, int], ...]]] = {
    "Coffee": (
        ("Espresso beans, 1 kg", 1899),
        ("Filter beans, 500 g", 1149),
        ("Decaf beans, 500 g", 1299),
        ("Single origin Ethiopia, 250 g", 990),
        ("Single origin Colombia, 250 g", 940),
        ("Cold brew pack", 790),
        ("Instant coffee, 100 g", 549),
        ("Chicory blend, 250 g", 459),
    ),
    "Tea": (
        ("Assam, 250 g", 820),
        ("Darjeeling first flush, 100 g", 1490),
        ("Earl Grey, 100 bags", 649),
        ("Sencha, 100 g", 890),
        ("Genmaicha, 100 g", 760),
        ("Rooibos, 250 g", 590),
        ("Peppermint, 50 bags", 399),
        ("Camomile, 50 bags", 379),
    ),
    "Kitchen": (
        ("Hand grinder", 4990),
        ("French press, 1 l", 2950),
        ("Pour-over cone", 1450),
        ("Paper filters, 100 pieces", 420),
        ("Gooseneck kettle", 5900),
        ("Kitchen scale", 2490),
        ("Teapot, 1.2 l", 3390),
        ("Tea strainer", 690),
        ("Milk jug, 350 ml", 1790),
    ),
    "Tableware": (
        ("Espresso cup", 790),
        ("Cappuccino cup", 990),
        ("Mug, 300 ml", 890),
        ("Travel mug", 2290),
        ("Saucer", 450),
        ("Tea bowl", 1190),
        ("Teaspoon", 350),
        ("Sugar pot", 1290),
        ("Serving tray", 1990),
    ),
}

SCARCE: Final = "Copper pot, handmade"
"""The one product with next to nothing on the shelf."""
SCARCE_STOCK: Final = 2
WITHDRAWN: Final = "Sampler of last season"
"""The one product that is not sold any more, with stock left."""


@dataclass(frozen=True, slots=True)
class Product:
    """A product as the dev catalogue knows it; the price is in cents of a euro."""

    id: UUID
    name: str
    category_id: UUID
    price_minor: int
    active: bool
    on_hand: int


def product_id(name: str) -> UUID:
    """Return a catalogue product's id: the same on every machine."""
    return uuid.uuid5(_NAMESPACE, f"product:{name}")


def categories() -> dict[UUID, str]:
    """Return every category by its id."""
    return {_category_id(name): name for name in _SHELVES}


def products() -> list[Product]:
    """Return the whole catalogue."""
    plenty = [
        Product(product_id(name), name, _category_id(category), price, active=True, on_hand=_PLENTY)
        for category, shelf in _SHELVES.items()
        for name, price in shelf
    ]
    kitchen = _category_id("Kitchen")
    scarce = Product(product_id(SCARCE), SCARCE, kitchen, 8900, active=True, on_hand=SCARCE_STOCK)
    withdrawn = Product(product_id(WITHDRAWN), WITHDRAWN, kitchen, 1500, active=False, on_hand=5)
    return [*plenty, scarce, withdrawn]


async def load(product_dsn: str, inventory_dsn: str) -> None:
    """Put in what is absent; prices and stock that somebody changed stay as they are."""
    catalogue = products()
    async with await AsyncConnection.connect(product_dsn) as session:
        await session.execute(
            "INSERT INTO categories (id, name) SELECT * FROM unnest(%s::uuid[], %s::text[]) ON CONFLICT DO NOTHING",
            (list(categories()), list(categories().values())),
        )
        await session.execute(
            "INSERT INTO products (id, name, category_id, price_minor, currency, active)"
            " SELECT id, name, category_id, price_minor, 'EUR', active"
            " FROM unnest(%s::uuid[], %s::text[], %s::uuid[], %s::bigint[], %s::boolean[])"
            " AS given (id, name, category_id, price_minor, active) ON CONFLICT DO NOTHING",
            (
                [product.id for product in catalogue],
                [product.name for product in catalogue],
                [product.category_id for product in catalogue],
                [product.price_minor for product in catalogue],
                [product.active for product in catalogue],
            ),
        )
    async with await AsyncConnection.connect(inventory_dsn) as session:
        await session.execute(
            "INSERT INTO stock (product_id, on_hand, reserved, sold)"
            " SELECT id, on_hand, 0, 0 FROM unnest(%s::uuid[], %s::bigint[]) AS given (id, on_hand)"
            " ON CONFLICT DO NOTHING",
            ([product.id for product in catalogue], [product.on_hand for product in catalogue]),
        )


def _category_id(name: str) -> UUID:
    return uuid.uuid5(_NAMESPACE, f"category:{name}")


if __name__ == "__main__":
    # In containers a job does this: python -m devstack.catalogue
    asyncio.run(load(os.environ["PRODUCT_DATABASE_URL"], os.environ["INVENTORY_DATABASE_URL"]))
    print(f"{len(products())} products are there")
