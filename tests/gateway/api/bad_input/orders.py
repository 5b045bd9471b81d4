"""Orders of which one field is wrong."""

from collections.abc import Iterator
from typing import Any, Final

from tests.gateway.api.bad_input.case import EUR_5, ID, Case, order, posting
from tests.gateway.front import an_order

OTHER: Final = "01890a5d-ac96-774b-bcce-b302099a8058"


def line(**changes: Any) -> dict[str, Any]:
    """The body of an order whose only line is changed."""
    good = {"product_id": ID, "quantity": 1}
    return order(lines=[{name: value for name, value in {**good, **changes}.items() if value is not ...}])


def raw_quantity(text: str) -> bytes:
    """An order whose quantity is written so."""
    return f'{{"payment_method_id":"{ID}","lines":[{{"product_id":"{ID}","quantity":{text}}}]}}'.encode()


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
