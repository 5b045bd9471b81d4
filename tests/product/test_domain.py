"""Tries how lines are named and priced: done, refused, repeated, and raced by a change of price."""

import pytest

from libs.contracts.product import ProductsValidated, ProductsValidationFailed, ValidateProducts
from libs.contracts.values import MAX_MINOR, Line, Money, ProductId
from product.domain import Catalogue, Product, clean, validate
from tests.support.builders import a_product_id, an_order_id, euros


def a_product(name: str, cents: int = 1_000, *, currency: str = "EUR", active: bool = True) -> Product:
    return Product(a_product_id(), name, Money(amount_minor=cents, currency=currency), active)


def catalogue(*products: Product) -> Catalogue:
    return Catalogue({product.id: product for product in products})


def asking(*wanted: tuple[ProductId, int]) -> ValidateProducts:
    lines = tuple(Line(product_id=product_id, quantity=quantity) for product_id, quantity in wanted)
    return ValidateProducts(order_id=an_order_id(), lines=lines)


def refused(answer: ProductsValidated | ProductsValidationFailed) -> ProductsValidationFailed:
    assert isinstance(answer, ProductsValidationFailed)
    return answer


def test_every_line_is_named_and_priced_in_its_place() -> None:
    tea, cup = a_product("Tea", 350), a_product("Cup", 1_200)
    answer = validate(catalogue(cup, tea), asking((tea.id, 3), (cup.id, 1), (tea.id, 1)))
    assert isinstance(answer, ProductsValidated)
    assert [(line.name, line.price, line.quantity) for line in answer.lines] == [
        ("Tea", euros(350), 3),
        ("Cup", euros(1_200), 1),
        ("Tea", euros(350), 1),
    ]
    assert answer.total == euros(2_600)


def test_unknown_products_are_named_by_their_ids_once() -> None:
    tea, first, second = a_product("Tea"), a_product_id(), a_product_id()
    command = asking((first, 1), (tea.id, 1), (second, 1), (first, 2))
    answer = refused(validate(catalogue(tea), command))
    assert answer.order_id == command.order_id
    assert answer.reason_code == "products_unknown"
    assert answer.reason == f"No such product: {first}, {second}."
    assert answer.product_ids == (first, second)


def test_withdrawn_products_are_named() -> None:
    tea, cup, pot = a_product("Tea", active=False), a_product("Cup"), a_product("Pot", active=False)
    answer = refused(validate(catalogue(tea, cup, pot), asking((pot.id, 1), (cup.id, 1), (tea.id, 1))))
    assert answer.reason_code == "products_unavailable"
    assert answer.reason == "No longer on sale: Pot, Tea."
    assert answer.product_ids == (pot.id, tea.id)


def test_unknown_products_are_told_before_withdrawn_ones() -> None:
    tea, unknown = a_product("Tea", active=False), a_product_id()
    answer = refused(validate(catalogue(tea), asking((tea.id, 1), (unknown, 1))))
    assert (answer.reason_code, answer.product_ids) == ("products_unknown", (unknown,))


def test_prices_in_several_currencies_do_not_add_up() -> None:
    tea, cup = a_product("Tea"), a_product("Cup", currency="USD")
    answer = refused(validate(catalogue(tea, cup), asking((tea.id, 1), (cup.id, 1))))
    assert answer.reason_code == "products_unavailable"
    assert answer.reason == (
        "Products priced in different currencies cannot be ordered together: Tea in EUR, Cup in USD."
    )
    assert answer.product_ids == (tea.id, cup.id)


def test_a_total_may_be_as_high_as_money_goes_and_no_higher() -> None:
    gold, tea = a_product("Gold", MAX_MINOR), a_product("Tea", 1)
    highest = validate(catalogue(gold, tea), asking((gold.id, 1)))
    assert isinstance(highest, ProductsValidated)
    assert highest.total == euros(MAX_MINOR)
    for command in (asking((gold.id, 1), (tea.id, 1)), asking((gold.id, 2))):
        answer = refused(validate(catalogue(gold, tea), command))
        assert answer.reason_code == "products_unavailable"
        assert answer.reason.startswith("The order's total is more than can be charged at once: Gold")


def test_a_repeat_is_answered_by_the_catalogue_as_it_is_then() -> None:
    tea = a_product("Tea", 350)
    command = asking((tea.id, 2))
    assert validate(catalogue(tea), command) == validate(catalogue(tea), command)
    dearer = Product(tea.id, "Green tea", euros(400), active=True)
    answer = validate(catalogue(dearer), command)
    assert isinstance(answer, ProductsValidated)
    assert (answer.lines[0].name, answer.total) == ("Green tea", euros(800))


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [("  Tea ", "Tea"), ("Cafe\u0301", "Caf\u00e9"), ("\u00a0Tee\u3000", "Tee"), (" ", "")],
)
def test_a_name_is_trimmed_and_normalised(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned


@pytest.mark.parametrize("character", ["\x00", "\n", "\x7f", "\u202e", "\u2066", "\u2028", "\ud800"])
def test_a_name_shows_as_it_reads(character: str) -> None:
    with pytest.raises(ValueError, match=rf"U\+{ord(character):04X}"):
        clean(f"Te{character}a")
