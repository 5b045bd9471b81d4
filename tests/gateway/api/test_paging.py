"""Page tokens: opaque, signed, and good for one list with one set of filters."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.api.paging import PageTokens, next_link
from libs.service.problems import Problem

TOKENS = PageTokens(b"k" * 32)
FILTERS = {"status": "pending", "min_total": None, "sort": "-created_at"}

places = st.recursive(
    st.none() | st.text(max_size=20) | st.integers(0, 2**53), lambda inner: st.lists(inner, max_size=4)
)


@given(place=places, scope=st.text(max_size=10))
def test_a_token_leads_back_to_its_place(place: object, scope: str) -> None:
    token = TOKENS.make(scope, FILTERS, place)
    assert TOKENS.read(scope, FILTERS, token) == place
    assert token.isascii()
    assert not set(token) & set("+/=&?# ")


def test_filters_that_are_not_set_make_no_difference() -> None:
    token = TOKENS.make("orders", {"status": "pending", "q": None}, "x")
    assert TOKENS.read("orders", {"status": "pending"}, token) == "x"


@pytest.mark.parametrize(
    ("scope", "filters", "key"),
    [
        ("products", FILTERS, b"k" * 32),
        ("orders", {**FILTERS, "status": "completed"}, b"k" * 32),
        ("orders", {**FILTERS, "min_total": 0}, b"k" * 32),
        ("orders", {}, b"k" * 32),
        ("orders", FILTERS, b"l" * 32),
    ],
)
def test_it_is_good_for_its_own_list_only(
    scope: str, filters: dict[str, str | int | None], key: bytes
) -> None:
    token = TOKENS.make("orders", FILTERS, "place")
    with pytest.raises(Problem) as refused:
        PageTokens(key).read(scope, filters, token)
    assert (refused.value.status, refused.value.errors[0].code) == (422, "page_token_invalid")


def test_every_flipped_bit_is_noticed() -> None:
    raw = base64.urlsafe_b64decode(TOKENS.make("orders", FILTERS, ["a", 1]) + "==")
    for bit in range(len(raw) * 8):
        changed = bytearray(raw)
        changed[bit // 8] ^= 1 << bit % 8
        token = base64.urlsafe_b64encode(changed).rstrip(b"=").decode()
        with pytest.raises(Problem):
            TOKENS.read("orders", FILTERS, token)


@pytest.mark.parametrize("token", ["", "a", "AAAA", "====", "nonsense!", "ünïcode", "A" * 5_000, "\x00"])
def test_what_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(Problem):
        TOKENS.read("orders", FILTERS, token)


def test_a_link_names_the_same_list() -> None:
    link = next_link("/api/orders", {"status": "pending", "q": "tea & cake", "min_total": None}, "abc")
    assert link == '</api/orders?status=pending&q=tea+%26+cake&page_token=abc>; rel="next"'
