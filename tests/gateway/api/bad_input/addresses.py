"""Paths, methods and queries that there are not."""

from collections.abc import Iterator
from uuid import uuid4

from tests.gateway.api.bad_input.case import ID, Case, invalid


def addresses() -> Iterator[Case]:
    def query(path: str, pointer: str, code: str) -> Case:
        return Case(f"GET {path}", 422, "validation_failed", "GET", path, fault=(pointer, code))

    for value, code in (
        ("0", "greater_than_equal"),
        ("101", "less_than_equal"),
        ("-1", "greater_than_equal"),
        ("1.0", "int_parsing"),
        ("ten", "int_parsing"),
        ("", "int_parsing"),
        ("1e1", "int_parsing"),
        ("%2010", "int_parsing"),
        ("9" * 30, "int_parsing"),
    ):
        yield query(f"/api/orders?page_size={value}", "#/page_size", code)
    for path in ("/api/products", "/api/categories", "/api/wallet", "/api/payment-methods"):
        yield query(f"{path}?page_size=0", "#/page_size", "greater_than_equal")
        yield query(f"{path}?limit=5", "#/limit", "extra_forbidden")
        yield query(f"{path}?page_token=nonsense", "#/page_token", "page_token_invalid")
    yield query("/api/orders?page_token=%00", "#/page_token", "string_pattern_mismatch")
    yield query("/api/orders?page_token=", "#/page_token", "string_too_short")
    yield query("/api/orders?status=shipped", "#/status", "literal_error")
    yield query("/api/orders?from=yesterday", "#/from", "datetime_parsing")
    yield query("/api/orders?from=2026-01-31", "#/from", "datetime_parsing")
    yield query("/api/orders?from=2026-01-31T12:00:00", "#/from", "datetime_parsing")
    yield query("/api/orders?to=2026-02-30T12:00:00Z", "#/to", "datetime_from_date_parsing")
    yield query("/api/orders?to=0001-01-01T00:00:00%2B14:00", "#/to", "datetime_parsing")
    yield query("/api/orders?min_total=-1", "#/min_total", "greater_than_equal")
    yield query("/api/orders?max_total=1.5", "#/max_total", "int_parsing")
    yield query("/api/orders?product_id=tea", "#/product_id", "uuid_parsing")
    yield query("/api/orders?sort=price", "#/sort", "literal_error")
    yield query("/api/orders?user_id=1", "#/user_id", "extra_forbidden")
    yield query("/api/orders?page_size=1&page_size=2", "#/page_size", "repeated")
    yield query("/api/products?q=a%00b", "#/q", "text_not_allowed")
    yield query(f"/api/products?q={'x' * 201}", "#/q", "string_too_long")
    yield query("/api/products?sort=stock", "#/sort", "literal_error")
    yield query("/api/products?category_id=1", "#/category_id", "uuid_parsing")
    yield query("/api/orders/tea", "#/order_id", "uuid_parsing")
    yield query("/api/orders/%00", "#/order_id", "uuid_parsing")
    yield query(f"/api/orders/{ID}?wait_seconds=1", "#/wait_seconds", "extra_forbidden")
    yield query("/api/orders/1/events", "#/order_id", "uuid_parsing")
    yield query("/api/products/1", "#/product_id", "uuid_parsing")
    for path in (
        "/api",
        "/api/order",
        "/api/orders/",
        f"/api/orders/{ID}/pay",
        "/API/orders",
        "/api//orders",
        "/problems/nonsense",
        "/admin",
        "/.env",
    ):
        yield Case(f"GET {path}", 404, "not_found", "GET", path)
    yield Case("an unknown order", 404, "not_found", "GET", f"/api/orders/{uuid4()}")
    yield Case("an unknown product", 404, "not_found", "GET", f"/api/products/{uuid4()}")
    yield Case("an unknown card", 404, "not_found", "DELETE", f"/api/payment-methods/{uuid4()}")
    for method, path in (
        ("DELETE", "/api/orders"),
        ("PUT", "/api/orders"),
        ("PATCH", f"/api/orders/{ID}"),
        ("POST", f"/api/orders/{ID}"),
        ("GET", "/auth/login"),
        ("DELETE", "/api/wallet"),
        ("TRACE", "/api/orders"),
        ("OPTIONS", "/api/orders"),
        ("BREW", "/api/orders"),
    ):
        yield Case(f"{method} {path}", 405, "method_not_allowed", method, path)
    cancel = f"/api/orders/{ID}/cancel"
    yield invalid("POST", cancel, "a reason with NUL", {"reason": "a\x00b"}, "#/reason", "text_not_allowed")
    yield invalid("POST", cancel, "a long reason", {"reason": "x" * 501}, "#/reason", "string_too_long")
    yield Case("cancel with a word", 400, "malformed_json", "POST", cancel, b"please")
