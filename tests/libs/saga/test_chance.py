"""Tries the ids and the jitter that follow from what is decided."""

from datetime import UTC, datetime, timedelta
from uuid import RFC_4122, UUID

from libs.contracts.values import SagaId
from libs.saga.chance import jitter, message_id

SAGA = SagaId(UUID("01900000-0000-7000-8000-000000000001"))
OTHER = SagaId(UUID("01900000-0000-7000-8000-000000000002"))
NOW = datetime(2030, 5, 6, 7, 8, 9, 123_456, UTC)


def test_an_id_is_a_version_7_uuid_of_its_time() -> None:
    made = message_id(SAGA, 3, "open_order", 1, NOW)
    assert (made.version, made.variant) == (7, RFC_4122)
    assert made.int >> 80 == int(NOW.timestamp() * 1000)


def test_the_same_sending_has_the_same_id_and_every_other_another() -> None:
    ids = {
        message_id(saga, revision, step, attempt, NOW)
        for saga in (SAGA, OTHER)
        for revision in (1, 2, 12)
        for step in ("a", "b")
        for attempt in (1, 2, 21)
    }
    assert len(ids) == 2 * 3 * 2 * 3
    assert message_id(SAGA, 1, "a", 1, NOW) in ids
    assert message_id(SAGA, 1, "a", 1, NOW + timedelta(milliseconds=1)) not in ids


def test_jitter_spreads_over_the_last_quarter() -> None:
    drawn = [jitter(message_id(SAGA, n, "a", 1, NOW)) for n in range(500)]
    assert min(drawn) >= 0.75
    assert max(drawn) < 1.0
    assert max(drawn) - min(drawn) > 0.2
