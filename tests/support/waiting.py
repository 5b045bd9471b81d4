"""Waiting in tests: ask until the answer is there, never sleep and hope."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def eventually(
    ask: Callable[[], Awaitable[T | None]], *, within: float = 30.0, every: float = 0.02, what: str = ""
) -> T:
    """The first answer of `ask` that is neither None nor False; asked again after `every` seconds.

    An AssertionError that `ask` raises means "not yet"; the last one is the test's failure when
    `within` seconds are over.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within
    while True:
        not_yet: AssertionError | None = None
        answer: T | None = None
        try:
            answer = await ask()
        except AssertionError as error:
            not_yet = error
        if answer is not None and answer is not False:
            return answer
        if loop.time() >= deadline:
            raise AssertionError(
                f"{what or ask} not within {within:.0f} s; last: {not_yet or answer}"
            ) from not_yet
        await asyncio.sleep(every)
