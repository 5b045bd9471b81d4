"""A dead letter as it is published: whole where it can be, and never more than the broker takes."""

import pytest

from libs.messaging.record import Record
from libs.outbox.dead_letters import letter
from libs.outbox.mailbox import Death
from tests.support.builders import a_message_id

LIMIT = 1_000_000


def published(
    key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes]]
) -> tuple[int, dict[str, bytes], bytes]:
    """How big its record is, its headers and its value."""
    record = Record("order-events", 1, 7, key, value, headers)
    death = Death(record, None, "not_json", "x" * 5_000, 1)
    row = letter(death, a_message_id(), service="order_saga", prefix="", at="2026-01-02T03:04:05Z")
    sent = row.kafka_headers()
    size = len(row.key.encode()) + len(row.payload) + sum(len(n) + len(v) for n, v in sent)
    return size, dict(sent), row.payload


@pytest.mark.parametrize(
    ("key", "value", "headers"),
    [
        (b"k" * 900_000, b"v", []),
        (b"k", b"v", [("ce_time", b"h" * 900_000)]),
        (b"k", b"v" * 1_000_000, []),
        (b"k", b"v" * 850_000, [("h", b"h" * 99_000)]),
        (b"k" * 90_000, b"v" * 850_000, [("h", b"h" * 90_000)]),
        (b"k", b"v", [("n" * 500, b"")] * 1_500),
    ],
)
def test_no_letter_is_bigger_than_the_broker_takes(
    key: bytes, value: bytes, headers: list[tuple[str, bytes]]
) -> None:
    size, told, _ = published(key, value, headers)
    assert size < LIMIT
    assert {"dlq_value_omitted", "dlq_headers_omitted"} & set(told)


def test_what_fits_is_there_whole() -> None:
    _, told, value = published(b"k", b"v" * 700_000, [("h", b"h" * 90_000)])
    assert (len(told["h"]), len(value)) == (90_000, 700_000)
    assert not {"dlq_value_omitted", "dlq_headers_omitted"} & set(told)
