"""Tries the catalogue's SQL on the real database, as its runtime role."""

import asyncio
from collections.abc import Awaitable, Callable

import psycopg
import pytest

from libs.contracts.product import ProductsValidated, ProductsValidationFailed, ValidateProducts
from libs.contracts.values import CategoryId, Line, ProductId
from migrations import runner
from product import store
from product.app import service
from product.domain import Category, Listed, Product
from tests.support.builders import a_product_id, an_order_id, euros
from tests.support.databases import Database
from tests.support.store import a_transaction, handle, handle_in

pytestmark = pytest.mark.integration


class Shop:
    """A catalogue with one category."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.dsn = database.runtime_dsn
        self.category_id = CategoryId(a_product_id())

    async def product(self, name: str, cents: int = 100, *, active: bool = True) -> ProductId:
        product = Product(a_product_id(), name, euros(cents), active)
        async with a_transaction(self.dsn) as tx:
            await store.add_product(tx, Listed(product, self.category_id))
        return product.id


@pytest.fixture
async def shop(database: Callable[[str], Awaitable[Database]]) -> Shop:
    shop = Shop(await database("product"))
    async with a_transaction(shop.dsn) as tx:
        assert await store.add_category(tx, Category(shop.category_id, "Kitchen"))
    return shop


def asking(*product_ids: ProductId) -> ValidateProducts:
    lines = tuple(Line(product_id=product_id, quantity=2) for product_id in product_ids)
    return ValidateProducts(order_id=an_order_id(), lines=lines)


async def test_the_migrations_make_the_tables_that_the_code_knows(shop: Shop) -> None:
    await asyncio.to_thread(runner.check, "product", shop.database.owner_dsn)


async def test_a_batch_is_answered_by_one_statement_that_locks_nothing(shop: Shop) -> None:
    tea, cup = await shop.product("Tea", 350), await shop.product("Cup", 1_200)
    gone, unknown = await shop.product("Pot", active=False), a_product_id()
    async with a_transaction(shop.dsn) as holder:
        await holder.fetch("SELECT id FROM products FOR UPDATE")
        async with a_transaction(shop.dsn) as tx:
            clock = len(tx.statements)
            answers = await handle_in(tx, service, asking(tea, cup), asking(gone), asking(unknown, tea))
            assert tx.statements[clock:] == [store.PRODUCTS]
    validated, withdrawn, failed = answers
    assert isinstance(validated, ProductsValidated)
    assert [(line.name, line.price) for line in validated.lines] == [
        ("Tea", euros(350)),
        ("Cup", euros(1_200)),
    ]
    assert validated.total == euros(3_100)
    assert isinstance(withdrawn, ProductsValidationFailed)
    assert withdrawn.reason == "No longer on sale: Pot."
    assert isinstance(failed, ProductsValidationFailed)
    assert failed.product_ids == (unknown,)


async def test_a_change_of_price_counts_from_the_next_order_on(shop: Shop) -> None:
    tea = await shop.product("Tea", 350)
    async with a_transaction(shop.dsn) as tx:
        await store.price_product(tx, tea, euros(400))
    (answer,) = await handle(shop.dsn, service, asking(tea))
    assert isinstance(answer, ProductsValidated)
    assert answer.total == euros(800)


@pytest.mark.parametrize(
    ("statement", "constraint"),
    [
        ("UPDATE products SET name = ''", "ck_products_name_length"),
        ("UPDATE products SET name = repeat('x', 201)", "ck_products_name_length"),
        ("UPDATE products SET name = ' Tea'", "ck_products_name_is_trimmed"),
        ("UPDATE products SET name = E'Cafe\\u0301'", "ck_products_name_is_normalised"),
        ("UPDATE products SET price_minor = -1", "ck_products_price_minor"),
        ("UPDATE products SET price_minor = 9007199254740992", "ck_products_price_minor"),
        ("UPDATE products SET currency = 'Eur'", "ck_products_currency"),
        ("UPDATE products SET category_id = gen_random_uuid()", "fk_products_category_id"),
        ("UPDATE categories SET name = ''", "ck_categories_name_length"),
        ("UPDATE categories SET name = 'Tea '", "ck_categories_name_is_trimmed"),
        ("UPDATE categories SET name = E'Cafe\\u0301'", "ck_categories_name_is_normalised"),
        ("INSERT INTO categories (id, name) VALUES (gen_random_uuid(), 'KITCHEN')", "uq_categories_folded"),
    ],
)
async def test_no_row_can_break_a_rule(shop: Shop, statement: str, constraint: str) -> None:
    await shop.product("Tea")
    with pytest.raises(psycopg.errors.IntegrityError) as broken:
        await shop.database.rows(statement)
    assert broken.value.diag.constraint_name == constraint
