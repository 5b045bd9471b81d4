"""A service's HTTP routes on a real database, asked in process, with tokens of any role."""

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Final, TypeVar
from uuid import uuid4

import httpx
from joserfc import jwt
from joserfc.jwk import OKPKey

from libs.contracts.values import UserId
from libs.service.auth import ALGORITHM, AUDIENCE, EDDSA, ISSUER, OPERATOR, TOKEN_TYPE, Keys
from libs.service.host import Host
from libs.service.http import build
from libs.service.service import Service
from tests.support.builders import a_user_id
from tests.support.databases import Database

State = TypeVar("State")

_KEY: Final = OKPKey.generate_key("Ed25519", {"kid": "test"})


class TestKeys:
    """The public key that the tests' tokens are signed for."""

    __test__ = False

    async def keys(self) -> Keys:
        return {"test": _KEY}

    async def keys_for(self, kid: str) -> Keys:
        return {"test": _KEY}


def bearer(*roles: str, user_id: UserId | None = None) -> Mapping[str, str]:
    """The header of a request by somebody with these roles."""
    now = int(time.time())
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": str(user_id or a_user_id()),
        "iat": now,
        "exp": now + 60,
        "jti": uuid4().hex,
        "roles": list(roles),
    }
    header = {"alg": ALGORITHM, "kid": "test", "typ": TOKEN_TYPE}
    return {"Authorization": f"Bearer {jwt.encode(header, claims, _KEY, registry=EDDSA)}"}


def as_operator() -> Mapping[str, str]:
    """The header of a request by an operator."""
    return bearer(OPERATOR)


@asynccontextmanager
async def asked(service: Service[State], database: Database) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the service's routes; nothing of the service runs but what a request needs."""
    known = replace(service, keys=lambda _database: TestKeys())
    settings = known.settings(database_url=database.runtime_dsn)
    runtime = Host(known, settings).runtime
    await runtime.database.open()
    try:
        # What a route raises is answered, as it would be by the server, and not handed to the test.
        app = httpx.ASGITransport(build(known, runtime, list), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=app, base_url=f"http://{service.name}") as client:
            yield client
    finally:
        await runtime.http.aclose()
        await runtime.database.close()
