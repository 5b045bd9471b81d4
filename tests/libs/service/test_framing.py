"""What comes on a real socket: bytes that are no HTTP request, and requests one after the other."""

import asyncio
import gc
import json
from collections.abc import AsyncIterator

import pytest
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from libs.service import problems
from libs.service.http import Server, listen, server
from tests.support.waiting import eventually

NOT_FOUND = 404


@pytest.fixture
async def address() -> AsyncIterator[tuple[str, int]]:
    """Where an application without routes listens."""
    app = FastAPI()
    problems.install(app)
    listener = listen("127.0.0.1", 0)
    web: Server = server(app, shutdown_seconds=2)
    serving = asyncio.ensure_future(web.serve(sockets=[listener]))
    yield listener.getsockname()
    web.should_exit = True
    await serving


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\n\r\n",
        b"G@T / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    ],
    ids=["a word", "a version", "NUL", "a method", "a long address", "a length", "a chunk", "two lengths"],
)
async def test_broken_framing_is_a_problem_and_ends_the_connection(
    address: tuple[str, int], sent: bytes
) -> None:
    reader, writer = await asyncio.open_connection(*address)
    writer.write(sent)
    answer = await asyncio.wait_for(reader.read(), timeout=5)
    head, _, body = answer.rpartition(b"\r\n\r\n")
    assert b"HTTP/1.1 400 Bad Request" in head
    assert b"content-type: application/problem+json" in head
    assert b"connection: close" in head
    assert json.loads(body)["code"] == "bad_request"
    writer.close()


async def test_a_request_is_still_answered(address: tuple[str, int]) -> None:
    reader, writer = await asyncio.open_connection(*address)
    writer.write(b"GET /nowhere HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    answer = await asyncio.wait_for(reader.read(), timeout=5)
    assert answer.startswith(b"HTTP/1.1 404 ")
    writer.close()


async def test_a_connection_that_waits_keeps_nothing_of_its_last_request(address: tuple[str, int]) -> None:
    reader, writer = await asyncio.open_connection(*address)
    for _ in range(2):
        writer.write(b"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n")
        assert await _status(reader) == NOT_FOUND
    await eventually(_nothing_kept)
    writer.close()


async def test_a_body_that_comes_behind_the_answer_is_passed_over(address: tuple[str, int]) -> None:
    reader, writer = await asyncio.open_connection(*address)
    for _ in range(2):
        writer.write(b"POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n")
        assert await _status(reader) == NOT_FOUND
        writer.write(b"body")
    writer.close()


async def test_requests_sent_together_are_answered_in_order(address: tuple[str, int]) -> None:
    reader, writer = await asyncio.open_connection(*address)
    writer.write(b"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n" * 3)
    assert [await _status(reader) for _ in range(3)] == [NOT_FOUND] * 3
    writer.close()


async def _status(reader: asyncio.StreamReader) -> int:
    """The next answer's; its body is read, too."""
    head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), timeout=5)).decode().lower()
    length = head.partition("content-length: ")[2].partition("\r\n")[0]
    await asyncio.wait_for(reader.readexactly(int(length)), timeout=5)
    return int(head.split()[1])


async def _nothing_kept() -> bool:
    return not any(isinstance(kept, RequestResponseCycle) for kept in gc.get_objects())
