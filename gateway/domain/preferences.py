"""The Prefer header (RFC 7240)."""

import re
from collections.abc import Sequence
from typing import Final

_WAIT: Final = re.compile(r'wait\s*=\s*"?([0-9]{1,9})"?', re.IGNORECASE)


def wait_seconds(headers: Sequence[str], at_most: int) -> int | None:
    """How long the sender would wait for the outcome; the first `wait` counts, and what cannot be read is ignored."""
    for header in headers:
        for preference in header.split(","):
            if match := _WAIT.fullmatch(preference.partition(";")[0].strip()):
                return min(int(match[1]), at_most)
    return None
