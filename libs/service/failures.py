"""Whose fault it is when messages fail: a message's own, or, when many fail alike, the service's."""

import traceback
from collections.abc import Sequence
from itertools import chain
from typing import Final

from libs.contracts.values import MessageId
from libs.messaging.message import Message
from libs.service.errors import AlikeFailures

ALIKE_KEYS: Final = 5
"""So many different keys that fail alike in a row are the service's fault, not the messages'."""
MAX_ERROR_LENGTH: Final = 4_000


class Failures:
    """The failures of a service's messages, as long as they are alike and nothing succeeded in between."""

    def __init__(self) -> None:
        self._alike: tuple[str, set[str]] = ("", set())

    def note(
        self,
        message: Message[object],
        cause: BaseException,
        messages: Sequence[Message[object]],
        failures: dict[MessageId, str],
    ) -> None:
        """Remember the failure for the next run of the batch of `messages`; `failures` has those of its runs so far.

        Raises AlikeFailures when too many keys failed alike in a row.
        """
        kind, keys = self._alike
        position = [m.id for m in messages].index(message.id)
        decided_since = any(m.id not in failures and str(m.key) not in keys for m in messages[:position])
        if kind != _kind(cause) or decided_since:
            keys = set()
        keys = keys | {str(message.key)}
        self._alike = _kind(cause), keys
        if len(keys) >= ALIKE_KEYS:
            self._alike = "", set()
            raise AlikeFailures(f"{len(keys)} orders failed alike in a row: {_kind(cause)}") from cause
        failures[MessageId(message.id)] = described(cause)


def _kind(cause: BaseException) -> str:
    """What failures are alike by: the type, and the line that raised."""
    last = traceback.extract_tb(cause.__traceback__)[-1:]
    place = ":".join(chain.from_iterable((f.filename, str(f.lineno)) for f in last))
    return f"{type(cause).__name__} at {place}"


def described(cause: BaseException) -> str:
    """The traceback, its end where it is long, as PostgreSQL can keep it."""
    return "".join(traceback.format_exception(cause))[-MAX_ERROR_LENGTH:].replace("\x00", "\\0")
