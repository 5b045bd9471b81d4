"""Accounts and money that cannot be as they are asked for."""

import json
from collections.abc import Iterator
from functools import partial

from tests.gateway.api.bad_input.case import Case, invalid


def accounts() -> Iterator[Case]:
    good = {"name": "Ada", "email": "ada-bad-input@example.com", "password": "difference-engine-2"}

    def case(name: str, field: str, value: object, code: str) -> Case:
        body = {key: what for key, what in {**good, field: value}.items() if what is not ...}
        return invalid("POST", "/auth/register", f"register: {name}", body, f"#/{field}", code)

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
        yield invalid("PATCH", "/auth/profile", f"profile: {name}", body, pointer, code)


def money() -> Iterator[Case]:
    deposit = partial(invalid, "POST", "/api/wallet/deposits", headers={"Idempotency-Key": "bad-input"})
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
        amount: dict[str, object] = {"amount_minor": value, "currency": "EUR"}
        yield deposit(f"deposit {value!r}", {"amount": amount}, "#/amount/amount_minor", code)
    for currency in ("USD", "eur", "EURO", "", None, "€"):
        amount = {"amount_minor": 1, "currency": currency}
        yield deposit(f"deposit in {currency!r}", {"amount": amount}, "#/amount/currency", "literal_error")
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
        yield invalid("POST", "/api/payment-methods", f"card: {name}", body, pointer, code)
