"""Tries the meeting of an order's end with the answer to its POST, whichever comes first."""

from uuid import uuid4

from bench.watch import Ends


async def test_the_end_comes_after_the_answer() -> None:
    ends, order = Ends(), uuid4()
    future = ends.of(order)
    assert not future.done()
    ends.saw(order, 12.5)
    assert await future == 12.5


async def test_the_end_comes_before_the_answer() -> None:
    ends, order = Ends(), uuid4()
    ends.saw(order, 12.5)
    assert await ends.of(order) == 12.5


async def test_an_end_told_twice_or_given_up_is_no_error() -> None:
    ends, order = Ends(), uuid4()
    future = ends.of(order)
    future.cancel()
    ends.saw(order, 1.0)
    ends.saw(order, 2.0)
    assert await ends.of(order) == 2.0
