"""What the gateway's routes share."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final
from uuid import UUID

import uuid_utils.compat
from fastapi import Query
from joserfc import jwt
from starlette.requests import Request

from gateway.api.hashing import PasswordHashing
from gateway.api.paging import DEFAULT_SIZE, MAX_SIZE, MAX_TOKEN_LENGTH, PageTokens
from gateway.api.upstream import Call, Reply, Upstream, trace_of
from gateway.settings import GatewaySettings
from gateway.store.accounts import Account
from gateway.store.intake import Intake, Limits
from gateway.store.keys import SigningKeys
from gateway.store.sealing import PAGE_TOKENS, REFRESH_TOKENS, derived
from libs.contracts.values import UserId
from libs.service.auth import ALGORITHM, AUDIENCE, EDDSA, ISSUER, SERVICE, TOKEN_TYPE, Principal, bearer
from libs.service.database import Database
from libs.service.runtime import Runtime

GATEWAY_ITSELF: Final = UserId(UUID("00000000-0000-7000-8000-000000000001"))
"""The subject of the gateway's own tokens."""

PageSize = Annotated[int, Query(ge=1, le=MAX_SIZE, description="items on a page")]
PageToken = Annotated[
    str | None, Query(min_length=1, max_length=MAX_TOKEN_LENGTH, description="where the page before ended")
]
DEFAULT_PAGE: Final = DEFAULT_SIZE


class TokenIssuer:
    """Signs access tokens (RFC 9068)."""

    def __init__(self, database: Database, settings: GatewaySettings) -> None:
        self._keys = SigningKeys(database, settings.secret)
        self._settings = settings
        self._own: tuple[str, datetime] | None = None

    async def ready(self) -> None:
        """Make the first key if there is none yet."""
        await self._keys.current()

    async def access_token(self, account: Account, family_id: UUID) -> str:
        """A token for an account's session."""
        return await self._sign(
            account.id, account.role, self._settings.access_token_seconds, sid=str(family_id)
        )

    async def service_token(self) -> str:
        """The gateway's own token, kept until half of its life is over."""
        now = datetime.now(UTC)
        if self._own is None or self._own[1] <= now:
            life = self._settings.service_token_seconds
            token = await self._sign(GATEWAY_ITSELF, SERVICE, life)
            self._own = token, now + timedelta(seconds=life / 2)
        return self._own[0]

    async def _sign(self, subject: UserId, role: str, seconds: int, **more: str) -> str:
        signing = await self._keys.current()
        now = int(datetime.now(UTC).timestamp())
        claims: dict[str, object] = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": str(subject),
            "roles": [role],
            "iat": now,
            "exp": now + seconds,
            "jti": str(uuid_utils.compat.uuid7()),
            **more,
        }
        header = {"alg": ALGORITHM, "kid": signing.kid, "typ": TOKEN_TYPE}
        return jwt.encode(header, claims, signing.key, registry=EDDSA)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, with the token to pass on."""

    principal: Principal
    token: str

    @property
    def user_id(self) -> UserId:
        """Whose request it is."""
        return self.principal.user_id


@dataclass(frozen=True, slots=True)
class Gate:
    """The gateway's parts, made once for each process."""

    runtime: Runtime
    settings: GatewaySettings
    issuer: TokenIssuer
    passwords: PasswordHashing
    upstream: Upstream
    intake: Intake
    pages: PageTokens
    refresh_key: bytes

    @property
    def database(self) -> Database:
        """Where the gateway keeps its rows."""
        return self.runtime.database

    async def ask(self, request: Request, call: Call) -> Reply:
        """Ask a service in the name of the request's sender, in the request's trace."""
        return await self.upstream.ask(replace(call, trace=trace_of(request)))

    async def user(self, request: Request) -> Caller:
        """FastAPI dependency: anyone with a valid token."""
        return Caller(await self.runtime.guard.signed_in(request), bearer(request))

    async def operator(self, request: Request) -> Caller:
        """FastAPI dependency: an operator or an admin."""
        return Caller(await self.runtime.guard.operator(request), bearer(request))


def open_gate(runtime: Runtime) -> Gate:
    """The parts of the gateway that runs in this runtime."""
    settings = runtime.settings
    if not isinstance(settings, GatewaySettings):
        raise TypeError("the gateway runs with GatewaySettings")
    return Gate(
        runtime=runtime,
        settings=settings,
        issuer=TokenIssuer(runtime.database, settings),
        passwords=PasswordHashing(settings.password_threads, settings.password_queue),
        upstream=Upstream(runtime.http, settings),
        intake=Intake(
            runtime.database.transaction,
            runtime.outbox,
            Limits(
                settings.group_size,
                settings.group_wait_seconds,
                settings.group_queue,
                settings.commit_seconds,
                settings.idempotency_seconds,
                settings.shed_look_seconds,
            ),
            count_backlog_to=settings.shed_outbox_rows + 1,
        ),
        pages=PageTokens(derived(settings.secret, PAGE_TOKENS)),
        refresh_key=derived(settings.secret, REFRESH_TOKENS),
    )
