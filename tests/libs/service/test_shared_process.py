"""Several services in one process: what each of them has for itself."""

import asyncio
import io
import json
import logging

import pytest
import structlog

from libs.service import logs
from libs.service.settings import Settings, read

PLAIN = {"DATABASE_URL": "postgresql:///plain", "HTTP_PORT": "1", "INVENTORY_HTTP_PORT": "2"}


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    for name, value in PLAIN.items():
        monkeypatch.setenv(name, value)
    return PLAIN


def test_what_is_named_with_the_service_goes_before_what_is_plain(plain: dict[str, str]) -> None:
    inventory, payment = (read(Settings, service, plain) for service in ("inventory", "payment"))
    assert (inventory.http_port, payment.http_port) == (2, 1)
    assert inventory.database_url == payment.database_url == PLAIN["DATABASE_URL"]


async def test_a_line_names_the_service_whose_task_wrote_it(plain: dict[str, str]) -> None:
    out = io.StringIO()
    before = structlog.get_config(), logging.root.handlers[:], logging.root.level

    async def one(service: str) -> None:
        logs.speak_for(service)
        await asyncio.sleep(0)  # the other begins in between
        await asyncio.create_task(two(service))

    async def two(service: str) -> None:
        structlog.get_logger("it").info("said", by=service)
        logging.getLogger(f"client.{service}").warning("said by %s", service)

    try:
        logs.configure(read(Settings, "", plain), out)
        async with asyncio.TaskGroup() as group:
            for service in ("inventory", "payment"):
                group.create_task(one(service))
    finally:
        config, logging.root.handlers[:], logging.root.level = before
        structlog.configure(**config)
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert len(lines) == 4
    for line in lines:
        assert line["service"] == line.get("by", line["event"].rpartition(" ")[2])
