"""Tries the load generator's HTTP client on a server that answers in small pieces and closes when it likes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from bench.http import Client, ConnectionLostError

Answer = Callable[[int, asyncio.StreamWriter], None]


@asynccontextmanager
async def server(answer: Answer) -> AsyncIterator[str]:
    """A server that reads a request's head and body, and lets `answer` write; it numbers the requests."""
    seen = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                await reader.readexactly(length)
                seen += 1
                answer(seen, writer)
                if writer.is_closing():
                    return
        except asyncio.IncompleteReadError:
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        port = listening.sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"


def write(writer: asyncio.StreamWriter, body: bytes, *headers: bytes) -> None:
    lines = [b"HTTP/1.1 202 Accepted", b"Content-Length: %d" % len(body), *headers]
    writer.write(b"\r\n".join(lines) + b"\r\n\r\n" + body)


async def test_requests_in_a_row_share_one_connection() -> None:
    writers: set[int] = set()

    def answer(number: int, writer: asyncio.StreamWriter) -> None:
        writers.add(id(writer))
        write(writer, b'{"number": %d}' % number, b"Location: /orders/%d" % number)

    async with server(answer) as url:
        client = Client(url)
        answers = [await client.request("POST", "/", body=b"{}") for _ in range(3)]
        client.close()
    assert [response.json() for response in answers] == [{"number": 1}, {"number": 2}, {"number": 3}]
    assert answers[2].headers["location"] == "/orders/3"
    assert answers[0].status == 202
    assert len(writers) == 1


async def test_requests_at_once_have_a_connection_each() -> None:
    writers: set[int] = set()

    def answer(_number: int, writer: asyncio.StreamWriter) -> None:
        writers.add(id(writer))
        asyncio.get_running_loop().call_later(0.01, write, writer, b"{}")

    async with server(answer) as url:
        client = Client(url)
        await asyncio.gather(*(client.request("GET", "/") for _ in range(5)))
        client.close()
    assert len(writers) == 5


async def test_a_connection_that_the_server_closed_is_replaced() -> None:
    def answer(_number: int, writer: asyncio.StreamWriter) -> None:
        write(writer, b"{}")
        writer.close()

    async with server(answer) as url:
        client = Client(url)
        for _ in range(3):
            assert (await client.request("GET", "/")).status == 202
        client.close()


async def test_a_request_on_a_fresh_connection_that_dies_is_an_error() -> None:
    async with server(lambda _number, writer: writer.close()) as url:
        client = Client(url)
        with pytest.raises(ConnectionLostError):
            await client.request("GET", "/")
        client.close()


async def test_what_must_not_be_repeated_is_not() -> None:
    def answer(number: int, writer: asyncio.StreamWriter) -> None:
        if number == 1:
            write(writer, b"{}")
        else:
            writer.close()

    async with server(answer) as url:
        client = Client(url)
        await client.request("GET", "/")
        with pytest.raises(ConnectionLostError):
            await client.request("POST", "/", body=b"{}", safe_to_repeat=False)
        client.close()


async def test_no_answer_in_time() -> None:
    async with server(lambda _number, _writer: None) as url:
        client = Client(url, timeout_seconds=0.05)
        with pytest.raises(TimeoutError):
            await client.request("GET", "/")
        client.close()
