"""An order's events as a stream (server-sent events), passed on from order_history."""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncGenerator, Iterator
from contextlib import AbstractAsyncContextManager, aclosing, contextmanager
from typing import Annotated, Final

import httpx
from fastapi import APIRouter, Depends, Header, Path
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.api.gate import Caller, Gate
from gateway.api.history import find
from gateway.api.strict import Id, StrictRoute
from gateway.api.upstream import headers, trace_of
from gateway.domain.orders import TERMINAL
from gateway.store import intents
from libs.contracts.values import OrderId, UserId
from libs.service.problems import Problem
from libs.service.trust import trust

KEEP_ALIVE: Final = b": keep-alive\n\n"
RETRY: Final = b"retry: 1000\n\n"
FIRST_PAUSE_SECONDS: Final = 0.1
MAX_PAUSE_SECONDS: Final = 2.0
SILENCE_SECONDS: Final = 60.0
"""After so long without even a keep-alive the read model is taken for gone, and the client asks again."""

_COMES_BACK: Final = frozenset({200, 404, 500, 502, 503, 504})
"""What the read model may answer while it starts or has not seen the order; anything else ends the stream."""
_EVENT_ID: Final = re.compile(r"[0-9A-Za-z-]{1,100}")
_ID_LINE: Final = re.compile(rb"(?:^|\n)id: ([^\n]+)\n(?!.*\nid: )", re.DOTALL)

OrderPath = Annotated[Id, Path(description="the order's id")]


class Streams:
    """How many streams each user has open."""

    def __init__(self, per_user: int) -> None:
        self._per_user = per_user
        self._open: Counter[UserId] = Counter()

    def check(self, user_id: UserId) -> None:
        """Raise 429 for one too many."""
        if self._open[user_id] >= self._per_user:
            detail = f"At most {self._per_user} streams may be open at a time."
            raise Problem(429, "too_many_streams", detail, headers={"Retry-After": "5"})

    @contextmanager
    def one(self, user_id: UserId) -> Iterator[None]:
        """Count a stream while it is open."""
        self._open[user_id] += 1
        try:
            yield
        finally:
            self._open[user_id] -= 1
            if not self._open[user_id]:
                del self._open[user_id]


class EventStream(Response):
    """Sends what its source gives, until that ends, the client leaves, or the gateway stops."""

    media_type = "text/event-stream"

    def __init__(
        self,
        source: AsyncGenerator[bytes, None],
        *,
        stopping: asyncio.Event,
        streams: Streams,
        user_id: UserId,
    ) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._source = source
        self._stopping = stopping
        self._streams = streams
        self._user_id = user_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        with self._streams.one(self._user_id):
            async with asyncio.TaskGroup() as group:
                ends = [
                    group.create_task(self._pump(send)),
                    group.create_task(_left(receive)),
                    group.create_task(self._stop()),
                ]
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                for end in ends:
                    end.cancel()
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _pump(self, send: Send) -> None:
        async with aclosing(self._source) as chunks:
            async for chunk in chunks:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})

    async def _stop(self) -> None:
        await self._stopping.wait()


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def router(gate: Gate) -> APIRouter:
    """GET /api/orders/{order_id}/events."""
    routes = APIRouter(route_class=StrictRoute, tags=["orders"])
    streams = Streams(gate.settings.streams_per_user)
    unlimited = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    client = httpx.AsyncClient(limits=unlimited, verify=trust())

    @routes.get(
        "/api/orders/{order_id}/events",
        operation_id="streamOrderEvents",
        status_code=200,
        response_class=EventStream,
    )
    async def stream_events(
        order_id: OrderPath,
        request: Request,
        caller: Annotated[Caller, Depends(gate.user)],
        last_event_id: Annotated[str | None, Header(alias="Last-Event-ID", max_length=100)] = None,
    ) -> Response:
        """The order's timeline as it comes; ends when the order has ended."""
        known = await intents.of_order(gate.database, OrderId(order_id), caller.user_id)
        await find(gate, request, caller, OrderId(order_id), known)
        streams.check(caller.user_id)
        feed = _Feed(gate, request, caller, OrderId(order_id), client, last_event_id)
        return EventStream(
            feed.entries(), stopping=gate.runtime.stopping, streams=streams, user_id=caller.user_id
        )

    return routes


class _Feed:
    """The read model's stream of one order, taken up again where it broke off, until the order has ended.

    While the read model does not know the order yet, or is away, there are signs of life. An order that was
    completed and is being cancelled has not ended.
    """

    def __init__(
        self,
        gate: Gate,
        request: Request,
        caller: Caller,
        order_id: OrderId,
        client: httpx.AsyncClient,
        seen: str | None,
    ) -> None:
        self._gate = gate
        self._request = request
        self._caller = caller
        self._order_id = order_id
        self._client = client
        self._seen = seen if seen is not None and _EVENT_ID.fullmatch(seen) else None

    async def entries(self) -> AsyncGenerator[bytes, None]:
        """Chunks of the stream."""
        yield RETRY
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                async with self._open() as upstream:
                    if upstream.status_code not in _COMES_BACK:
                        return
                    if upstream.is_success:
                        pause = FIRST_PAUSE_SECONDS
                        async for event in _events(upstream):
                            self._see(event)
                            yield event
                        if await self._has_ended():
                            return
            except httpx.HTTPError as error:
                self._gate.runtime.log.info("stream.broken", order_id=str(self._order_id), error=repr(error))
            yield KEEP_ALIVE
            await asyncio.sleep(pause)
            pause = min(pause * 2, MAX_PAUSE_SECONDS)

    def _open(self) -> AbstractAsyncContextManager[httpx.Response]:
        asked = headers(self._caller.token, trace_of(self._request)) | {"accept": "text/event-stream"}
        if self._seen is not None:
            asked["last-event-id"] = self._seen
        url = self._gate.upstream.url("order_history", f"/orders/{self._order_id}/events")
        return self._client.stream(
            "GET", url, headers=asked, timeout=httpx.Timeout(2.0, read=SILENCE_SECONDS)
        )

    def _see(self, event: bytes) -> None:
        if match := _ID_LINE.search(event):
            self._seen = match[1].decode("ascii", "ignore")

    async def _has_ended(self) -> bool:
        known = await intents.of_order(self._gate.database, self._order_id, self._caller.user_id)
        try:
            order = await find(self._gate, self._request, self._caller, self._order_id, known)
        except Problem as problem:
            return problem.status != httpx.codes.SERVICE_UNAVAILABLE
        return order["status"] in TERMINAL


async def _events(upstream: httpx.Response) -> AsyncGenerator[bytes, None]:
    """Whole events, however the network cut them."""
    rest = b""
    async for chunk in upstream.aiter_raw():
        whole, mark, rest = (rest + chunk).rpartition(b"\n\n")
        if mark:
            yield whole + mark
