"""Accounts, tokens and keys, as clients send and get them."""

from datetime import datetime
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import Field, model_validator

from gateway.api.bodies.fields import MAX_ADDRESS, Answer, Email, Locale, Name, Password, Phone, never_null
from gateway.api.strict import AS_TEXT, StrictBody, trimmed
from gateway.domain.passwords import MIN_LENGTH
from gateway.store.accounts import Account


class Registration(StrictBody):
    """A new customer."""

    name: Name = Field(examples=["Ada Lovelace"])
    email: Email = Field(examples=["ada@example.com"])
    password: Password = Field(min_length=MIN_LENGTH, examples=["difference-engine-no-2"])


class Login(StrictBody):
    """Who signs in."""

    email: Annotated[str, Field(min_length=1, max_length=MAX_ADDRESS), trimmed(MAX_ADDRESS), AS_TEXT] = Field(
        examples=["ada@example.com"]
    )
    password: Password = Field(min_length=1, examples=["difference-engine-no-2"])


class Refresh(StrictBody):
    """The refresh token of a session."""

    refresh_token: str = Field(min_length=1, max_length=200)


class Tokens(Answer):
    """A pair of tokens."""

    access_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - the scheme's name
    expires_in: int = Field(description="seconds", examples=[600])
    refresh_token: str


class Profile(Answer):
    """An account as its owner sees it."""

    user_id: UUID
    name: str
    email: str
    phone: str | None
    locale: str | None
    role: Literal["customer", "operator", "admin"]
    created_at: datetime

    @classmethod
    def of(cls, account: Account) -> Self:
        return cls.model_validate(
            {
                "user_id": account.id,
                "name": account.name,
                "email": account.email,
                "phone": account.phone,
                "locale": account.locale,
                "role": account.role,
                "created_at": account.created_at,
            }
        )


class ProfileChange(StrictBody):
    """What is to be different; null clears phone or locale."""

    name: Name | None = Field(None, examples=["Ada King"], json_schema_extra=never_null)
    phone: Phone | None = Field(None, examples=["+44 20 7946 0000"])
    locale: Locale | None = Field(None, examples=["en-GB"])

    @model_validator(mode="after")
    def _keeps_a_name(self) -> Self:
        if "name" in self.model_fields_set and self.name is None:
            raise ValueError("name cannot be null")
        return self


class JsonWebKey(Answer):
    """A public key (RFC 8037)."""

    kty: Literal["OKP"]
    crv: Literal["Ed25519"]
    x: str
    kid: str
    alg: Literal["EdDSA"]
    use: Literal["sig"]


class JsonWebKeys(Answer):
    """The keys that access tokens are verified with."""

    keys: list[JsonWebKey]
