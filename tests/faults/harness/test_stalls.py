"""What counts as a stall, and how much of a time was one."""

import asyncio
import time

from tests.faults.harness.stalls import Stalls
from tests.support.waiting import eventually


def test_only_what_lies_within_the_time_counts() -> None:
    stalls = Stalls()
    for at, seconds in ((0.0, 2.0), (9.0, 2.0), (19.0, 5.0)):
        stalls.met(at, seconds)
    assert stalls.between(1.0, 20.0) == 1.0 + 2.0 + 1.0
    assert stalls.between(3.0, 8.0) == 0.0


async def test_a_loop_that_was_held_up_is_noticed() -> None:
    stalls = Stalls()

    async def noticed() -> bool:
        return stalls.between(began, time.time()) > 0

    async with asyncio.TaskGroup() as group:
        watching = group.create_task(stalls.watch())
        await asyncio.sleep(0)
        began = time.time()
        while time.time() < began + 0.4:
            sum(range(1_000))  # holds the loop, as a machine does that is busy elsewhere
        await eventually(noticed, within=5, what="a stall that was met")
        watching.cancel()
    assert 0.2 < stalls.between(began, time.time()) <= 0.6
