"""Bad input, case by case: the exact status and code of each, and nothing is changed in any database."""

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

import httpx
import pytest

from tests.gateway.front import Front, an_order

pytestmark = pytest.mark.integration

JSON: Final = "application/json"
ID: Final = "01890a5d-ac96-774b-bcce-b302099a8057"
OTHER: Final = "01890a5d-ac96-774b-bcce-b302099a8058"
EUR_5: Final = {"amount_minor": 500, "currency": "EUR"}
LIMIT: Final = 65_536


@dataclass(frozen=True, slots=True)
class Case:
    """A request that must be refused: with this status, this code, and this fault where faults are listed."""

    name: str
    status: int
    code: str
    method: str
    path: str
    content: bytes | None = None
    headers: Mapping[str, str] | None = None
    fault: tuple[str, str] | None = None
    role: str = "customer"
    chunked: bool = False


def order(**changes: Any) -> dict[str, Any]:
    """The body of a good order, changed."""
    good = {"payment_method_id": ID, "lines": [{"product_id": ID, "quantity": 1}]}
    return {name: value for name, value in {**good, **changes}.items() if value is not ...}


def line(**changes: Any) -> dict[str, Any]:
    """The body of an order whose only line is changed."""
    good = {"product_id": ID, "quantity": 1}
    return order(lines=[{name: value for name, value in {**good, **changes}.items() if value is not ...}])


def raw_quantity(text: str) -> bytes:
    """An order whose quantity is written so."""
    return f'{{"payment_method_id":"{ID}","lines":[{{"product_id":"{ID}","quantity":{text}}}]}}'.encode()


def posting(name: str, body: object, pointer: str, code: str) -> Case:
    """An order with one fault."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Case(name, 422, "validation_failed", "POST", "/api/orders", content, fault=(pointer, code))


def quantities() -> Iterator[Case]:
    at = "#/lines/0/quantity"
    for text, code in {
        "0": "greater_than_equal",
        "-1": "greater_than_equal",
        "-0": "greater_than_equal",
        "1001": "less_than_equal",
        "9223372036854775807": "less_than_equal",
        "9223372036854775808": "less_than_equal",
        "18446744073709551616": "less_than_equal",
        "-9223372036854775809": "greater_than_equal",
        "1" * 400: "less_than_equal",
        "1.5": "int_type",
        "1e400": "int_type",
        "1e300": "less_than_equal",
        "0.0": "greater_than_equal",
        "1.0000000001": "int_type",
        "-1e400": "int_type",
        '"1"': "int_type",
        '""': "int_type",
        "true": "int_type",
        "false": "int_type",
        "null": "int_type",
        "[]": "int_type",
        "[1]": "int_type",
        "{}": "int_type",
    }.items():
        yield posting(f"quantity {text[:24]}", raw_quantity(text), at, code)
    for text in (
        "NaN",
        "Infinity",
        "-Infinity",
        "01",
        "+1",
        "0x10",
        "1_000",
        ".5",
        "1.",
        "1e",
        "--1",
        "1 1",
        "\u0661",
    ):
        yield Case(f"quantity {text}", 400, "malformed_json", "POST", "/api/orders", raw_quantity(text))
    yield Case(
        "quantity of 5,000 digits", 400, "malformed_json", "POST", "/api/orders", raw_quantity("1" * 5_000)
    )
    yield posting("no quantity", line(quantity=...), at, "missing")
    many = [{"product_id": ID, "quantity": 500}] * 3
    yield posting(
        "lines of one product past 1000", order(lines=many), "#/lines/2/quantity", "quantity_too_large"
    )
    mixed = [{"product_id": one, "quantity": 501} for one in (ID, OTHER, ID)]
    yield posting(
        "two of three lines past 1000", order(lines=mixed), "#/lines/2/quantity", "quantity_too_large"
    )
    same = [{"product_id": written, "quantity": 501} for written in (ID, ID.upper())]
    yield posting(
        "one product in two spellings", order(lines=same), "#/lines/1/quantity", "quantity_too_large"
    )


def ids() -> Iterator[Case]:
    values: list[tuple[str, object, str]] = [
        ("a word", "tea", "uuid_parsing"),
        ("empty", "", "uuid_parsing"),
        ("a number", 7, "uuid_type"),
        ("null", None, "uuid_type"),
        ("true", True, "uuid_type"),
        ("a list", [ID], "uuid_type"),
        ("an object", {"id": ID}, "uuid_type"),
        ("without hyphens", ID.replace("-", ""), "uuid_parsing"),
        ("in braces", f"{{{ID}}}", "uuid_parsing"),
        ("a URN", f"urn:uuid:{ID}", "uuid_parsing"),
        ("too long", ID + "0", "uuid_parsing"),
        ("too short", ID[:-1], "uuid_parsing"),
        ("with a blank", f" {ID}", "uuid_parsing"),
        ("with a wrong digit", ID[:-1] + "g", "uuid_parsing"),
        ("with NUL", ID[:-1] + "\x00", "uuid_parsing"),
        ("in Arabic digits", ID.replace("0", "\u0660"), "uuid_parsing"),
        ("hyphens elsewhere", "01890a5dac96-774b-bcce-b302-099a8057", "uuid_parsing"),
    ]
    for name, value, code in values:
        yield posting(f"product_id {name}", line(product_id=value), "#/lines/0/product_id", code)
    for name, value, code in values[:6]:
        yield posting(
            f"payment_method_id {name}", order(payment_method_id=value), "#/payment_method_id", code
        )
    yield posting("no product_id", line(product_id=...), "#/lines/0/product_id", "missing")
    yield posting("no payment_method_id", order(payment_method_id=...), "#/payment_method_id", "missing")


def lines() -> Iterator[Case]:
    one = {"product_id": ID, "quantity": 1}
    yield posting("no lines at all", order(lines=[]), "#/lines", "too_short")
    yield posting("51 lines", order(lines=[one] * 51), "#/lines", "too_long")
    yield posting("51 different lines", an_order(lines=51), "#/lines", "too_long")
    yield posting("lines missing", order(lines=...), "#/lines", "missing")
    no_list: dict[str, object] = {
        "null": None,
        "an object": one,
        "a word": "tea",
        "a number": 1,
        "true": True,
    }
    for name, value in no_list.items():
        yield posting(f"lines {name}", order(lines=value), "#/lines", "list_type")
    no_lines: dict[str, object] = {"null": None, "a list": [ID, 1], "a word": ID, "a number": 1}
    for name, no_line in no_lines.items():
        yield posting(f"a line that is {name}", order(lines=[no_line]), "#/lines/0", "model_type")
    yield posting("the second line wrong", order(lines=[one, {}]), "#/lines/1/product_id", "missing")


def strangers() -> Iterator[Case]:
    """Fields that a client may not decide."""
    for name, value in {
        "user_id": ID,
        "status": "completed",
        "order_id": ID,
        "total": EUR_5,
        "price": 1,
        "reason": "x",
        "__proto__": {},
        "": 1,
        "Lines": [],
        "payment_method_id ": ID,
    }.items():
        yield posting(f"field {name!r}", order(**{name: value}), f"#/{name}", "extra_forbidden")
    for name, value in {"price": EUR_5, "name": "Tea", "Quantity": 2, "reserved": True, "a/b~c": 1}.items():
        escaped = name.replace("~", "~0").replace("/", "~1")
        yield posting(
            f"line field {name!r}", line(**{name: value}), f"#/lines/0/{escaped}", "extra_forbidden"
        )


def documents() -> Iterator[Case]:
    """Bodies that are no JSON, or no object."""
    good = json.dumps(order()).encode()
    for name, content in {
        "empty": b"",
        "a blank": b" ",
        "half": good[:-1],
        "twice": good + good,
        "a comma too many": good[:-1] + b",}",
        "in single quotes": good.replace(b'"', b"'"),
        "a comment": b"/* order */" + good,
        "a byte order mark": b"\xef\xbb\xbf" + good,
        "UTF-16": good.decode().encode("utf-16"),
        "no UTF-8": good.replace(b"01890a5d", b"\xff\xfe", 1),
        "an overlong encoding": good.replace(b"01890a5d", b"\xc0\xaf", 1),
        "a surrogate in UTF-8": good.replace(b"01890a5d", b"\xed\xa0\x80", 1),
        "a lone surrogate": good.replace(b"01890a5d", b"\\ud800", 1),
        "a raw NUL": good.replace(b"01890a5d", b"\x00", 1),
        "a raw newline in text": good.replace(b"01890a5d", b"\n", 1),
        "a bad escape": good.replace(b"01890a5d", b"\\x41", 1),
        "deep lists": b"[" * 10_000 + b"]" * 10_000,
        "deep objects": b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
        "a form": b"payment_method_id=1&lines=2",
        "XML": b"<order/>",
        "undefined": b"undefined",
        "NaN": b"NaN",
    }.items():
        yield Case(f"body {name}", 400, "malformed_json", "POST", "/api/orders", content)
    for name, content in {
        "null": b"null",
        "a number": b"1",
        "a list": b"[]",
        "a word": b'"order"',
        "true": b"true",
        "an order in a list": b"[" + good + b"]",
    }.items():
        yield Case(
            f"body {name}",
            422,
            "validation_failed",
            "POST",
            "/api/orders",
            content,
            fault=("#", "model_type"),
        )


def framing() -> Iterator[Case]:
    good = json.dumps(order()).encode()
    for media_type in (
        "",
        "text/plain",
        "text/json",
        "application/xml",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json; charset=latin-1",
        "application/json; charset=utf-16",
        "application/jsonx",
        "application/problem+json",
        "json",
    ):
        headers = {"Content-Type": media_type} if media_type else {"Content-Type": "application/octet-stream"}
        yield Case(
            f"type {media_type!r}", 415, "unsupported_media_type", "POST", "/api/orders", good, headers
        )
    large = good + b" " * (LIMIT + 1 - len(good))
    yield Case("64 KiB and one byte", 413, "body_too_large", "POST", "/api/orders", large)
    yield Case("the same in chunks", 413, "body_too_large", "POST", "/api/orders", large, chunked=True)
    yield Case(
        "a megabyte in chunks", 413, "body_too_large", "POST", "/api/orders", b"[" * 2**20, chunked=True
    )
    yield Case("a large login", 413, "body_too_large", "POST", "/auth/login", large)
    yield Case(
        "a large price in chunks",
        413,
        "body_too_large",
        "PUT",
        f"/api/products/{ID}/price",
        large,
        role="operator",
        chunked=True,
    )


def keys() -> Iterator[Case]:
    good = json.dumps(order()).encode()
    deposit = json.dumps({"amount": EUR_5}).encode()
    for path, content in (("/api/orders", good), ("/api/wallet/deposits", deposit)):
        yield Case(
            f"no key for {path}",
            400,
            "idempotency_key_missing",
            "POST",
            path,
            content,
            {"Idempotency-Key": "-"},
        )
        for name, key in {
            "empty": "",
            "long": "x" * 256,
            "with a blank": "a b",
            "quoted nothing": '""',
            "half quoted": '"a',
            "with a tab": "a\tb",
        }.items():
            yield Case(
                f"key {name} for {path}",
                400,
                "idempotency_key_invalid",
                "POST",
                path,
                content,
                {"Idempotency-Key": key},
            )


def accounts() -> Iterator[Case]:
    good = {"name": "Ada", "email": "ada-bad-input@example.com", "password": "difference-engine-2"}

    def case(name: str, field: str, value: object, code: str) -> Case:
        body = {key: what for key, what in {**good, field: value}.items() if what is not ...}
        content = json.dumps(body).encode()
        return Case(
            f"register: {name}",
            422,
            "validation_failed",
            "POST",
            "/auth/register",
            content,
            fault=(f"#/{field}", code),
        )

    yield case("no name", "name", ..., "missing")
    yield case("name empty", "name", "", "string_too_short")
    yield case("name blank", "name", "  \u3000 ", "string_too_short")
    yield case("name long", "name", "x" * 201, "string_too_long")
    yield case("name NUL", "name", "a\x00b", "text_not_allowed")
    yield case("name bell", "name", "a\x07", "text_not_allowed")
    yield case("name newline", "name", "a\nb", "text_not_allowed")
    yield case("name right-to-left override", "name", "abc\u202ecba", "text_not_allowed")
    yield case("name isolate", "name", "\u2066a", "text_not_allowed")
    yield case("name line separator", "name", "a\u2028b", "text_not_allowed")
    yield case("name a number", "name", 7, "string_type")
    yield case("email without @", "email", "ada.example.com", "string_pattern_mismatch")
    yield case("email without a dot", "email", "ada@localhost", "string_pattern_mismatch")
    yield case("email with a name", "email", "Ada <ada@example.com>", "string_pattern_mismatch")
    yield case("two emails", "email", "a@b.com,c@d.com", "string_pattern_mismatch")
    yield case("email long", "email", "a" * 60 + "@" + "b" * 60 + ".com" * 60, "string_too_long")
    yield case("email NUL", "email", "a\x00@example.com", "string_pattern_mismatch")
    yield case("email newline", "email", "a@example.com\nBcc: b@example.com", "string_pattern_mismatch")
    yield case("email null", "email", None, "string_type")
    yield case("password short", "password", "short", "string_too_short")
    yield case("password long", "password", "x9" * 65, "string_too_long")
    yield case("password common", "password", "password123", "password_too_common")
    yield case("password a row of keys", "password", "qwertyuiop", "password_too_common")
    yield case("password one's name", "password", "ada-bad-input", "password_too_common")
    yield case("password NUL", "password", "abc\x00defghijk", "text_not_allowed")
    yield case("role asked for", "role", "admin", "extra_forbidden")
    wrong = json.dumps({"email": "nobody@example.com", "password": "difference-engine-2"}).encode()
    yield Case("login: unknown", 401, "credentials_invalid", "POST", "/auth/login", wrong)
    inject = json.dumps({"email": "' OR 1=1 --", "password": "x"}).encode()
    yield Case("login: SQL", 401, "credentials_invalid", "POST", "/auth/login", inject)
    refresh = json.dumps({"refresh_token": "nonsense"}).encode()
    yield Case("refresh: nonsense", 401, "refresh_token_invalid", "POST", "/auth/refresh", refresh)
    for name, body, pointer, code in (
        ("name null", {"name": None}, "#", "value_error"),
        ("phone a word", {"phone": "call me"}, "#/phone", "string_pattern_mismatch"),
        (
            "phone with Arabic digits",
            {"phone": "+\u0664\u0664\u0662\u0660\u0667\u0669"},
            "#/phone",
            "string_pattern_mismatch",
        ),
        ("locale a word", {"locale": "english"}, "#/locale", "string_pattern_mismatch"),
        ("email", {"email": "new@example.com"}, "#/email", "extra_forbidden"),
        ("role", {"role": "admin"}, "#/role", "extra_forbidden"),
    ):
        content = json.dumps(body).encode()
        yield Case(
            f"profile: {name}",
            422,
            "validation_failed",
            "PATCH",
            "/auth/profile",
            content,
            fault=(pointer, code),
        )


def money() -> Iterator[Case]:
    key = {"Idempotency-Key": "bad-input"}
    at = "#/amount/amount_minor"
    for value, code in (
        (0, "greater_than_equal"),
        (-500, "greater_than_equal"),
        (10_000_001, "less_than_equal"),
        (2**63, "less_than_equal"),
        (1.5, "int_type"),
        (1e300, "less_than_equal"),
        ("500", "int_type"),
        (True, "int_type"),
        (None, "int_type"),
    ):
        content = json.dumps({"amount": {"amount_minor": value, "currency": "EUR"}}).encode()
        yield Case(
            f"deposit {value!r}",
            422,
            "validation_failed",
            "POST",
            "/api/wallet/deposits",
            content,
            key,
            (at, code),
        )
    for currency in ("USD", "eur", "EURO", "", None, "€"):
        content = json.dumps({"amount": {"amount_minor": 1, "currency": currency}}).encode()
        yield Case(
            f"deposit in {currency!r}",
            422,
            "validation_failed",
            "POST",
            "/api/wallet/deposits",
            content,
            key,
            ("#/amount/currency", "literal_error"),
        )
    for name, body, pointer, code in (
        (
            "a card number",
            {"kind": "card", "token": "4111111111111111"},
            "#/token",
            "string_pattern_mismatch",
        ),
        (
            "a token with a slash",
            {"kind": "card", "token": "tok_/../x"},
            "#/token",
            "string_pattern_mismatch",
        ),
        ("another wallet", {"kind": "wallet", "token": "tok_a"}, "#/kind", "literal_error"),
        ("no token", {"kind": "card"}, "#/token", "missing"),
        ("a number", {"kind": "card", "token": "tok_a", "number": "4111"}, "#/number", "extra_forbidden"),
        (
            "a label of blanks",
            {"kind": "card", "token": "tok_a", "label": "  "},
            "#/label",
            "string_too_short",
        ),
    ):
        content = json.dumps(body).encode()
        yield Case(
            f"card: {name}",
            422,
            "validation_failed",
            "POST",
            "/api/payment-methods",
            content,
            fault=(pointer, code),
        )


def shop() -> Iterator[Case]:
    def case(name: str, method: str, path: str, body: object, pointer: str, code: str) -> Case:
        content = json.dumps(body).encode()
        return Case(
            name, 422, "validation_failed", method, path, content, fault=(pointer, code), role="operator"
        )

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
    nul = json.dumps({"reason": "a\x00b"}).encode()
    yield Case(
        "a reason with NUL",
        422,
        "validation_failed",
        "POST",
        f"/api/orders/{ID}/cancel",
        nul,
        fault=("#/reason", "text_not_allowed"),
    )
    long = json.dumps({"reason": "x" * 501}).encode()
    yield Case(
        "a long reason",
        422,
        "validation_failed",
        "POST",
        f"/api/orders/{ID}/cancel",
        long,
        fault=("#/reason", "string_too_long"),
    )
    yield Case("cancel with a word", 400, "malformed_json", "POST", f"/api/orders/{ID}/cancel", b"please")


CASES: Final = [
    case
    for group in (
        quantities,
        ids,
        lines,
        strangers,
        documents,
        framing,
        keys,
        accounts,
        money,
        shop,
        addresses,
    )
    for case in group()
]


@pytest.fixture(scope="module")
async def unchanged(gate: Front, tokens: Mapping[str, object]) -> AsyncIterator[None]:
    """Nothing that these requests ask for is stored anywhere."""
    before = await gate.shops.counts()
    yield
    assert await gate.shops.counts() == before


@pytest.fixture(scope="module")
async def tokens(gate: Front) -> Mapping[str, Mapping[str, str]]:
    return {role: await gate.bearer(role) for role in ("customer", "operator")}


async def send(gate: Front, case: Case, token: Mapping[str, str]) -> httpx.Response:
    given = {
        "Content-Type": JSON,
        "Idempotency-Key": f"bad-input-{uuid4().hex}",
        **token,
        **(case.headers or {}),
    }
    headers = {name: value for name, value in given.items() if value != "-"}

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(case.content or b""), 16_384):
            yield (case.content or b"")[start : start + 16_384]

    if case.content is None:
        del headers["Content-Type"]
    content = chunks() if case.chunked else case.content
    return await gate.http.request(case.method, case.path, content=content, headers=headers)


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
async def test_it_is_refused_exactly(
    gate: Front, tokens: Mapping[str, Mapping[str, str]], case: Case
) -> None:
    answer = await send(gate, case, tokens[case.role])
    body = answer.json()
    assert (answer.status_code, body["code"]) == (case.status, case.code), body
    assert answer.headers["content-type"] == "application/problem+json"
    if case.fault is not None:
        assert case.fault in {(one["pointer"], one["code"]) for one in body["errors"]}, body["errors"]


def test_there_are_cases_enough() -> None:
    assert len(CASES) >= 250
    assert len({case.name for case in CASES}) == len(CASES)
