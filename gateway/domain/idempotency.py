"""The form of an Idempotency-Key header."""

import re
from typing import Final

MAX_LENGTH: Final = 255
_BARE: Final = re.compile(r"[\x21-\x7e]{1,255}")
_QUOTED: Final = re.compile(r'"((?:[\x21\x23-\x5b\x5d-\x7e]|\\["\\])+)"')
_ESCAPED: Final = re.compile(r"\\(.)")


def parse_key(header: str) -> str | None:
    """The key, whether bare or as a quoted string (RFC 8941, section 3.3.3); None where it is neither."""
    if header.startswith('"'):
        match = _QUOTED.fullmatch(header)
        header = _ESCAPED.sub(r"\1", match[1]) if match else ""
    return header if _BARE.fullmatch(header) else None
