"""What can go wrong between a service and its database.

OutboxError
├── Fenced        another process has the partition: roll back and read the offsets again
├── OffsetAlarm   the stored offset does not fit the topic any more: somebody has to decide
└── Undeliverable a message that will never be for anybody here: a dead letter at once
"""


class OutboxError(Exception):
    """The root of this package's errors."""


class Fenced(OutboxError):  # noqa: N818 - the state of this process
    """The compare-and-set of an offset failed."""


class OffsetAlarm(OutboxError):  # noqa: N818
    """The stored offset lies outside the topic, or the topic was made anew."""


class Undeliverable(OutboxError):  # noqa: N818
    """Raised by a decide function, before it changes anything, for a message that no retry helps."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
