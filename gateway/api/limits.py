"""What every request passes through: size, time, rate and the headers that every answer carries."""

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.domain.preferences import wait_seconds
from gateway.settings import GatewaySettings
from libs.service import problems
from libs.service.auth import Guard
from libs.service.problems import Problem

MAX_BUCKETS: Final = 100_000
EVENTS: Final = "/events"
QUIET_PATHS: Final = frozenset({"/livez", "/readyz", "/metrics"})
SECURITY_HEADERS: Final = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
"""On every answer that does not say otherwise by itself."""
TRANSPORT_SECURITY: Final = (b"strict-transport-security", b"max-age=63072000; includeSubDomains")


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


@dataclass(frozen=True, slots=True)
class Taken:
    """What a bucket said: whether there was a token, how many are left, when it is full, when the next one comes."""

    granted: bool
    left: int
    full_in: int
    next_in: int


class TokenBuckets:
    """One bucket for each name; it holds `burst` tokens and gets `rate` a second."""

    def __init__(self, rate: float, burst: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._buckets: dict[str, _Bucket] = {}

    def take(self, name: str) -> Taken:
        """Take a token, if there is one."""
        now = self._clock()
        bucket = self._buckets.pop(name, None) or _Bucket(self._burst, now)
        bucket.tokens = min(self._burst, bucket.tokens + (now - bucket.at) * self._rate)
        bucket.at = now
        granted = bucket.tokens >= 1
        if granted:
            bucket.tokens -= 1
        while len(self._buckets) >= MAX_BUCKETS:
            del self._buckets[next(iter(self._buckets))]
        self._buckets[name] = bucket
        return Taken(
            granted,
            int(bucket.tokens),
            math.ceil((self._burst - bucket.tokens) / self._rate),
            max(1, math.ceil((1 - bucket.tokens) / self._rate)),
        )

    @property
    def policy(self) -> str:
        """The quota and its window, as in RateLimit-Policy."""
        return f"q={self._burst};w={math.ceil(self._burst / self._rate)}"


class Limits:
    """The gateway's outermost layer."""

    def __init__(self, app: ASGIApp, settings: GatewaySettings, guard: Guard) -> None:
        self._app = app
        self._settings = settings
        self._guard = guard
        self._by_user = TokenBuckets(settings.user_requests_per_second, settings.user_burst)
        self._by_address = TokenBuckets(settings.address_requests_per_second, settings.address_burst)
        self._headers = [*SECURITY_HEADERS, *([TRANSPORT_SECURITY] if settings.profile == "prod" else [])]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in QUIET_PATHS:
            await self._app(scope, receive, send)
            return
        answer = _Answer(send, self._headers)
        try:
            if self._settings.limits_rates:
                answer.add(await self._take_tokens(scope))
            async with asyncio.timeout(self._seconds(scope)):
                await self._app(scope, _Counted(scope, receive, self._settings.max_body_bytes), answer)
        except Problem as problem:
            await problems.response(problem, scope)(scope, receive, answer)
        except ClientDisconnect:
            return
        except TimeoutError:
            if answer.started:
                raise
            late = Problem(503, "timeout", "This took too long. Try again.", headers={"Retry-After": "1"})
            await problems.response(late, scope)(scope, receive, answer)

    def _seconds(self, scope: Scope) -> float | None:
        """How long the answer may take; a stream as long as it likes."""
        if scope["path"].endswith(EVENTS):
            return None
        prefer = [value.decode("latin-1") for name, value in scope["headers"] if name == b"prefer"]
        waits = wait_seconds(prefer, self._settings.max_wait_seconds) if prefer else None
        return self._settings.request_seconds + (waits or 0)

    async def _take_tokens(self, scope: Scope) -> list[tuple[bytes, bytes]]:
        """Take from the address's bucket, then from the user's; the headers that say how much is left."""
        taken = self._by_address.take(self._address(scope))
        name, policy = "address", self._by_address.policy
        if taken.granted and (user := await self._user(scope)) is not None:
            taken = self._by_user.take(user)
            name, policy = "user", self._by_user.policy
        fields = [
            (b"ratelimit-policy", f'"{name}";{policy}'.encode()),
            (b"ratelimit", f'"{name}";r={taken.left};t={taken.full_in}'.encode()),
        ]
        if not taken.granted:
            headers = {key.decode(): value.decode() for key, value in fields}
            headers["Retry-After"] = str(taken.next_in)
            raise Problem(429, "too_many_requests", "Too many requests. Slow down.", headers=headers)
        return fields

    async def _user(self, scope: Scope) -> str | None:
        if not any(name == b"authorization" for name, _ in scope["headers"]):
            return None
        try:
            return str((await self._guard.signed_in(Request(scope))).user_id)
        except Problem:
            return None

    def _address(self, scope: Scope) -> str:
        """Who sent it: the peer, or the last address in X-Forwarded-For that is no proxy of ours."""
        peer = scope["client"][0] if scope.get("client") else ""
        if peer in self._settings.trusted_proxies:
            given = [
                value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for"
            ]
            hops = [hop.strip() for hop in ",".join(given).split(",") if hop.strip()]
            return next((hop for hop in reversed(hops) if hop not in self._settings.trusted_proxies), peer)
        return str(peer)


class _Counted:
    """Counts a body on the wire, and ends a request whose body is too large."""

    def __init__(self, scope: Scope, receive: Receive, at_most: int) -> None:
        self._receive = receive
        self._left = at_most
        self._at_most = at_most
        announced = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if announced.isdigit() and int(announced) > at_most:
            raise self._too_large()

    async def __call__(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._left -= len(message.get("body", b""))
            if self._left < 0:
                raise self._too_large()
        return message

    def _too_large(self) -> Problem:
        detail = f"The body may have {self._at_most} bytes."
        return Problem(413, "body_too_large", detail, headers={"Connection": "close"})


class _Answer:
    """Adds headers to the answer, and knows whether it has begun."""

    def __init__(self, send: Send, headers: list[tuple[bytes, bytes]]) -> None:
        self._send = send
        self._headers = list(headers)
        self.started = False

    def add(self, headers: list[tuple[bytes, bytes]]) -> None:
        self._headers += headers

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            present = {name.lower() for name, _ in message["headers"]}
            message["headers"] = [
                *message["headers"],
                *(header for header in self._headers if header[0] not in present),
            ]
        await self._send(message)


def with_cors(app: ASGIApp, origins: tuple[str, ...]) -> ASGIApp:
    """The application for browsers on these origins too."""
    if not origins:
        return app
    return CORSMiddleware(
        app,
        allow_origins=origins,
        allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
        allow_headers=[
            "Authorization",
            "Content-Type",
            "Idempotency-Key",
            "Prefer",
            "Last-Event-ID",
            "traceparent",
        ],
        expose_headers=[
            "Location",
            "Retry-After",
            "Idempotency-Replayed",
            "Preference-Applied",
            "Link",
            "RateLimit",
            "RateLimit-Policy",
            "WWW-Authenticate",
        ],
        max_age=600,
    )
