"""A socket is registered once for many answers, and what the event loop has lost is found again."""

import asyncio
import socket
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeAlias

import pytest
import uvloop

from libs.outbox.listening import Listening
from tests.support.waiting import eventually

Talk: TypeAlias = Callable[[Listening, socket.socket, socket.socket], Coroutine[Any, Any, None]]


@pytest.fixture(params=[asyncio.run, uvloop.run])
def run(request: pytest.FixtureRequest) -> Iterator[Callable[[Talk], None]]:
    """Runs what is given two ends of a connection, in an event loop of either kind."""
    mine, theirs = socket.socketpair()
    with mine, theirs:
        mine.setblocking(False)
        yield lambda talk: request.param(talk(Listening(), mine, theirs))


async def until(listening: Listening, *, registered: bool) -> None:
    async def as_wanted() -> bool:
        return listening.registered is registered

    await eventually(as_wanted)


def test_it_stays_registered_from_one_answer_to_the_next(run: Callable[[Talk], None]) -> None:
    async def talk(listening: Listening, mine: socket.socket, theirs: socket.socket) -> None:
        for _ in range(3):
            theirs.send(b"x")
            await listening.readable(mine.fileno())
            assert mine.recv(10) == b"x"
            assert listening.registered
        listening.end()
        assert not listening.registered

    run(talk)


def test_what_the_loop_has_forgotten_is_registered_anew(run: Callable[[Talk], None]) -> None:
    async def talk(listening: Listening, mine: socket.socket, theirs: socket.socket) -> None:
        waiting = asyncio.create_task(listening.readable(mine.fileno()))
        await until(listening, registered=True)
        asyncio.get_running_loop().remove_reader(mine.fileno())
        theirs.send(b"x")
        async with asyncio.timeout(20):
            await waiting
        listening.end()

    run(talk)


def test_a_peer_that_goes_while_nobody_asks_is_forgotten(run: Callable[[Talk], None]) -> None:
    async def talk(listening: Listening, mine: socket.socket, theirs: socket.socket) -> None:
        theirs.send(b"x")
        await listening.readable(mine.fileno())
        mine.recv(10)
        theirs.close()
        await until(listening, registered=False)

    run(talk)
