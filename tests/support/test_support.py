"""Tries what tests stand on: the real broker, the topics of a test, the waiting."""

from collections.abc import Awaitable, Callable

import pytest

from tests.support.backing import provider
from tests.support.builders import a_record, an_order
from tests.support.databases import Database
from tests.support.topics import Topics
from tests.support.waiting import eventually


@pytest.mark.parametrize(
    ("environ", "chosen"),
    [
        ({}, "embedded"),
        ({"POSTGRES_URL": "postgresql://x"}, "embedded"),
        ({"POSTGRES_URL": "postgresql://x", "KAFKA_BOOTSTRAP_SERVERS": "x:9092"}, "external"),
        (
            {"TEST_PROVIDER": "testcontainers", "POSTGRES_URL": "x", "KAFKA_BOOTSTRAP_SERVERS": "x"},
            "testcontainers",
        ),
    ],
)
def test_the_provider_is_named_or_follows_from_the_addresses(environ: dict[str, str], chosen: str) -> None:
    assert provider(environ) == chosen


def test_an_unknown_provider_is_refused() -> None:
    with pytest.raises(ValueError, match="TEST_PROVIDER=podman"):
        provider({"TEST_PROVIDER": "podman"})


async def test_waiting_fails_with_the_last_reason() -> None:
    tried = [1]

    async def ask() -> bool:
        assert not tried, "one is not two"
        return True

    with pytest.raises(AssertionError, match="one is not two"):
        await eventually(ask, within=0.05)


@pytest.mark.integration
async def test_a_record_is_read_as_it_was_published(topics: Topics) -> None:
    order = an_order()
    [placed] = await topics.publish(a_record(order))
    [read] = await topics.read(order.topic)
    assert read == placed
    assert read.header("ce_type") == "order_saga.SagaCreateOrder.v1"


@pytest.mark.integration
async def test_two_databases_of_a_service_share_nothing(
    database: Callable[[str], Awaitable[Database]],
) -> None:
    one, two = await database("inventory"), await database("inventory")
    await one.rows("INSERT INTO consumer_offsets (topic, partition, next_offset) VALUES ('x', 0, 1)")
    assert await two.rows("SELECT FROM consumer_offsets") == []
    assert len(await one.rows("SELECT FROM consumer_offsets")) == 1
