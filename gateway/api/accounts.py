"""Accounts: sign up, sign in, refresh, sign out, profile, and the keys that tokens are verified with."""

from datetime import timedelta
from typing import Annotated, Final
from uuid import UUID

import uuid_utils.compat
from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from gateway.api.bodies.accounts import (
    JsonWebKey,
    JsonWebKeys,
    Login,
    Profile,
    ProfileChange,
    Refresh,
    Registration,
    Tokens,
)
from gateway.api.gate import Caller, Gate
from gateway.api.hashing import outdated
from gateway.api.strict import StrictRoute
from gateway.api.throttle import LoginThrottle
from gateway.domain.passwords import is_common
from gateway.domain.tokens import Verdict, first_token
from gateway.store import accounts
from gateway.store.accounts import Account, Candidate, Changes
from gateway.store.keys import public_keys
from libs.contracts.values import UserId
from libs.service.auth import CUSTOMER
from libs.service.problems import Fault, Problem, unprocessable

_NO_STORE: Final = {"Cache-Control": "no-store"}
_CHALLENGE: Final = {"WWW-Authenticate": 'Bearer realm="platform"'}


def sessions(gate: Gate) -> APIRouter:
    """/auth/register, login, refresh and logout."""
    routes = APIRouter(route_class=StrictRoute, tags=["accounts"])
    throttle = LoginThrottle(
        gate.settings.login_failures, gate.settings.login_wait_seconds, on=gate.settings.throttles_logins
    )

    @routes.post("/auth/register", status_code=201, operation_id="register")
    async def register(body: Registration) -> Profile:
        """Open an account as a customer."""
        return Profile.of(await _register(gate, body))

    @routes.post("/auth/login", operation_id="login")
    async def login(body: Login, request: Request, response: Response) -> Tokens:
        """Sign in; an unknown address is answered as a wrong password is, and as late."""
        response.headers.update(_NO_STORE)
        return await _login(gate, throttle, body, request.client.host if request.client is not None else "")

    @routes.post("/auth/refresh", operation_id="refresh")
    async def refresh(body: Refresh, response: Response) -> Tokens:
        """Exchange a refresh token for a new pair; the old one is used up, and using it again ends the session."""
        response.headers.update(_NO_STORE)
        return await _refresh(gate, body.refresh_token)

    @routes.post("/auth/logout", status_code=204, operation_id="logout")
    async def logout(caller: Annotated[Caller, Depends(gate.user)]) -> None:
        """End the session: none of its refresh tokens is good for anything any more."""
        if caller.principal.session_id is not None:
            async with gate.database.transaction() as tx:
                await accounts.end_family(tx, caller.principal.session_id)

    return routes


def profiles(gate: Gate) -> APIRouter:
    """/auth/profile and /.well-known/jwks.json."""
    routes = APIRouter(route_class=StrictRoute, tags=["accounts"])

    @routes.get("/auth/profile", operation_id="getProfile")
    async def get_profile(caller: Annotated[Caller, Depends(gate.user)]) -> Profile:
        """One's own account."""
        async with gate.database.transaction() as tx:
            return _profile(await accounts.by_id(tx, caller.user_id))

    @routes.patch("/auth/profile", operation_id="changeProfile")
    async def change_profile(body: ProfileChange, caller: Annotated[Caller, Depends(gate.user)]) -> Profile:
        """Change what is given and leave the rest."""
        to = Changes(frozenset(body.model_fields_set), body.name, body.phone, body.locale)
        async with gate.database.transaction() as tx:
            return _profile(await accounts.change(tx, caller.user_id, to))

    @routes.get("/.well-known/jwks.json", operation_id="getKeys")
    async def keys(response: Response) -> JsonWebKeys:
        """The public keys of access tokens; two of them while keys are being rotated."""
        await gate.issuer.ready()
        found = await public_keys(gate.database)
        response.headers["Cache-Control"] = "public, max-age=60"
        return JsonWebKeys(
            keys=[JsonWebKey.model_validate(key.as_dict(private=False)) for key in found.values()]
        )

    return routes


async def _register(gate: Gate, body: Registration) -> Account:
    if is_common(body.password, about=(body.name, body.email, body.email.partition("@")[0])):
        detail = "This is one of the first passwords that anybody would try."
        raise unprocessable([Fault("#/password", detail, "password_too_common")])
    hashed = await gate.passwords.hash(body.password)
    who = Candidate(UserId(uuid_utils.compat.uuid7()), body.email, body.name, CUSTOMER, hashed)
    async with gate.database.transaction() as tx:
        account = await accounts.register(tx, who)
    if account is None:
        raise Problem(409, "email_taken", "There is an account with this address already.")
    return account


async def _login(gate: Gate, throttle: LoginThrottle, body: Login, address: str) -> Tokens:
    email = body.email.strip().lower()
    throttle.check(email, address)
    async with gate.database.transaction() as tx:
        found = await accounts.by_email(tx, email)
    account, stored = found or (None, None)
    fits = await gate.passwords.verify(stored, body.password)
    if account is None or stored is None or not fits:
        throttle.failed(email, address)
        detail = "This address and this password do not belong together."
        raise Problem(401, "credentials_invalid", detail, headers=_CHALLENGE)
    throttle.succeeded(email)
    if outdated(stored):
        await _rehash(gate, account, stored, body.password)
    family_id, token = uuid_utils.compat.uuid7(), first_token()
    async with gate.database.transaction() as tx:
        await accounts.begin_family(tx, account.id, family_id, token, gate.settings.refresh_token_seconds)
    return await _pair(gate, account, family_id, token)


async def _rehash(gate: Gate, account: Account, stored: str, password: str) -> None:
    fresh = await gate.passwords.hash(password)
    async with gate.database.transaction() as tx:
        await accounts.rehash(tx, account.id, stored, fresh)


async def _refresh(gate: Gate, token: str) -> Tokens:
    grace = timedelta(seconds=gate.settings.refresh_grace_seconds)
    async with gate.database.transaction() as tx:
        renewal = await accounts.renew(
            tx, token, gate.refresh_key, gate.settings.refresh_token_seconds, grace
        )
    if renewal.verdict is Verdict.REUSE:
        gate.runtime.log.warning("session.revoked", family_id=str(renewal.family_id), reason="reuse")
    if renewal.account is None or renewal.family_id is None or renewal.token is None:
        detail = "This refresh token is not valid, or no longer. Sign in again."
        raise Problem(401, "refresh_token_invalid", detail, headers=_CHALLENGE)
    return await _pair(gate, renewal.account, renewal.family_id, renewal.token)


async def _pair(gate: Gate, account: Account, family_id: UUID, refresh_token: str) -> Tokens:
    return Tokens(
        access_token=await gate.issuer.access_token(account, family_id),
        expires_in=gate.settings.access_token_seconds,
        refresh_token=refresh_token,
    )


def _profile(account: Account | None) -> Profile:
    if account is None:
        raise Problem(404, "not_found", "There is no account for this token.")
    return Profile.of(account)
