"""Bad records made by hand: each is one thing wrong with a good one, and the reason that it must die of."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from libs.contracts.catalogue import CONTRACTS
from tests.fuzz.good import Draft

Spoil = Callable[[Draft], Draft]


def _value(value: bytes | None) -> Spoil:
    return lambda draft: replace(draft, value=value)


def _key(key: bytes | None) -> Spoil:
    return lambda draft: replace(draft, key=key)


def _header(name: str, value: bytes | None) -> Spoil:
    return lambda draft: draft.with_header(name, value)


def _twice(name: str) -> Spoil:
    def spoil(draft: Draft) -> Draft:
        first = next(header for header in draft.headers if header[0] == name)
        return replace(draft, headers=(*draft.headers, first))

    return spoil


def _field(name: str, value: object) -> Spoil:
    return lambda draft: draft.with_body(**{name: value})


def _cut(draft: Draft) -> Draft:
    return replace(draft, value=(draft.value or b"")[:-1])


def _elsewhere(draft: Draft) -> Draft:
    """On a topic whose readers know the type, and which is not its own."""
    other = "product-events" if draft.topic != "product-events" else "order-events"
    return replace(draft, topic=other)


def _doubled(draft: Draft) -> Draft:
    return replace(draft, value=(draft.value or b"") * 2)


def _bom(draft: Draft) -> Draft:
    return replace(draft, value=b"\xef\xbb\xbf" + (draft.value or b""))


def _utf16(draft: Draft) -> Draft:
    return replace(draft, value=(draft.value or b"").decode().encode("utf-16"))


def _big(draft: Draft) -> Draft:
    return draft.with_body(padding="x" * 900_001)


NOBODY: Final = "01920000-0000-7000-8000-00000000dead"
AHEAD: Final = b"0fffffff-ffff-7000-8000-000000000001"

ANYWHERE: Final[Mapping[str, tuple[str, Spoil]]] = MappingProxyType(
    {
        "no value": ("not_json", _value(None)),
        "empty value": ("not_json", _value(b"")),
        "blanks": ("not_json", _value(b"   ")),
        "no UTF-8": ("not_json", _value(b"\xff\xfe{}")),
        "cut off": ("not_json", _cut),
        "twice in one": ("not_json", _doubled),
        "byte order mark": ("not_json", _bom),
        "UTF-16": ("not_json", _utf16),
        "NaN": ("not_json", _value(b"nan")),
        "deep": ("not_json", _value(b"[" * 5_000)),
        "an Avro header": ("not_json", _value(b"\x00\x00\x00\x00\x01abc")),
        "null": ("invalid_payload", _value(b"null")),
        "a list": ("invalid_payload", _value(b"[]")),
        "a text": ("invalid_payload", _value(b'"order"')),
        "a number": ("invalid_payload", _value(b"1")),
        "no fields": ("invalid_payload", _value(b"{}")),
        "no order": ("invalid_payload", lambda draft: draft.without_field("order_id")),
        "order is null": ("invalid_payload", _field("order_id", None)),
        "order is a number": ("invalid_payload", _field("order_id", 7)),
        "order is no UUID": ("invalid_payload", _field("order_id", "order-1")),
        "order is a list": ("invalid_payload", _field("order_id", [NOBODY])),
        "too big": ("too_big", _big),
        "no key": ("wrong_key", _key(None)),
        "empty key": ("wrong_key", _key(b"")),
        "another order's key": ("wrong_key", _key(NOBODY.encode())),
        "key in capitals": (
            "wrong_key",
            lambda draft: replace(draft.with_body(order_id=NOBODY), key=NOBODY.upper().encode()),
        ),
        "key with NUL": ("wrong_key", lambda draft: replace(draft, key=(draft.key or b"") + b"\x00")),
        "key without UTF-8": ("wrong_key", _key(b"\xc3\x28")),
        "huge key": ("wrong_key", _key(b"k" * 400_000)),
        "no type": ("bad_header", _header("ce_type", None)),
        "empty type": ("unknown_type", _header("ce_type", b"")),
        "unknown type": ("unknown_type", _header("ce_type", b"order.OrderEaten.v1")),
        "unknown version": (
            "unknown_type",
            lambda draft: draft.with_header("ce_type", dict(draft.headers)["ce_type"][:-1] + b"99"),
        ),
        "type with a blank": (
            "unknown_type",
            lambda draft: draft.with_header("ce_type", dict(draft.headers)["ce_type"] + b" "),
        ),
        "type without UTF-8": ("bad_header", _header("ce_type", b"\xff")),
        "type with NUL": ("unknown_type", _header("ce_type", b"order\x00.OrderCreated.v1")),
        "huge type": ("unknown_type", _header("ce_type", b"t" * 100_000)),
        "type twice": ("bad_header", _twice("ce_type")),
        "id twice": ("bad_header", _twice("ce_id")),
        "no headers at all": ("bad_header", lambda draft: replace(draft, headers=())),
        "no id": ("bad_header", _header("ce_id", None)),
        "empty id": ("bad_header", _header("ce_id", b"")),
        "id is no UUID": ("bad_header", _header("ce_id", b"1")),
        "id is a UUIDv4": ("bad_header", _header("ce_id", b"3f0e2b6e-9c1f-4a53-8a7a-111111111111")),
        "id is nil": ("bad_header", _header("ce_id", b"00000000-0000-0000-0000-000000000000")),
        "id lies ahead": ("bad_header", _header("ce_id", AHEAD)),
        "no specversion": ("bad_header", _header("ce_specversion", None)),
        "specversion 0.3": ("bad_header", _header("ce_specversion", b"0.3")),
        "no time": ("bad_header", _header("ce_time", None)),
        "time is no time": ("bad_header", _header("ce_time", b"yesterday")),
        "time without zone": ("bad_header", _header("ce_time", b"2026-01-02T03:04:05")),
        "time after the last year": ("bad_header", _header("ce_time", b"9999-12-31T23:59:59-23:59")),
        "time before the first year": ("bad_header", _header("ce_time", b"0001-01-01T00:00:00+23:59")),
        "saga is no UUID": ("bad_header", _header("saga_id", b"saga")),
        "attempt is no number": ("bad_header", _header("attempt", b"one")),
        "attempt is negative": ("bad_header", _header("attempt", b"-1")),
        "attempt is huge": ("bad_header", _header("attempt", b"9999999999")),
        "attempt in other digits": ("bad_header", _header("attempt", "\u0661".encode())),
        "step with NUL": ("bad_header", _header("step", b"reserve\x00inventory")),
        "step without UTF-8": ("bad_header", _header("step", b"\xff\xff")),
        "huge step": ("bad_header", _header("step", b"s" * 100_000)),
        "huge strange header": ("bad_header", _header("ce_time", b"h" * 700_000)),
        "a thousand headers": (
            "bad_header",
            lambda draft: replace(draft, headers=(("x", b"y"),) * 1_000),
        ),
    }
)
"""What is wrong on any topic, for whoever has a route for the record's type; by what is wrong with it."""

OF_TYPE: Final[Mapping[str, tuple[tuple[str, Spoil], ...]]] = MappingProxyType(
    {
        "order_saga.SagaCreateOrder.v1": (
            ("no lines", _field("lines", [])),
            ("51 lines", _field("lines", [{"product_id": NOBODY, "quantity": 1}] * 51)),
            ("quantity 0", _field("lines", [{"product_id": NOBODY, "quantity": 0}])),
            ("quantity -1", _field("lines", [{"product_id": NOBODY, "quantity": -1}])),
            ("quantity 1001", _field("lines", [{"product_id": NOBODY, "quantity": 1_001}])),
            ("quantity 1.5", _field("lines", [{"product_id": NOBODY, "quantity": 1.5}])),
            ("quantity as text", _field("lines", [{"product_id": NOBODY, "quantity": "1"}])),
            ("quantity true", _field("lines", [{"product_id": NOBODY, "quantity": True}])),
            ("no user", lambda draft: draft.without_field("user_id")),
        ),
        "order_saga.SagaCancelOrder.v1": (("reason with NUL", _field("reason", "a\x00b")),),
        "order.CreateOrder.v1": (("user is no UUID", _field("user_id", "me")),),
        "order.CancelOrder.v1": (
            ("reason is a number", _field("reason", 1)),
            ("reason with NUL", _field("reason", "\x00")),
        ),
        "order.OrderCompleted.v1": (
            ("total is a number", _field("total", 4_448)),
            ("total is negative", _field("total", {"amount_minor": -1, "currency": "EUR"})),
            ("total past 2^53", _field("total", {"amount_minor": 2**53, "currency": "EUR"})),
            ("total is a float", _field("total", {"amount_minor": 44.48, "currency": "EUR"})),
            ("currency in small letters", _field("total", {"amount_minor": 1, "currency": "eur"})),
            ("currency of four", _field("total", {"amount_minor": 1, "currency": "EURO"})),
            ("a line without a price", _field("lines", [{"product_id": NOBODY, "quantity": 1, "name": "x"}])),
        ),
        "product.ValidateProducts.v1": (("lines is an object", _field("lines", {})),),
        "product.ProductsValidated.v1": (("no total", lambda draft: draft.without_field("total")),),
        "inventory.ReserveInventory.v1": (("product is no UUID", _field("lines", [{"product_id": 1}])),),
        "inventory.InventoryReserveFailed.v1": (("shortages is null", _field("shortages", None)),),
        "payment.ProcessPayment.v1": (
            (
                "amount 1e400",
                lambda draft: replace(draft, value=(draft.value or b"").replace(b"4448", b"1e400")),
            ),
            ("amount as text", _field("amount", {"amount_minor": "1", "currency": "EUR"})),
        ),
        "payment.PaymentRefunded.v1": (("was_captured as text", _field("was_captured", "yes")),),
    }
)
"""What is wrong with the payload of one type: all of it dies as an invalid payload."""

assert set(OF_TYPE) <= set(CONTRACTS)
