"""Refresh tokens: how one follows from another, and what may be done with one (RFC 9700, section 4.14)."""

import base64
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto
from hashlib import sha256
from typing import Final
from uuid import UUID

from libs.contracts.values import UserId

TOKEN_BYTES: Final = 32
TOKEN_LENGTH: Final = 43


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """A refresh token as it is stored, which is without itself."""

    family_id: UUID
    user_id: UserId
    expires_at: datetime
    used_at: datetime | None
    revoked_at: datetime | None


class Verdict(Enum):
    """What a refresh token is good for."""

    ROTATE = auto()
    """Its first use: its successor is made."""
    REPEAT = auto()
    """Used a moment ago, and the answer may have been lost: the same successor again."""
    REUSE = auto()
    """Used before, so somebody else has it: its whole family is revoked."""
    REFUSE = auto()
    """Expired or revoked."""


def judge(token: RefreshToken, now: datetime, grace: timedelta) -> Verdict:
    """What to do with a token that is presented now."""
    if token.revoked_at is not None or token.expires_at <= now:
        return Verdict.REFUSE
    if token.used_at is None:
        return Verdict.ROTATE
    return Verdict.REPEAT if now - token.used_at <= grace else Verdict.REUSE


def first_token() -> str:
    """A token that nobody can guess."""
    return _text(secrets.token_bytes(TOKEN_BYTES))


def successor(token: str, key: bytes) -> str:
    """The token that follows; the same each time, and known to nobody without the key.

    So the successor need not be stored for those who ask again, and a stolen database yields none.
    """
    return _text(hmac.digest(key, token.encode("ascii"), "sha256"))


def hashed(token: str) -> bytes:
    """What is stored of a token: its SHA-256; it has 256 random bits, so that is enough."""
    return sha256(token.encode("utf-8", "replace")).digest()


def _text(token: bytes) -> str:
    return base64.urlsafe_b64encode(token).rstrip(b"=").decode("ascii")
