"""Merging lines, and what makes two requests the same."""

from uuid import uuid4

from gateway.domain.orders import Asked, merged, message, overfull
from libs.contracts.values import Line, PaymentMethodId, ProductId, SagaId, UserId
from libs.messaging.message import Correlation
from tests.support.builders import a_message_id, a_product_id, an_order_id

TEA, CAKE = a_product_id(), a_product_id()


def line(product_id: ProductId, quantity: int) -> Line:
    return Line(product_id=product_id, quantity=quantity)


def asked(*lines: Line, method: PaymentMethodId | None = None) -> Asked:
    return Asked(UserId(uuid4()), method or PaymentMethodId(TEA), lines)


def test_lines_of_one_product_become_one_in_order_of_first_mention() -> None:
    lines = (line(CAKE, 1), line(TEA, 2), line(CAKE, 3))
    assert merged(lines) == (line(CAKE, 4), line(TEA, 2))
    assert merged((line(TEA, 5),)) == (line(TEA, 5),)


def test_the_line_that_goes_past_the_limit_is_named() -> None:
    assert overfull([line(TEA, 1_000), line(CAKE, 1_000)]) == []
    assert overfull([line(TEA, 999), line(CAKE, 5), line(TEA, 1)]) == []
    assert overfull([line(TEA, 999), line(CAKE, 5), line(TEA, 2)]) == [2]
    assert overfull([line(TEA, 600), line(TEA, 600), line(TEA, 600)]) == [1]
    assert overfull([line(TEA, 900), line(TEA, 101), line(CAKE, 900), line(CAKE, 101)]) == [1, 3]


def test_the_same_is_asked_whoever_asks() -> None:
    assert asked(line(TEA, 1)).fingerprint == asked(line(TEA, 1)).fingerprint


def test_every_difference_counts() -> None:
    different = [
        asked(line(TEA, 1)),
        asked(line(TEA, 2)),
        asked(line(CAKE, 1)),
        asked(line(TEA, 1), line(CAKE, 1)),
        asked(line(CAKE, 1), line(TEA, 1)),
        asked(line(TEA, 1), line(TEA, 1)),
        asked(line(TEA, 1), method=PaymentMethodId(CAKE)),
    ]
    assert len({one.fingerprint for one in different}) == len(different)


def test_the_saga_has_the_orders_id() -> None:
    order_id, message_id = an_order_id(), a_message_id()
    command = asked(line(TEA, 1)).as_order(order_id)
    outgoing = message(command, message_id)
    assert (outgoing.body, outgoing.id) == (command, message_id)
    assert outgoing.correlation == Correlation(saga_id=SagaId(order_id))
