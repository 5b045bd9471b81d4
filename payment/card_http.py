"""The card provider over HTTP; what it answers, and whatever goes wrong on the way, as outcomes."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Annotated, Final

import httpx
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from libs.contracts.values import Money, OrderId
from libs.service.runtime import Runtime
from payment import settings
from payment.provider import Ask, CardProvider, Outcome, Verdict

KEEP_ALIVE_SECONDS: Final = 3.0
"""Shorter than servers keep idle connections, so that none is used that the other side is just closing."""

_VERDICTS: Final[Mapping[Ask, Mapping[str, Verdict]]] = MappingProxyType(
    {
        "charge": {"captured": "captured", "refused": "refused", "voided": "voided", "pending": "pending"},
        "query": {
            "captured": "captured",
            "refused": "refused",
            "voided": "voided",
            "refunded": "refunded",
            "pending": "pending",
            "not_found": "not_found",
        },
        "void": {"voided": "voided", "refunded": "refunded"},
        "refund": {"voided": "voided", "refunded": "refunded"},
    }
)


def _storable(text: str | None) -> str | None:
    return None if text is None else "".join(letter for letter in text if letter.isprintable())[:255]


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")

    status: str
    reference: Annotated[str | None, AfterValidator(_storable)] = None
    reason: Annotated[str | None, AfterValidator(_storable)] = None


class CardOverHttp:
    """The provider port's adapter: every call ends within `timeout_seconds`, sending and reading included."""

    def __init__(self, client: httpx.AsyncClient, timeout_seconds: float) -> None:
        self._client = client
        self._timeout = timeout_seconds

    async def charge(self, order_id: OrderId, amount: Money, token: str) -> Outcome:
        """POST /charges."""
        body = {"idempotency_key": str(order_id), "amount": amount.model_dump(), "token": token}
        return await self._ask("charge", "POST", "/charges", body)

    async def query(self, order_id: OrderId) -> Outcome:
        """GET /charges/{key}."""
        return await self._ask("query", "GET", f"/charges/{order_id}")

    async def void(self, order_id: OrderId) -> Outcome:
        """POST /charges/{key}/void."""
        return await self._ask("void", "POST", f"/charges/{order_id}/void")

    async def refund(self, order_id: OrderId) -> Outcome:
        """POST /charges/{key}/refund."""
        return await self._ask("refund", "POST", f"/charges/{order_id}/refund")

    async def _ask(
        self, ask: Ask, method: str, path: str, body: Mapping[str, object] | None = None
    ) -> Outcome:
        try:
            async with asyncio.timeout(self._timeout):
                response = await self._client.request(method, path, json=body)
        except TimeoutError:
            return Outcome("unknown", reason=f"no answer within {self._timeout:g} s")
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            return Outcome("unknown", reason=f"{type(error).__name__}: {error}", reached=False)
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            return Outcome("unknown", reason=f"{type(error).__name__}: {error}")
        return _read(ask, response)


def _read(ask: Ask, response: httpx.Response) -> Outcome:
    try:
        answer = _Answer.model_validate_json(response.content)
    except ValidationError:
        return Outcome("unknown", reason=f"HTTP {response.status_code} without a readable answer")
    match response.status_code:
        case httpx.codes.OK if answer.status in _VERDICTS[ask]:
            return Outcome(_VERDICTS[ask][answer.status], answer.reference, answer.reason)
        case httpx.codes.CONFLICT if ask in {"void", "refund"} and answer.status == "refused":
            return Outcome("denied", reason=answer.reason)
        case status:
            return Outcome("unknown", reason=f"HTTP {status}: {answer.status} {answer.reason or ''}".rstrip())


@asynccontextmanager
async def connect(runtime: Runtime) -> AsyncIterator[CardProvider]:
    """The provider at CARD_PROVIDER_URL; no connection is made before the first call."""
    given = settings.of(runtime)
    limits = httpx.Limits(max_connections=given.card_calls, keepalive_expiry=KEEP_ALIVE_SECONDS)
    async with httpx.AsyncClient(
        base_url=given.card_provider_url, limits=limits, timeout=given.card_timeout_seconds, trust_env=False
    ) as client:
        yield CardOverHttp(client, given.card_timeout_seconds)
