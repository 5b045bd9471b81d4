"""What brings a process to places that good orders never lead to: poison, guilty messages, an impatient operator."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from uuid import UUID

import httpx
import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.rows import TupleRow

from bench.stack import StackInfo
from libs.contracts.inventory import ReserveInventory
from libs.contracts.topics import INVENTORY_COMMANDS, ORDER_SAGA_COMMANDS
from libs.contracts.values import Line, ProductId
from tests.crashpoints.load import Load
from tests.support.builders import a_correlation, a_record, an_order_id, envelope
from tests.support.shop import Operator
from tests.support.topics import RawRecord, Topics
from tests.support.waiting import eventually

POISONED: Final = {"inventory": INVENTORY_COMMANDS, "order_saga": ORDER_SAGA_COMMANDS}
"""A topic that only this service reads."""

SPARE: Final = 3
BAN: Final = """
    CREATE TABLE IF NOT EXISTS banned_products (product_id uuid PRIMARY KEY);
    CREATE OR REPLACE FUNCTION refuse_banned() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
    BEGIN
        IF EXISTS (SELECT FROM banned_products WHERE product_id = NEW.product_id) THEN
            RAISE EXCEPTION 'the product % is banned', NEW.product_id USING ERRCODE = 'check_violation';
        END IF;
        RETURN NEW;
    END $$;
    CREATE OR REPLACE TRIGGER refuse_banned BEFORE INSERT ON reservations
        FOR EACH ROW EXECUTE FUNCTION refuse_banned();
"""
WAITS: Final = "SELECT 1 FROM parked_messages WHERE error LIKE '%%' || %s || '%%'"


class Sabotage:
    """Works on one running stack; `banned` is a product whose reservation fails for ever, `spare` are to be used."""

    def __init__(
        self,
        info: StackInfo,
        operator: Operator,
        inventory: psycopg.AsyncConnection[TupleRow],
        banned: UUID,
        spare: list[UUID],
    ) -> None:
        self._info = info
        self._operator = operator
        self._inventory = inventory
        self._banned = banned
        self._spare = spare
        self._topics = Topics(info.kafka_bootstrap, "", 3)

    async def poison(self, load: Load, service: str) -> None:
        """A record that nobody can read."""
        record = RawRecord(POISONED[service], str(an_order_id()).encode(), b"\xff{", envelope("no.Such.v1"))
        await self._publish(load, record)

    async def guilty(self, load: Load) -> None:
        """Two commands of nobody's, whose handling fails until they are dead letters; they come together."""
        lines = (Line(product_id=ProductId(self._banned), quantity=1),)
        await self._publish(
            load,
            *(
                a_record(
                    ReserveInventory(order_id=order, lines=lines),
                    correlation=a_correlation(order, "reserve_inventory"),
                )
                for order in (an_order_id(), an_order_id())
            ),
        )

    async def mended(self, load: Load) -> None:
        """An order whose reservation fails at first, and is tried again once the cause is gone."""
        product = self._spare.pop()
        await self._inventory.execute("INSERT INTO banned_products VALUES (%s)", [product])
        customer, method = load.buyers[0]
        await load.place(customer, method, [(product, 1)])
        await eventually(lambda: self._parked(product), within=60, every=0.05, what="a parked message")
        await self._inventory.execute("DELETE FROM banned_products WHERE product_id = %s", [product])

    async def insist(self) -> None:
        """Have the steps of running sagas sent again, for as long as this is not cancelled."""
        headers = {"Authorization": f"Bearer {self._operator.token}"}
        async with httpx.AsyncClient(
            base_url=self._info.service_urls["order_saga"], headers=headers, timeout=10
        ) as http:
            while True:
                await self._resend(http)
                await asyncio.sleep(0.1)

    async def _resend(self, http: httpx.AsyncClient) -> None:
        try:
            running = await http.get("/sagas", params={"status": "running", "limit": 5})
            for saga in running.json()["items"] if running.is_success else []:
                shown = (await http.get(f"/sagas/{saga['saga_id']}")).json()
                ask = {"reason": "It takes too long.", "revision": shown["revision"]}
                await http.post(f"/sagas/{saga['saga_id']}/retry", json=ask)
        except httpx.TransportError:
            return  # the orchestrator is away: that is what this is for

    async def _parked(self, product: UUID) -> bool:
        cursor = await self._inventory.execute(WAITS, [str(product)])
        return await cursor.fetchone() is not None

    async def _publish(self, load: Load, *records: RawRecord) -> None:
        for placed in await self._topics.publish(*records):
            load.poison.add((placed.topic, placed.partition, placed.offset))


@asynccontextmanager
async def sabotage(info: StackInfo, operator: Operator) -> AsyncIterator[Sabotage]:
    """With a trigger in inventory's database, which stays there."""
    dsn = make_conninfo(info.postgres_admin, dbname="inventory")
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as inventory:
        await inventory.execute(BAN.encode())
        banned = await operator.product(stock=1_000)
        await inventory.execute("INSERT INTO banned_products VALUES (%s)", [banned])
        spare = [await operator.product(stock=1_000) for _ in range(SPARE)]
        yield Sabotage(info, operator, inventory, banned, spare)
