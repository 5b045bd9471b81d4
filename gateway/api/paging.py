"""Page tokens: where a list goes on, signed, and good for the same list only (RFC 5988 links beside them)."""

import base64
import hmac
from collections.abc import Mapping
from hashlib import sha256
from typing import Final
from urllib.parse import urlencode

import orjson

from libs.service.problems import Fault, unprocessable

DEFAULT_SIZE: Final = 20
MAX_SIZE: Final = 100
MAX_TOKEN_LENGTH: Final = 6_000
_TAG_BYTES: Final = 16

Filters = Mapping[str, str | int | None]


class PageTokens:
    """Makes and reads page tokens; a token is bound to the list, its filters and whose it is."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def make(self, scope: str, filters: Filters, place: object) -> str:
        """The token of a place (any JSON) in this list."""
        content = orjson.dumps(place)
        return _text(self._tag(scope, filters, content) + content)

    def read(self, scope: str, filters: Filters, token: str) -> object:
        """The place; raises a 422 for a token that is not one, or was made for another list."""
        try:
            raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        except ValueError as error:
            raise _refused() from error
        tag, content = raw[:_TAG_BYTES], raw[_TAG_BYTES:]
        if _text(raw) != token or not hmac.compare_digest(tag, self._tag(scope, filters, content)):
            raise _refused()
        return orjson.loads(content)

    def _tag(self, scope: str, filters: Filters, content: bytes) -> bytes:
        bound = orjson.dumps(
            [scope, sorted((name, value) for name, value in filters.items() if value is not None)]
        )
        return hmac.digest(self._key, sha256(bound).digest() + content, "sha256")[:_TAG_BYTES]


def next_link(path: str, query: Filters, token: str) -> str:
    """The Link header of the page that follows."""
    given = {name: str(value) for name, value in query.items() if value is not None}
    return f'<{path}?{urlencode(given | {"page_token": token})}>; rel="next"'


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def _refused() -> Exception:
    detail = "This token belongs to no page of this list with these filters."
    return unprocessable([Fault("#/page_token", detail, "page_token_invalid", "query")])
