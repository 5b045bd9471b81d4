"""What an operator cannot make of products and stock."""

import json
from collections.abc import Iterator
from uuid import uuid4

from tests.gateway.api.bad_input.case import EUR_5, ID, Case, invalid


def shop() -> Iterator[Case]:
    def case(name: str, method: str, path: str, body: object, pointer: str, code: str) -> Case:
        return invalid(method, path, name, body, pointer, code, role="operator")

    stock = f"/api/inventory/{ID}"
    yield case("stock: nothing", "PUT", stock, {}, "#", "value_error")
    yield case("stock: both", "PUT", stock, {"on_hand": 1, "adjust": 1}, "#", "value_error")
    yield case("stock: null", "PUT", stock, {"on_hand": None}, "#", "value_error")
    yield case("stock: negative", "PUT", stock, {"on_hand": -1}, "#/on_hand", "greater_than_equal")
    yield case("stock: huge", "PUT", stock, {"on_hand": 2**63}, "#/on_hand", "less_than_equal")
    yield case("stock: text", "PUT", stock, {"adjust": "+5"}, "#/adjust", "int_type")
    yield case(
        "stock: reserved", "PUT", stock, {"on_hand": 1, "reserved": 0}, "#/reserved", "extra_forbidden"
    )
    product = {"name": "Tea", "category_id": ID, "price": EUR_5}
    yield case(
        "product: unknown category", "POST", "/api/products", product, "#/category_id", "category_unknown"
    )
    yield case(
        "product: price negative",
        "POST",
        "/api/products",
        {**product, "price": {"amount_minor": -1, "currency": "EUR"}},
        "#/price/amount_minor",
        "greater_than_equal",
    )
    yield case(
        "product: price a float",
        "POST",
        "/api/products",
        {**product, "price": 9.99},
        "#/price",
        "model_attributes_type",
    )
    yield case(
        "product: id chosen", "POST", "/api/products", {**product, "id": ID}, "#/id", "extra_forbidden"
    )
    yield case(
        "product: name reordered",
        "POST",
        "/api/products",
        {**product, "name": "\u202etea"},
        "#/name",
        "text_not_allowed",
    )
    yield case("product: no change", "PATCH", f"/api/products/{ID}", {}, "#", "value_error")
    yield case("product: name null", "PATCH", f"/api/products/{ID}", {"name": None}, "#", "value_error")
    yield case(
        "product: active a word", "PATCH", f"/api/products/{ID}", {"active": "yes"}, "#/active", "bool_type"
    )
    yield case(
        "price: past 2^53",
        "PUT",
        f"/api/products/{ID}/price",
        {"amount_minor": 2**53, "currency": "EUR"},
        "#/amount_minor",
        "less_than_equal",
    )
    yield case(
        "price: currency of two letters",
        "PUT",
        f"/api/products/{ID}/price",
        {"amount_minor": 1, "currency": "EU"},
        "#/currency",
        "string_pattern_mismatch",
    )
    yield case("category: blank", "POST", "/api/categories", {"name": " "}, "#/name", "string_too_short")
    good = json.dumps({"active": True}).encode()
    yield Case(
        "product: unknown", 404, "not_found", "PATCH", f"/api/products/{uuid4()}", good, role="operator"
    )
    yield Case(
        "stock: below nothing",
        409,
        "below_reserved",
        "PUT",
        f"/api/inventory/{uuid4()}",
        b'{"adjust":-1}',
        role="operator",
    )
