"""State machines of Hypothesis whose rules ask a real database."""

import asyncio
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from typing import Any, ClassVar, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from tests.support.databases import Database

T = TypeVar("T")


class DatabaseMachine(RuleBasedStateMachine):
    """A machine with a database; all its examples share it, so each works on keys of its own."""

    database: ClassVar[Database]
    loop: ClassVar[asyncio.AbstractEventLoop]

    @classmethod
    async def open(cls, stack: AsyncExitStack) -> None:
        """Open what all examples use; the stack closes it after the last one."""

    def wait_for(self, work: Coroutine[Any, Any, T]) -> T:
        """What comes of it: a machine's rules are plain functions."""
        return self.loop.run_until_complete(work)


async def run_machine(
    machine: type[DatabaseMachine], database: Database, *, examples: int, steps: int
) -> None:
    """Try a machine, with the same examples each time, in a thread with a loop of its own."""
    budget = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    await asyncio.to_thread(_run, machine, database, budget)


def _run(machine: type[DatabaseMachine], database: Database, budget: settings) -> None:
    with asyncio.Runner() as runner:
        machine.database, machine.loop = database, runner.get_loop()
        stack = AsyncExitStack()
        runner.run(machine.open(stack))
        try:
            run_state_machine_as_test(machine, settings=budget)
        finally:
            runner.run(stack.aclose())
