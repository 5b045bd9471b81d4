"""What several bodies are made of: names, addresses, money; and the bases of answers."""

from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from gateway.api.strict import AS_TEXT, cleaned, trimmed
from gateway.domain.passwords import MAX_LENGTH
from gateway.domain.text import VISIBLE_PATTERN
from libs.contracts.values import MAX_MINOR

MAX_STOCK: Final = 1_000_000_000
MAX_DEPOSIT: Final = 10_000_000
MAX_ADDRESS: Final = 254
MAX_NAME: Final = 200


def _lower(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


def never_null(schema: dict[str, Any]) -> None:
    """A field that may be left out but not be null, as its schema says it."""
    (schema_of_value,) = (one for one in schema.pop("anyOf") if one.get("type") != "null")
    schema |= schema_of_value
    schema.pop("default", None)


Email = Annotated[
    str,
    Field(
        min_length=6,
        max_length=MAX_ADDRESS,
        pattern=(
            r"^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
            r"(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)+$"
        ),
    ),
    BeforeValidator(_lower),
]
"""An address as HTML's input field has it (WHATWG), in lower case, in a domain with a dot."""

Name = Annotated[
    str,
    Field(min_length=1, max_length=MAX_NAME),
    trimmed(MAX_NAME, blank=False),
    Field(json_schema_extra={"pattern": VISIBLE_PATTERN}),
]
Password = Annotated[str, Field(max_length=MAX_LENGTH), cleaned(MAX_LENGTH), AS_TEXT]
Phone = Annotated[str, Field(pattern=r"^\+?[0-9][0-9 ()./-]{3,28}[0-9]$", max_length=30)]
Locale = Annotated[str, Field(pattern=r"^[a-z]{2,3}(-[A-Z][a-z]{3})?(-([A-Z]{2}|[0-9]{3}))?$", max_length=12)]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]


class Answer(BaseModel):
    """An answer's body."""

    model_config = ConfigDict(frozen=True)


class Money(Answer):
    """An amount in minor units (cents) of an ISO 4217 currency."""

    amount_minor: int = Field(ge=0, le=MAX_MINOR, examples=[1999])
    currency: Currency = Field(examples=["EUR"])
