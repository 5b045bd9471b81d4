"""Who asks: access tokens verified with the gateway's public keys, and the roles they carry.

The rules are RFC 8725's and RFC 9068's: one algorithm, one type, every claim required, and no key
or extension named by the token itself.
"""

import asyncio
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from types import MappingProxyType
from typing import Final, Protocol, TypeAlias
from uuid import UUID

import httpx
from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySetSerialization, OKPKey
from joserfc.jws import JWSRegistry
from starlette.requests import Request

from libs.contracts.values import UserId
from libs.service.problems import Problem

ISSUER: Final = "gateway"
AUDIENCE: Final = "platform"
TOKEN_TYPE: Final = "at+jwt"  # noqa: S105 - the media type of RFC 9068
ALGORITHM: Final = "EdDSA"

CUSTOMER: Final = "customer"
OPERATOR: Final = "operator"
ADMIN: Final = "admin"
SERVICE: Final = "service"

LEEWAY_SECONDS: Final = 10
MAX_TOKEN_LENGTH: Final = 2_048
_HEADERS: Final = frozenset({"alg", "kid", "typ"})
_COMPACT: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{86}")

Keys: TypeAlias = Mapping[str, OKPKey]
"""Public keys by their `kid`."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Whose request it is; the roles are among customer, operator, admin and service.

    `session_id` is the token's `sid`, where it has one.
    """

    user_id: UserId
    roles: frozenset[str]
    session_id: UUID | None = None

    @property
    def is_operator(self) -> bool:
        """Whether this is an operator or an admin."""
        return not self.roles.isdisjoint((OPERATOR, ADMIN))


class InvalidTokenError(Exception):
    """A token that proves nothing; the message says why, for logs and tests."""


def _eddsa_only() -> JWSRegistry:
    quiet = copy(JWSRegistry.algorithms[ALGORITHM])
    quiet.security_warning = None  # RFC 9864 would have it named Ed25519; the curve is Ed25519 here
    registry = JWSRegistry(algorithms=[ALGORITHM])
    registry.algorithms = {ALGORITHM: quiet}
    return registry


EDDSA: Final = _eddsa_only()
"""Signs and verifies with EdDSA and nothing else (RFC 8725, section 3.1)."""


class KeySource(Protocol):
    """Where public keys come from."""

    async def keys(self) -> Keys:
        """The keys at hand."""

    async def keys_for(self, kid: str) -> Keys:
        """The keys after an unknown `kid` was seen; looks for newer ones, not too often."""


@dataclass(frozen=True, slots=True)
class _Verified:
    principal: Principal
    expires_at: int
    kid: str


class TokenVerifier:
    """Tells the principal of a token; remembers what it has verified until that expires.

    At most `capacity` tokens are remembered, by their digest; the longest known are forgotten first. A token whose key
    has been withdrawn is forgotten too, as soon as the source says so.
    """

    def __init__(
        self, source: KeySource, *, clock: Callable[[], float] = time.time, capacity: int = 20_000
    ) -> None:
        self._source = source
        self._clock = clock
        self._capacity = capacity
        self._known: dict[bytes, _Verified] = {}

    async def verify(self, token: str) -> Principal:
        """The principal, or InvalidTokenError."""
        keys = await self._source.keys()
        digest = sha256(token.encode(errors="surrogatepass")).digest()
        if (known := self._known.get(digest)) is not None:
            if known.expires_at > self._clock() and known.kid in keys:
                return known.principal
            del self._known[digest]
        kid = _kid(token)
        if kid not in keys:
            keys = await self._source.keys_for(kid)
        verified = _verify(token, kid, keys, self._clock())
        self._make_room()
        self._known[digest] = verified
        return verified.principal

    def _make_room(self) -> None:
        """Forget the longest known, as long as they have expired or there is no room for another."""
        while self._known:
            oldest = next(iter(self._known))
            if len(self._known) < self._capacity and self._known[oldest].expires_at > self._clock():
                break
            del self._known[oldest]


def _kid(token: str) -> str:
    if len(token) > MAX_TOKEN_LENGTH or _COMPACT.fullmatch(token) is None:
        raise InvalidTokenError("not a compact token signed with Ed25519")
    try:
        headers = jws.extract_compact(token.encode("ascii")).headers()
    except (JoseError, ValueError, RecursionError) as error:
        raise InvalidTokenError("the header is not readable") from error
    if not _HEADERS.issuperset(headers):
        raise InvalidTokenError("the header holds more than alg, kid and typ")
    if headers.get("typ") != TOKEN_TYPE:
        raise InvalidTokenError("not an access token")
    if not isinstance(kid := headers.get("kid"), str):
        raise InvalidTokenError("no kid")
    return kid


def _verify(token: str, kid: str, keys: Keys, now: float) -> _Verified:
    if (key := keys.get(kid)) is None:
        raise InvalidTokenError("signed by an unknown key")
    try:
        claims = jwt.decode(token, key, registry=EDDSA).claims
    except (JoseError, ValueError, TypeError, RecursionError) as error:
        raise InvalidTokenError("the signature does not fit") from error
    if claims.get("iss") != ISSUER or claims.get("aud") != AUDIENCE:
        raise InvalidTokenError("made by or for somebody else")
    expires_at, issued_at = _seconds(claims, "exp"), _seconds(claims, "iat")
    if expires_at + LEEWAY_SECONDS <= now:
        raise InvalidTokenError("expired")
    if issued_at - LEEWAY_SECONDS > now or _not_before(claims) - LEEWAY_SECONDS > now:
        raise InvalidTokenError("not valid yet")
    if not isinstance(claims.get("jti"), str) or not claims["jti"]:
        raise InvalidTokenError("no jti")
    session_id = _uuid(claims, "sid") if "sid" in claims else None
    principal = Principal(UserId(_uuid(claims, "sub")), _roles(claims), session_id)
    return _Verified(principal, expires_at, sys.intern(kid))


def _seconds(claims: Mapping[str, object], name: str) -> int:
    match claims.get(name):
        case bool():
            raise InvalidTokenError(f"{name} is no time")
        case int() as seconds:
            return seconds
        case _:
            raise InvalidTokenError(f"{name} is missing or no time")


def _not_before(claims: Mapping[str, object]) -> int:
    return _seconds(claims, "nbf") if "nbf" in claims else 0


def _uuid(claims: Mapping[str, object], name: str) -> UUID:
    match claims.get(name):
        case str() as text:
            try:
                return UUID(text)
            except ValueError as error:
                raise InvalidTokenError(f"{name} is no UUID") from error
        case _:
            raise InvalidTokenError(f"no {name}")


def _roles(claims: Mapping[str, object]) -> frozenset[str]:
    match claims.get("roles"):
        case [*names] if all(isinstance(name, str) for name in names):
            return _shared(tuple(names))
        case _:
            raise InvalidTokenError("no roles")


@lru_cache(maxsize=64)
def _shared(names: tuple[str, ...]) -> frozenset[str]:
    """One set for all whose tokens name the same roles."""
    return frozenset(names)


class JwksOverHttp:
    """The gateway's keys, fetched when first needed and again when an unknown `kid` turns up.

    At most one request in `every_seconds`; keys older than `stale_seconds` are fetched anew, and kept
    when the gateway does not answer.
    """

    def __init__(
        self,
        url: str,
        client: httpx.AsyncClient,
        *,
        clock: Callable[[], float] = time.monotonic,
        every_seconds: float = 3,
        stale_seconds: float = 60,
    ) -> None:
        self._url = url
        self._client = client
        self._clock = clock
        self._every = every_seconds
        self._stale = stale_seconds
        self._lock = asyncio.Lock()
        self._keys: Keys | None = None
        self._asked_at = float("-inf")

    async def keys(self) -> Keys:
        if self._keys is not None and self._clock() - self._asked_at < self._stale:
            return self._keys
        return await self._refresh(lambda: self._clock() - self._asked_at >= self._stale)

    async def keys_for(self, kid: str) -> Keys:
        return await self._refresh(lambda: kid not in (self._keys or {}))

    async def _refresh(self, wanted: Callable[[], bool]) -> Keys:
        async with self._lock:
            if (self._keys is None or wanted()) and self._clock() - self._asked_at >= self._every:
                self._asked_at = self._clock()
                self._keys = await self._fetch() or self._keys
        if self._keys is None:
            raise Problem(
                503,
                "keys_unavailable",
                "The keys that tokens are verified with cannot be fetched right now.",
                headers={"Retry-After": "1"},
            )
        return self._keys

    async def _fetch(self) -> Keys | None:
        try:
            answer = await self._client.get(self._url, timeout=2)
            answer.raise_for_status()
            return public_keys(answer.json())
        except (httpx.HTTPError, JoseError, ValueError, KeyError, TypeError, AttributeError):
            return None


def public_keys(jwks: KeySetSerialization) -> Keys:
    """The Ed25519 keys of a JSON Web Key Set by their `kid`; keys of other kinds are left out."""
    found = [
        OKPKey.import_key(jwk)
        for jwk in jwks["keys"]
        if (jwk.get("kty"), jwk.get("crv")) == ("OKP", "Ed25519") and isinstance(jwk.get("kid"), str)
    ]
    return MappingProxyType({str(key.kid): key for key in found})


def bearer(request: Request) -> str:
    """The token of the Authorization header (RFC 6750, section 2.1), or a 401."""
    given: Sequence[str] = request.headers.getlist("authorization")
    if not given:
        raise Problem(401, "token_missing", "Sign in: this needs a bearer token.", headers=_challenge(""))
    scheme, _, token = given[0].partition(" ")
    if len(given) > 1 or scheme.lower() != "bearer" or not token:
        raise token_invalid()
    return token


def token_invalid() -> Problem:
    """401 for a token that proves nothing; it does not say why."""
    return Problem(
        401,
        "token_invalid",
        "The bearer token is not valid, or no longer.",
        headers=_challenge(' error="invalid_token"'),
    )


def _challenge(error: str) -> dict[str, str]:
    return {"WWW-Authenticate": f'Bearer realm="platform"{"," if error else ""}{error}'}


class Guard:
    """FastAPI dependencies that let a request pass when its token says so."""

    def __init__(self, verifier: TokenVerifier) -> None:
        self._verifier = verifier

    async def signed_in(self, request: Request) -> Principal:
        """Anyone with a valid token; else 401."""
        try:
            return await self._verifier.verify(bearer(request))
        except InvalidTokenError as error:
            raise token_invalid() from error

    async def operator(self, request: Request) -> Principal:
        """An operator or an admin; else 401 or 403."""
        return _with_role(await self.signed_in(request), OPERATOR, ADMIN)

    async def service(self, request: Request) -> Principal:
        """The platform's own services; else 401 or 403."""
        return _with_role(await self.signed_in(request), SERVICE)


def _with_role(principal: Principal, *roles: str) -> Principal:
    if principal.roles.isdisjoint(roles):
        raise Problem(
            403,
            "role_required",
            f"This needs the role {' or '.join(roles)}.",
            headers=_challenge(' error="insufficient_scope"'),
        )
    return principal
