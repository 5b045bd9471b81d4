"""The form of an Idempotency-Key header."""

import re
from typing import Final

MAX_LENGTH: Final = 255
_KEY: Final = re.compile(r'"([\x21\x23-\x7e]{1,255})"|([\x21\x23-\x7e][\x21-\x7e]{0,254})')


def parse_key(header: str) -> str | None:
    """The key: 1 to 255 characters from ! to ~, bare or within quotation marks; None where it is neither."""
    match = _KEY.fullmatch(header)
    return None if match is None else match[1] or match[2]
