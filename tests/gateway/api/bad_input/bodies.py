"""Bodies that cannot be read, are not declared as what they are, are too large, or come without a key."""

import json
from collections.abc import Iterator
from typing import Final

from tests.gateway.api.bad_input.case import EUR_5, ID, Case, order, posting

LIMIT: Final = 65_536


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
        yield posting(f"body {name}", content, "#", "model_type")


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
