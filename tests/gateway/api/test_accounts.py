"""Accounts: signing up and in, refresh families and their races, profile, key rotation, throttling."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final
from uuid import UUID, uuid4

import httpx
import pytest
from argon2 import PasswordHasher

from gateway.__main__ import RefusedError, create_user, rotate
from gateway.api.hashing import PasswordHashing
from gateway.domain.tokens import first_token
from gateway.store import accounts
from gateway.store.sealing import seal, unseal
from libs.service.problems import Problem
from tests.gateway.front import Front, Headers, Shops, front, shops
from tests.support.databases import Databases

pytestmark = pytest.mark.integration

PASSWORD: Final = "a long way to the market"


def registration(**changes: str) -> dict[str, str]:
    return {"name": "Ada", "email": f"{uuid4().hex}@example.com", "password": PASSWORD, **changes}


async def registered(gate: Front) -> dict[str, str]:
    """The address and password of a new account."""
    account = registration()
    answer = await gate.http.post("/auth/register", json=account)
    assert answer.status_code == 201, answer.text
    return {"email": account["email"], "password": PASSWORD}


async def session(gate: Front) -> dict[str, Any]:
    """The tokens of a new session of a new account."""
    answer = await gate.http.post("/auth/login", json=await registered(gate))
    assert answer.status_code == 200, answer.text
    tokens: dict[str, Any] = answer.json()
    return tokens


def bearer(tokens: Mapping[str, Any]) -> Headers:
    return {"Authorization": f"Bearer {tokens['access_token']}"}


async def refresh(gate: Front, token: str) -> httpx.Response:
    return await gate.http.post("/auth/refresh", json={"refresh_token": token})


async def age(gate: Front, seconds: float) -> None:
    """Let time pass for every refresh token that was used."""
    await gate.database.rows(
        "UPDATE refresh_tokens SET used_at = used_at - make_interval(secs => %s)", seconds
    )


async def test_registering_gives_a_profile_and_no_secret(gate: Front) -> None:
    account = registration(email=f"Ada.{uuid4().hex}@Example.COM", name="  Ada Lovelace ")
    answer = await gate.http.post("/auth/register", json=account)
    profile = answer.json()
    assert answer.status_code == 201
    assert set(profile) == {"user_id", "name", "email", "phone", "locale", "role", "created_at"}
    assert (profile["name"], profile["role"]) == ("Ada Lovelace", "customer")
    assert profile["email"] == account["email"].lower()
    ((hashed,),) = await gate.database.rows(
        "SELECT password_hash FROM users WHERE id = %s", UUID(profile["user_id"])
    )
    assert hashed.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert PASSWORD not in hashed


async def test_an_address_has_one_account_however_it_is_written(gate: Front) -> None:
    account = registration()
    answers = await asyncio.gather(
        *(
            gate.http.post("/auth/register", json={**account, "email": written})
            for written in (account["email"], account["email"].upper(), account["email"].title())
        )
    )
    assert Counter(answer.status_code for answer in answers) == {201: 1, 409: 2}
    assert {answer.json().get("code") for answer in answers} == {None, "email_taken"}


async def test_signing_in_gives_a_pair_that_no_cache_keeps(gate: Front) -> None:
    account = await registered(gate)
    answer = await gate.http.post("/auth/login", json={**account, "email": account["email"].upper()})
    tokens = answer.json()
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert set(tokens) == {"access_token", "token_type", "expires_in", "refresh_token"}
    assert (tokens["token_type"], tokens["expires_in"]) == ("Bearer", gate.settings.access_token_seconds)
    me = await gate.http.get("/auth/profile", headers=bearer(tokens))
    assert me.json()["email"] == account["email"]
    ((plain,),) = await gate.database.rows(
        "SELECT count(*) FROM refresh_tokens WHERE token_hash = convert_to(%s, 'UTF8')",
        tokens["refresh_token"],
    )
    assert plain == 0


async def test_a_wrong_password_and_an_unknown_address_are_answered_alike(gate: Front) -> None:
    account = await registered(gate)
    wrong = await gate.http.post("/auth/login", json={**account, "password": PASSWORD + "!"})
    unknown = await gate.http.post("/auth/login", json={**account, "email": f"{uuid4().hex}@example.com"})
    told = [{**answer.json(), "trace_id": ""} for answer in (wrong, unknown)]
    assert told[0] == told[1]
    assert wrong.status_code == unknown.status_code == 401


async def test_a_password_is_the_same_however_it_was_composed(gate: Front) -> None:
    account = registration(password="u\u0308ber den Bergen")
    await gate.http.post("/auth/register", json=account)
    login = {"email": account["email"], "password": "\u00fcber den Bergen"}
    assert (await gate.http.post("/auth/login", json=login)).status_code == 200


async def test_a_hash_of_another_cost_is_replaced_at_login(gate: Front) -> None:
    account = await registered(gate)
    weak = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
    await gate.database.rows("UPDATE users SET password_hash = %s WHERE email = %s", weak, account["email"])
    assert (await gate.http.post("/auth/login", json=account)).status_code == 200
    ((hashed,),) = await gate.database.rows(
        "SELECT password_hash FROM users WHERE email = %s", account["email"]
    )
    assert "m=19456" in hashed
    assert (await gate.http.post("/auth/login", json=account)).status_code == 200


async def test_refreshing_rotates(gate: Front) -> None:
    first = await session(gate)
    second = (await refresh(gate, first["refresh_token"])).json()
    third = (await refresh(gate, second["refresh_token"])).json()
    assert len({first["refresh_token"], second["refresh_token"], third["refresh_token"]}) == 3
    assert (await gate.http.get("/auth/profile", headers=bearer(third))).status_code == 200


async def test_a_lost_answer_may_be_asked_for_again_for_ten_seconds(gate: Front) -> None:
    first = await session(gate)
    second = (await refresh(gate, first["refresh_token"])).json()
    await age(gate, 9)
    again = await refresh(gate, first["refresh_token"])
    assert again.json()["refresh_token"] == second["refresh_token"]
    assert (await refresh(gate, second["refresh_token"])).status_code == 200, "the session goes on"


async def test_a_token_used_later_again_ends_the_session(gate: Front) -> None:
    first = await session(gate)
    second = (await refresh(gate, first["refresh_token"])).json()
    await age(gate, 11)
    stolen = await refresh(gate, first["refresh_token"])
    assert (stolen.status_code, stolen.json()["code"]) == (401, "refresh_token_invalid")
    assert (await refresh(gate, second["refresh_token"])).status_code == 401


async def test_a_lost_answer_never_ends_a_session_in_100_races(gate: Front) -> None:
    token = (await session(gate))["refresh_token"]
    for _ in range(100):
        answers = await asyncio.gather(*(refresh(gate, token) for _ in range(3)))
        assert {answer.status_code for answer in answers} == {200}
        (token,) = {answer.json()["refresh_token"] for answer in answers}
        await age(gate, 11)


async def test_reuse_ends_the_session_in_100_of_100_races(gate: Front) -> None:
    account = await registered(gate)
    for n in range(100):
        first = (await gate.http.post("/auth/login", json=account)).json() if n % 10 == 0 else None
        token = first["refresh_token"] if first else await new_family(gate, account["email"])
        second = (await refresh(gate, token)).json()["refresh_token"]
        await age(gate, 11)
        reused, used = await asyncio.gather(refresh(gate, token), refresh(gate, second))
        assert reused.status_code == 401
        left = [second]
        if used.status_code == 200:
            left.append(used.json()["refresh_token"])
        for one in left:
            assert (await refresh(gate, one)).status_code == 401, f"race {n}: a token of the family lives"


async def new_family(gate: Front, email: str) -> str:
    """The refresh token of a session that needed no password."""
    token = first_token()
    async with gate.runtime.database.transaction() as tx:
        found = await accounts.by_email(tx, email)
        assert found is not None
        await accounts.begin_family(tx, found[0].id, uuid4(), token, 3_600)
    return token


async def test_an_expired_refresh_token_is_refused(gate: Front) -> None:
    tokens = await session(gate)
    await gate.database.rows(
        "UPDATE refresh_tokens SET created_at = created_at - interval '31 days', expires_at = expires_at - interval '31 days'"
    )
    assert (await refresh(gate, tokens["refresh_token"])).status_code == 401


async def test_signing_out_ends_this_session_and_no_other(gate: Front) -> None:
    account = await registered(gate)
    here, there = [(await gate.http.post("/auth/login", json=account)).json() for _ in range(2)]
    renewed = (await refresh(gate, here["refresh_token"])).json()
    answer = await gate.http.post("/auth/logout", headers=bearer(renewed))
    assert (answer.status_code, answer.content) == (204, b"")
    for token in (here["refresh_token"], renewed["refresh_token"]):
        assert (await refresh(gate, token)).status_code == 401
    assert (await refresh(gate, there["refresh_token"])).status_code == 200
    assert (await gate.http.post("/auth/logout", headers=bearer(renewed))).status_code == 204


async def test_a_profile_changes_where_it_is_told_to(gate: Front) -> None:
    mine = bearer(await session(gate))
    changed = await gate.http.patch(
        "/auth/profile", json={"phone": "+44 20 7946 0000", "locale": "en-GB"}, headers=mine
    )
    assert changed.status_code == 200
    again = await gate.http.patch("/auth/profile", json={"name": "Ada King", "locale": None}, headers=mine)
    profile = again.json()
    assert (profile["name"], profile["phone"], profile["locale"]) == ("Ada King", "+44 20 7946 0000", None)
    assert (await gate.http.get("/auth/profile", headers=mine)).json() == profile


@pytest.fixture
async def own(run_databases: Databases) -> AsyncIterator[Shops]:
    """Databases whose keys no other test needs."""
    async with shops(run_databases) as made:
        yield made


async def test_a_rotated_key_signs_at_once_and_the_old_one_verifies_for_a_while(own: Shops) -> None:
    async with front(own) as gate:
        before = await gate.bearer()
        known = {key["kid"] for key in (await gate.http.get("/.well-known/jwks.json")).json()["keys"]}
        await rotate(gate.settings, gate.runtime.database, revoke=False)
    async with front(own) as gate:
        after = await gate.bearer()
        keys = {key["kid"] for key in (await gate.http.get("/.well-known/jwks.json")).json()["keys"]}
        assert len(keys) == len(known) + 1
        for token in (before, after):
            assert (await gate.http.get("/api/orders", headers=token)).status_code == 200
        await rotate(gate.settings, gate.runtime.database, revoke=True)
    async with front(own) as gate:
        assert len((await gate.http.get("/.well-known/jwks.json")).json()["keys"]) == 1
        for token in (before, after):
            assert (await gate.http.get("/api/orders", headers=token)).status_code == 401
        assert (await gate.http.get("/api/orders", headers=await gate.bearer())).status_code == 200


def test_a_sealed_key_opens_with_its_secret_only() -> None:
    sealed = seal(b"a" * 32, b"private", "kid")
    assert unseal(b"a" * 32, sealed, "kid") == b"private"
    assert b"private" not in sealed
    for secret, content, bound_to in (
        (b"b" * 32, sealed, "kid"),
        (b"a" * 32, sealed, "other"),
        (b"a" * 32, sealed[:-1] + bytes([sealed[-1] ^ 1]), "kid"),
    ):
        with pytest.raises(ValueError, match="SIGNING_KEY_SECRET"):
            unseal(secret, content, bound_to)


async def test_the_command_line_makes_operators_and_sets_their_password_again(gate: Front) -> None:
    email = f"op-{uuid4().hex}@example.com"
    database = gate.runtime.database
    said = await create_user(database, email=email, name="Op", role="operator", password=PASSWORD)
    assert said.startswith(f"{email} is operator ")
    tokens = (await gate.http.post("/auth/login", json={"email": email, "password": PASSWORD})).json()
    again = await create_user(
        database, email=email.upper(), name="Op", role="admin", password="another long way"
    )
    assert again.split()[-1] == said.split()[-1], "the same account"
    assert (await refresh(gate, tokens["refresh_token"])).status_code == 401, (
        "sessions end with the old password"
    )
    assert (
        await gate.http.post("/auth/login", json={"email": email, "password": PASSWORD})
    ).status_code == 401
    answer = await gate.http.post("/auth/login", json={"email": email, "password": "another long way"})
    me = await gate.http.get("/auth/profile", headers=bearer(answer.json()))
    assert me.json()["role"] == "admin"


@pytest.mark.parametrize(
    ("email", "password"),
    [("nonsense", PASSWORD), ("a@example.com", "short"), ("a@example.com", "password123")],
)
async def test_the_command_line_refuses_what_the_api_refuses(gate: Front, email: str, password: str) -> None:
    with pytest.raises(RefusedError):
        await create_user(gate.runtime.database, email=email, name="Op", role="operator", password=password)


async def test_failed_logins_make_an_account_wait_whether_it_is_there_or_not(over: Shops) -> None:
    async with front(over, login_throttling=True, login_failures=3) as gate:
        account = await registered(gate)
        for email in (account["email"], f"{uuid4().hex}@example.com"):
            wrong = {"email": email, "password": "wrong password"}
            statuses = [(await gate.http.post("/auth/login", json=wrong)).status_code for _ in range(4)]
            assert statuses == [401, 401, 401, 429]
        answer = await gate.http.post("/auth/login", json=account)
        assert (answer.status_code, answer.json()["code"]) == (429, "too_many_logins")
        assert 1 <= int(answer.headers["retry-after"]) <= 30
        assert (await gate.http.post("/auth/login", json=await registered(gate))).status_code == 200


async def test_too_many_hashes_at_once_are_refused() -> None:
    passwords = PasswordHashing(threads=1, queue=2)
    answers = await asyncio.gather(*(passwords.hash(PASSWORD) for _ in range(6)), return_exceptions=True)
    refused = [one for one in answers if isinstance(one, Problem)]
    assert [(one.status, one.code) for one in refused] == [(503, "overloaded")] * 3
    assert await passwords.verify(str(answers[0]), PASSWORD)
    assert not await passwords.verify(None, PASSWORD)
