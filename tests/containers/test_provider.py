"""The servers that `TEST_PROVIDER=testcontainers` gives: a service runs on them."""

import os
from pathlib import Path

import pytest

from libs.contracts.inventory import ReserveInventory
from tests.support.backing import backing
from tests.support.builders import a_record, an_order_id, some_lines
from tests.support.databases import databases
from tests.support.services import ServiceProcess, running
from tests.support.topics import topics


async def test_a_service_answers_on_a_server_and_a_broker_in_containers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(
        "TESTCONTAINERS_RYUK_DISABLED", "true"
    )  # both are stopped here, and it is one more image to pull
    command = a_record(ReserveInventory(order_id=an_order_id(), lines=some_lines(1)))
    async with (
        backing(tmp_path, {**os.environ, "TEST_PROVIDER": "testcontainers"}) as both,
        databases(both.postgres_admin) as made,
        topics(both.kafka_bootstrap) as fresh,
    ):
        database = await made.fresh("inventory")
        async with running(ServiceProcess("inventory", database, fresh, tmp_path, {})):
            await fresh.publish(command)
            [event] = await fresh.expect("inventory-events", 1)
        await made.drop(database)
    assert event.key == command.key
    assert event.header("causation_id") == command.header("ce_id")
