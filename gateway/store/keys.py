"""The keys that access tokens are signed and verified with."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import psycopg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from joserfc.jwk import OKPKey
from joserfc.util import urlsafe_b64encode

from gateway.store.sealing import seal, unseal
from libs.outbox.transaction import Transaction
from libs.service.auth import ALGORITHM, Keys
from libs.service.database import Database

_LOCK: Final = "SELECT pg_advisory_xact_lock(hashtext('signing_keys'))"
_PUBLIC: Final = """
    SELECT kid, public_key FROM signing_keys
    WHERE retires_at IS NULL OR retires_at > clock_timestamp() ORDER BY created_at DESC, kid
"""
_NEWEST: Final = """
    SELECT kid, private_key FROM signing_keys WHERE retires_at IS NULL ORDER BY created_at DESC, kid LIMIT 1
"""
_INSERT: Final = "INSERT INTO signing_keys (kid, public_key, private_key) VALUES (%s, %s, %s)"
_RETIRE: Final = """
    UPDATE signing_keys SET retires_at = clock_timestamp() + %s::bigint * interval '1 second'
    WHERE retires_at IS NULL OR %s::bigint = 0
"""
_FORGET: Final = "DELETE FROM signing_keys WHERE retires_at < clock_timestamp() - interval '1 day'"

FRESH_SECONDS: Final = 10.0
SIGNING_FRESH_SECONDS: Final = 1.0
ASK_AGAIN_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key and the name that tokens give it."""

    kid: str
    key: OKPKey


class PublicKeys:
    """Verifies with the keys in the database; they are read again when they are not fresh any more.

    Keys at hand go on being used while the database is away.
    """

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._clock = clock
        self._lock = asyncio.Lock()
        self._keys: Keys | None = None
        self._read_at = float("-inf")

    async def keys(self) -> Keys:
        """The keys at hand, at most some seconds old."""
        if self._keys is not None and self._clock() - self._read_at < FRESH_SECONDS:
            return self._keys
        return await self._read_again(FRESH_SECONDS)

    async def keys_for(self, kid: str) -> Keys:
        """The keys, read again for one that is not known, at most once a second."""
        known = await self.keys()
        return known if kid in known else await self._read_again(ASK_AGAIN_SECONDS)

    async def _read_again(self, age: float) -> Keys:
        async with self._lock:
            if self._keys is None or self._clock() - self._read_at >= age:
                self._read_at = self._clock()
                try:
                    self._keys = await public_keys(self._database)
                except psycopg.OperationalError:
                    if self._keys is None:
                        raise
            return self._keys


class SigningKeys:
    """The newest private key, made when there is none; read again when it is not fresh any more."""

    def __init__(
        self, database: Database, secret: bytes, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._database = database
        self._secret = secret
        self._clock = clock
        self._lock = asyncio.Lock()
        self._key: SigningKey | None = None
        self._read_at = float("-inf")

    async def current(self) -> SigningKey:
        """The key to sign with now; raises ValueError when it cannot be unsealed."""
        async with self._lock:
            if self._key is None or self._clock() - self._read_at >= SIGNING_FRESH_SECONDS:
                async with self._database.transaction() as tx:
                    self._key = await _newest(tx, self._secret)
                self._read_at = self._clock()
            return self._key


async def public_keys(database: Database) -> Keys:
    """Every key that tokens may be verified with, the newest first."""
    async with database.transaction() as tx:
        rows = await tx.fetch(_PUBLIC)
    return MappingProxyType({kid: _public(kid, raw) for kid, raw in rows})


async def rotate(database: Database, secret: bytes, keep_seconds: int) -> str:
    """Make a new key, and let those before verify for `keep_seconds` more (0: not any more); its kid."""
    async with database.transaction() as tx:
        await tx.queue(_LOCK)
        await tx.queue(_RETIRE, [keep_seconds, keep_seconds])
        await tx.queue(_FORGET)
        return (await _make(tx, secret)).kid


async def _newest(tx: Transaction, secret: bytes) -> SigningKey:
    rows = await tx.fetch(_NEWEST)
    if not rows:
        await tx.queue(_LOCK)
        rows = await tx.fetch(_NEWEST)
    for kid, sealed in rows:
        return SigningKey(kid, _private(kid, unseal(secret, sealed, kid)))
    return await _make(tx, secret)


async def _make(tx: Transaction, secret: bytes) -> SigningKey:
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    kid = _public("", public).thumbprint()
    await tx.queue(_INSERT, [kid, public, seal(secret, private, kid)])
    return SigningKey(kid, _private(kid, private))


def _public(kid: str, raw: bytes) -> OKPKey:
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": urlsafe_b64encode(raw).decode("ascii")}
    return OKPKey.import_key({**jwk, "kid": kid, "alg": ALGORITHM, "use": "sig"})


def _private(kid: str, raw: bytes) -> OKPKey:
    key = Ed25519PrivateKey.from_private_bytes(raw)
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return OKPKey.import_key(
        {
            "kty": "OKP",
            "crv": "Ed25519",
            "x": urlsafe_b64encode(public).decode("ascii"),
            "d": urlsafe_b64encode(raw).decode("ascii"),
            "kid": kid,
        }
    )
