"""What can go wrong on the way.

MessagingError
├── Undecodable      a record that no retry makes readable: a dead letter
└── BrokerUnavailable  the broker did not answer in time or lost its leader: try again
"""


class MessagingError(Exception):
    """The root of this package's errors."""


class Undecodable(MessagingError):  # noqa: N818 - the name says what the record is
    """A record that cannot be read.

    `reason` is one of unknown_type, wrong_topic, bad_header, wrong_key, too_big, not_json,
    invalid_payload.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class BrokerUnavailable(MessagingError):  # noqa: N818
    """A broker or a leader is away; nothing is known of what was under way."""
