"""The services behind the gateway, asked over HTTP with the caller's own token."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn, TypeAlias

import httpx
import orjson
from starlette.requests import Request

from gateway.settings import GatewaySettings
from libs.service.problems import Fault, Problem, trace_id

JsonObject: TypeAlias = dict[str, Any]
Query: TypeAlias = Mapping[str, str | int | None]

_CLIENT_ERROR: Final = 400
_PASSED_ON: Final = frozenset({403, 404, 409, 422, 429})
"""What a service says of the request itself; anything else is between the gateway and the service."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request to a service; `token` is the caller's, or none for what everybody may see."""

    service: str
    method: str
    path: str
    query: Query | None = None
    token: str | None = None
    body: object | None = None
    headers: Mapping[str, str] | None = None
    seconds: float | None = None
    trace: str | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """What a service answered, when it could do what was asked."""

    status: int
    body: JsonObject
    headers: Mapping[str, str]


class Upstream:
    """Asks the services. A service that is away, late or broken becomes 503 `upstream_unavailable`."""

    def __init__(self, http: httpx.AsyncClient, settings: GatewaySettings) -> None:
        self._http = http
        self._seconds = settings.upstream_seconds
        self._urls: Final[Mapping[str, str]] = {
            "product": settings.product_url,
            "inventory": settings.inventory_url,
            "payment": settings.payment_url,
            "order_history": settings.order_history_url,
        }

    async def ask(self, call: Call) -> Reply:
        """The service's answer; raises Problem with what it said against the request."""
        response = await self._send(call)
        if response.status_code >= _CLIENT_ERROR:
            _refuse(call.service, response)
        try:
            body = orjson.loads(response.content) if response.content else {}
        except orjson.JSONDecodeError as error:
            raise away(call.service) from error
        return Reply(response.status_code, body, response.headers)

    def url(self, service: str, path: str) -> str:
        """Where something of a service is."""
        return self._urls[service] + path

    async def _send(self, call: Call) -> httpx.Response:
        """Send; a read whose connection broke is sent once more, for the service may just have restarted."""
        request = self._http.build_request(
            call.method,
            self.url(call.service, call.path),
            params={name: str(value) for name, value in (call.query or {}).items() if value is not None},
            headers=headers(call.token, call.trace) | dict(call.headers or {}),
            content=None if call.body is None else orjson.dumps(call.body),
            timeout=httpx.Timeout(call.seconds or self._seconds, connect=2.0),
        )
        try:
            try:
                return await self._http.send(request)
            except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
                if call.method != "GET":
                    raise
                return await self._http.send(request)
        except httpx.TransportError as error:
            raise away(call.service) from error


def headers(token: str | None, trace: str | None) -> dict[str, str]:
    """The headers of a request to a service."""
    given = {"accept": "application/json", "content-type": "application/json"}
    if token is not None:
        given["authorization"] = f"Bearer {token}"
    if trace is not None:
        given["traceparent"] = trace
    return given


def trace_of(request: Request) -> str:
    """The trace parent that a request's calls to the services carry."""
    known = trace_id(request.scope)
    return f"00-{known}-{known[16:]}-00"


def away(service: str) -> Problem:
    """503: the service cannot be asked right now."""
    return Problem(
        503,
        "upstream_unavailable",
        f"The {service} service does not answer right now. Try again.",
        headers={"Retry-After": "1"},
    )


def _refuse(service: str, response: httpx.Response) -> NoReturn:
    """Pass on what a service says against the request; everything else is its absence."""
    if response.status_code not in _PASSED_ON:
        raise away(service)
    try:
        told = orjson.loads(response.content)
        faults = [
            Fault(one["pointer"], one["detail"], one["code"], one.get("in", "body"))
            for one in told.get("errors") or ()
        ]
        raise Problem(response.status_code, told["code"], told["detail"], told.get("title"), faults)
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise away(service) from error
