"""Accounts and their refresh tokens."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from gateway.domain.tokens import RefreshToken, Verdict, hashed, judge, successor
from libs.contracts.values import UserId
from libs.outbox.transaction import Row, Transaction

_REGISTER: Final = """
    INSERT INTO users (id, email, name, role, password_hash) VALUES (%s, %s, %s, %s, %s)
    ON CONFLICT (email) DO NOTHING
    RETURNING id, email, name, phone, locale, role, created_at
"""
_PUT: Final = """
    INSERT INTO users (id, email, name, role, password_hash) VALUES (%s, %s, %s, %s, %s)
    ON CONFLICT (email) DO UPDATE
    SET role = excluded.role, password_hash = excluded.password_hash, updated_at = clock_timestamp()
    RETURNING id, email, name, phone, locale, role, created_at
"""
_BY_EMAIL: Final = """
    SELECT id, email, name, phone, locale, role, created_at, password_hash FROM users WHERE email = %s
"""
_BY_ID: Final = "SELECT id, email, name, phone, locale, role, created_at FROM users WHERE id = %s"
_CHANGE: Final = """
    UPDATE users
    SET name = CASE WHEN %s::boolean THEN %s::text ELSE name END,
        phone = CASE WHEN %s::boolean THEN %s::text ELSE phone END,
        locale = CASE WHEN %s::boolean THEN %s::text ELSE locale END,
        updated_at = clock_timestamp()
    WHERE id = %s
    RETURNING id, email, name, phone, locale, role, created_at
"""
_REHASH: Final = "UPDATE users SET password_hash = %s WHERE id = %s AND password_hash = %s"

_ISSUE: Final = """
    INSERT INTO refresh_tokens (token_hash, family_id, user_id, expires_at)
    VALUES (%s, %s, %s, clock_timestamp() + %s::bigint * interval '1 second')
    ON CONFLICT (token_hash) DO NOTHING
"""
_LOCK_FAMILY: Final = """
    SELECT pg_advisory_xact_lock(hashtextextended(family_id::text, 0)) FROM refresh_tokens WHERE token_hash = %s
"""
_PRESENTED: Final = """
    SELECT family_id, user_id, expires_at, used_at, revoked_at FROM refresh_tokens WHERE token_hash = %s
"""
_USE: Final = "UPDATE refresh_tokens SET used_at = %s WHERE token_hash = %s"
_REVOKE_FAMILY: Final = """
    UPDATE refresh_tokens SET revoked_at = clock_timestamp() WHERE family_id = %s AND revoked_at IS NULL
"""
_REVOKE_USER: Final = """
    UPDATE refresh_tokens SET revoked_at = clock_timestamp() WHERE user_id = %s AND revoked_at IS NULL
"""
_FORGET: Final = "DELETE FROM refresh_tokens WHERE expires_at < clock_timestamp() - interval '1 day'"


@dataclass(frozen=True, slots=True)
class Account:
    """A user as the gateway knows them; the password's hash is fetched apart."""

    id: UserId
    email: str
    name: str
    phone: str | None
    locale: str | None
    role: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Candidate:
    """Who may sign up or be put in place."""

    id: UserId
    email: str
    name: str
    role: str
    password_hash: str


@dataclass(frozen=True, slots=True)
class Changes:
    """What of a profile is to be different; what is not in `fields` stays."""

    fields: frozenset[str]
    name: str | None = None
    phone: str | None = None
    locale: str | None = None


@dataclass(frozen=True, slots=True)
class Renewal:
    """What became of a refresh token that was presented."""

    verdict: Verdict
    account: Account | None = None
    family_id: UUID | None = None
    token: str | None = None


async def register(tx: Transaction, who: Candidate) -> Account | None:
    """A new account, or None where the address has one."""
    rows = await tx.fetch(_REGISTER, [who.id, who.email, who.name, who.role, who.password_hash])
    return _account(rows[0]) if rows else None


async def put(tx: Transaction, who: Candidate) -> Account:
    """An account with this role and password, whether it was there or not; its sessions end."""
    rows = await tx.fetch(_PUT, [who.id, who.email, who.name, who.role, who.password_hash])
    await tx.queue(_REVOKE_USER, [rows[0][0]])
    return _account(rows[0])


async def by_email(tx: Transaction, email: str) -> tuple[Account, str] | None:
    """The account of an address, with its password's hash."""
    rows = await tx.fetch(_BY_EMAIL, [email])
    return (_account(rows[0][:-1]), rows[0][-1]) if rows else None


async def by_id(tx: Transaction, user_id: UserId) -> Account | None:
    """The account of an id."""
    rows = await tx.fetch(_BY_ID, [user_id])
    return _account(rows[0]) if rows else None


async def change(tx: Transaction, user_id: UserId, to: Changes) -> Account | None:
    """The account after the changes."""
    parameters: list[object] = []
    for field, value in (("name", to.name), ("phone", to.phone), ("locale", to.locale)):
        parameters += (field in to.fields, value)
    rows = await tx.fetch(_CHANGE, [*parameters, user_id])
    return _account(rows[0]) if rows else None


async def rehash(tx: Transaction, user_id: UserId, old: str, new: str) -> None:
    """Replace a password's hash by one with today's cost, unless the password was changed meanwhile."""
    await tx.queue(_REHASH, [new, user_id, old])


async def begin_family(tx: Transaction, user_id: UserId, family_id: UUID, token: str, seconds: int) -> None:
    """Store the first refresh token of a session, good for so many seconds."""
    await tx.queue(_ISSUE, [hashed(token), family_id, user_id, seconds])


async def renew(tx: Transaction, token: str, key: bytes, life_seconds: int, grace: timedelta) -> Renewal:
    """Use a refresh token: rotate it, give its successor again, or revoke its family.

    The whole family is locked, so of two uses at once the second sees what the first did; a
    revocation also takes the successor that a first use has just made.
    """
    presented = hashed(token)
    await tx.queue(_LOCK_FAMILY, [presented])
    rows = await tx.fetch(_PRESENTED, [presented])
    if not rows:
        return Renewal(Verdict.REFUSE)
    known = _refresh_token(rows[0])
    verdict = judge(known, tx.now, grace)
    match verdict:
        case Verdict.REFUSE:
            return Renewal(verdict)
        case Verdict.REUSE:
            await tx.queue(_REVOKE_FAMILY, [known.family_id])
            return Renewal(verdict, family_id=known.family_id)
        case Verdict.ROTATE | Verdict.REPEAT:
            following = successor(token, key)
            if verdict is Verdict.ROTATE:
                await tx.queue(_USE, [tx.now, presented])
                await tx.queue(_ISSUE, [hashed(following), known.family_id, known.user_id, life_seconds])
            account = await by_id(tx, known.user_id)
            return Renewal(verdict, account, known.family_id, following)


async def end_family(tx: Transaction, family_id: UUID) -> None:
    """Revoke every refresh token of a session."""
    await tx.queue(_REVOKE_FAMILY, [family_id])


async def forget_expired(tx: Transaction) -> None:
    """Drop refresh tokens that expired more than a day ago."""
    await tx.queue(_FORGET)


def _account(row: Row) -> Account:
    user_id, email, name, phone, locale, role, created_at = row
    return Account(UserId(user_id), email, name, phone, locale, role, created_at)


def _refresh_token(row: Row) -> RefreshToken:
    family_id, user_id, expires_at, used_at, revoked_at = row
    return RefreshToken(family_id, UserId(user_id), expires_at, used_at, revoked_at)
