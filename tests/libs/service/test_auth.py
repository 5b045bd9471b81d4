"""Access tokens: one form is believed, everything else is not; and where keys come from."""

import asyncio
import json
from collections.abc import Mapping
from hashlib import sha256
from types import MappingProxyType
from uuid import UUID, uuid4

import httpx
import pytest
from joserfc.jwk import OKPKey

from libs.contracts.values import UserId
from libs.service.auth import InvalidTokenError, JwksOverHttp, Keys, Principal, TokenVerifier, public_keys
from libs.service.problems import Problem
from tests.support.forgeries import GONE, Smith, forgeries

USER_ID = "01890a5d-ac96-774b-bcce-b302099a8057"
KEY = OKPKey.generate_key("Ed25519", {"kid": "first"})
SMITH = Smith(KEY, USER_ID)
FORGERIES = forgeries(SMITH)


class Known:
    """Keys at hand, and a count of how often newer ones were asked for."""

    def __init__(self, *keys: OKPKey) -> None:
        self.held = list(keys)
        self.asked = 0

    async def keys(self) -> Keys:
        return MappingProxyType({str(key.kid): key for key in self.held})

    async def keys_for(self, kid: str) -> Keys:
        self.asked += 1
        return await self.keys()


class Clock:
    """Time that a test moves."""

    def __init__(self, now: float = 0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


async def test_a_good_token_tells_who_it_is() -> None:
    session_id = uuid4()
    token = SMITH.signed({}, {"roles": ["customer"], "sid": str(session_id)})
    principal = await TokenVerifier(Known(KEY)).verify(token)
    assert principal == Principal(UserId(UUID(USER_ID)), frozenset({"customer"}), session_id)
    assert not principal.is_operator
    assert (await TokenVerifier(Known(KEY)).verify(SMITH.good())).is_operator


def test_there_are_forgeries_enough() -> None:
    assert len(FORGERIES) >= 100
    assert len(set(FORGERIES.values())) == len(FORGERIES)


@pytest.mark.parametrize("token", FORGERIES.values(), ids=FORGERIES.keys())
async def test_a_forgery_is_refused(token: str) -> None:
    with pytest.raises(InvalidTokenError):
        await TokenVerifier(Known(KEY)).verify(token)


async def test_a_refused_token_is_refused_again_and_a_good_one_taken_after_it() -> None:
    verifier = TokenVerifier(Known(KEY))
    for token in FORGERIES.values():
        for _ in range(2):
            with pytest.raises(InvalidTokenError):
                await verifier.verify(token)
    await verifier.verify(SMITH.good())


async def test_a_remembered_token_expires_all_the_same() -> None:
    claims = SMITH.claims({})
    clock = Clock(claims["iat"])
    verifier = TokenVerifier(Known(KEY), clock=clock)
    token = SMITH.signed({}, claims)
    await verifier.verify(token)
    clock.now = claims["exp"] + 9
    await verifier.verify(token)  # clocks may differ by some seconds
    clock.now = claims["exp"] + 10
    with pytest.raises(InvalidTokenError):
        await verifier.verify(token)


async def test_a_remembered_token_dies_with_its_key() -> None:
    known = Known(KEY)
    verifier = TokenVerifier(known)
    token = SMITH.good()
    await verifier.verify(token)
    known.held = [OKPKey.generate_key("Ed25519", {"kid": "second"})]
    with pytest.raises(InvalidTokenError):
        await verifier.verify(token)


async def test_the_longest_known_is_forgotten_first() -> None:
    verifier = TokenVerifier(Known(KEY), capacity=3)
    tokens = [SMITH.good() for _ in range(5)]
    for token in tokens:
        await verifier.verify(token)
    assert list(verifier._known) == [sha256(token.encode()).digest() for token in tokens[2:]]


async def test_what_has_expired_is_forgotten_when_another_token_comes() -> None:
    claims = SMITH.claims({})
    clock = Clock(claims["iat"])
    verifier = TokenVerifier(Known(KEY), clock=clock)
    await verifier.verify(SMITH.signed({}, claims))
    clock.now = claims["exp"]
    later = SMITH.signed({}, SMITH.claims({"iat": claims["exp"], "exp": claims["exp"] + 900}))
    await verifier.verify(later)
    assert list(verifier._known) == [sha256(later.encode()).digest()]


class Gateway:
    """A gateway's JWKS, and how often it was fetched."""

    def __init__(self, *keys: OKPKey) -> None:
        self.held = list(keys)
        self.fetched = 0
        self.answers = True

    def __call__(self, _request: httpx.Request) -> httpx.Response:
        self.fetched += 1
        if not self.answers:
            raise httpx.ConnectError("away")
        return httpx.Response(200, json={"keys": [key.as_dict(private=False) for key in self.held]})

    def source(self, clock: Clock) -> JwksOverHttp:
        client = httpx.AsyncClient(transport=httpx.MockTransport(self))
        return JwksOverHttp("http://gateway/.well-known/jwks.json", client, clock=clock)


async def test_keys_are_fetched_once() -> None:
    gateway, clock = Gateway(KEY), Clock()
    source = gateway.source(clock)
    found = await asyncio.gather(*(source.keys() for _ in range(20)))
    assert gateway.fetched == 1
    assert {tuple(keys) for keys in found} == {("first",)}


async def test_an_unknown_key_is_asked_for_but_not_without_end() -> None:
    gateway, clock = Gateway(KEY), Clock()
    source = gateway.source(clock)
    await source.keys()
    gateway.held.append(OKPKey.generate_key("Ed25519", {"kid": "second"}))
    assert "second" not in await source.keys_for("second"), "just asked"
    clock.now = 3
    assert "second" in await source.keys_for("second")
    for _ in range(100):
        assert "third" not in await source.keys_for("third")
    assert gateway.fetched == 2


async def test_a_rotated_key_is_taken_at_once_by_a_verifier() -> None:
    gateway, clock = Gateway(KEY), Clock()
    verifier = TokenVerifier(gateway.source(clock))
    await verifier.verify(SMITH.good())
    second = OKPKey.generate_key("Ed25519", {"kid": "second"})
    gateway.held.append(second)
    clock.now = 10
    await verifier.verify(Smith(second, USER_ID).good())
    await verifier.verify(SMITH.good())


async def test_stale_keys_are_fetched_anew_and_withdrawn_ones_forgotten() -> None:
    gateway, clock = Gateway(KEY), Clock()
    verifier = TokenVerifier(gateway.source(clock))
    token = SMITH.good()
    await verifier.verify(token)
    gateway.held = [OKPKey.generate_key("Ed25519", {"kid": "second"})]
    clock.now = 60
    with pytest.raises(InvalidTokenError):
        await verifier.verify(token)


async def test_while_the_gateway_is_away_known_keys_go_on() -> None:
    gateway, clock = Gateway(KEY), Clock()
    verifier = TokenVerifier(gateway.source(clock))
    await verifier.verify(SMITH.good())
    gateway.answers = False
    clock.now = 10_000
    await verifier.verify(SMITH.good())


async def test_without_any_key_nothing_is_said_of_a_token() -> None:
    gateway, clock = Gateway(KEY), Clock()
    gateway.answers = False
    verifier = TokenVerifier(gateway.source(clock))
    with pytest.raises(Problem) as refused:
        await verifier.verify(SMITH.good())
    assert (refused.value.status, refused.value.code) == (503, "keys_unavailable")
    gateway.answers = True
    clock.now = 3
    await verifier.verify(SMITH.good())


def test_only_ed25519_keys_are_taken_from_a_jwks() -> None:
    jwks = json.loads(
        json.dumps(
            {
                "keys": [
                    KEY.as_dict(private=False),
                    {"kty": "oct", "k": "c2VjcmV0", "kid": "shared"},
                    OKPKey.generate_key("X25519", {"kid": "exchange"}).as_dict(private=False),
                ]
            }
        )
    )
    found: Mapping[str, object] = public_keys(jwks)
    assert list(found) == ["first"]


def test_the_forgers_tools_leave_fields_out() -> None:
    assert "jti" not in SMITH.claims({"jti": GONE})
