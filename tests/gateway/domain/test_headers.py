"""Idempotency keys and preferences, as headers have them."""

import pytest

from gateway.domain.idempotency import parse_key
from gateway.domain.preferences import wait_seconds


@pytest.mark.parametrize(
    ("header", "key"),
    [
        ("a", "a"),
        ('"a"', "a"),
        ("8e03978e-40d5-43e8-bc93-6894a57f9324", "8e03978e-40d5-43e8-bc93-6894a57f9324"),
        ("!#$%&'()*+,-./:;<=>?@[]^_`{|}~", "!#$%&'()*+,-./:;<=>?@[]^_`{|}~"),
        ("x" * 255, "x" * 255),
        (f'"{"x" * 255}"', "x" * 255),
        ('a"b', 'a"b'),
        ("back\\slash", "back\\slash"),
    ],
)
def test_keys_bare_and_quoted(header: str, key: str) -> None:
    assert parse_key(header) == key


@pytest.mark.parametrize(
    "header",
    [
        "",
        " ",
        "a b",
        '""',
        '"',
        '"a',
        '"a"b"',
        "x" * 256,
        f'"{"x" * 256}"',
        "é",
        "a\x7f",
        "a\tb",
        "a\x00",
        '"a b"',
        "東",
    ],
)
def test_what_is_no_key(header: str) -> None:
    assert parse_key(header) is None


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ([], None),
        (["wait=5"], 5),
        (["wait=0"], 0),
        (["wait=31"], 30),
        (["wait=999999999"], 30),
        (["respond-async, wait=7"], 7),
        (["respond-async", "wait=7"], 7),
        (["wait=7; foo=bar"], 7),
        (['wait="7"'], 7),
        (["WAIT = 7"], 7),
        (["wait=3, wait=9"], 3),
        (["wait"], None),
        (["wait=-1"], None),
        (["wait=1.5"], None),
        (["wait=ten"], None),
        (["wait=99999999999999999999"], None),
        (["return=minimal"], None),
    ],
)
def test_preferences(headers: list[str], seconds: int | None) -> None:
    assert wait_seconds(headers, 30) == seconds
