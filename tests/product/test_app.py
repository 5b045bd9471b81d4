"""Tries the product service as it runs: commands in from the real broker, prices out to it."""

from collections.abc import Awaitable, Callable

import pytest

from libs.contracts.product import ProductsValidated, ProductsValidationFailed, ValidateProducts
from libs.contracts.topics import PRODUCT_EVENTS
from libs.contracts.values import Line
from tests.support.builders import a_product_id, a_record, an_order_id
from tests.support.databases import Database
from tests.support.services import ServiceProcess
from tests.support.topics import RawRecord, Topics

pytestmark = pytest.mark.integration


async def test_prices_come_from_the_catalogue(
    database: Callable[[str], Awaitable[Database]],
    topics: Topics,
    service: Callable[..., Awaitable[ServiceProcess]],
) -> None:
    catalogue = await database("product")
    tea = a_product_id()
    await catalogue.rows(
        """
        WITH kitchen AS (INSERT INTO categories (id, name) VALUES (gen_random_uuid(), 'Kitchen') RETURNING id)
        INSERT INTO products (id, name, category_id, price_minor, currency) SELECT %s, 'Tea', id, 350, 'EUR' FROM kitchen
        """,
        tea,
    )
    known = ValidateProducts(order_id=an_order_id(), lines=(Line(product_id=tea, quantity=2),))
    unknown = ValidateProducts(order_id=an_order_id(), lines=(Line(product_id=a_product_id(), quantity=1),))
    await topics.publish(a_record(known), a_record(unknown))
    await service("product", on=catalogue)
    answers = {str(record.header("ce_type")): record for record in await topics.expect(PRODUCT_EVENTS, 2)}
    priced = ProductsValidated.model_validate_json(_value(answers[ProductsValidated.wire]))
    assert (priced.order_id, priced.lines[0].name, priced.total.amount_minor) == (known.order_id, "Tea", 700)
    refused = ProductsValidationFailed.model_validate_json(_value(answers[ProductsValidationFailed.wire]))
    assert (refused.order_id, refused.product_ids) == (unknown.order_id, (unknown.lines[0].product_id,))


def _value(record: RawRecord) -> bytes:
    assert record.value is not None
    return record.value
