"""Databases and roles: made once, kept, closed to each other, and without DDL for the runtime role."""

from collections.abc import AsyncIterator

import psycopg
import pytest

from devstack.postgres import EmbeddedPostgres
from devstack.readiness import free_port
from migrations.provision import Access, drop, dsn_as, provision

pytestmark = pytest.mark.integration

_SMALL = {"shared_buffers": "32MB", "max_connections": "20"}
_SERVICES = ("order", "inventory")


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedPostgres]:
    postgres = EmbeddedPostgres(tmp_path_factory.mktemp("provision") / "pg", free_port(), settings=_SMALL)
    await postgres.start()
    yield postgres
    await postgres.stop()
    postgres.remove()


def _password(role: str) -> str:
    return f"{role} p@ss/word'"


async def _provision(server: EmbeddedPostgres, prefix: str) -> dict[str, Access]:
    return await provision(server.admin_dsn, _password, services=_SERVICES, prefix=prefix)


async def _run(dsn: str, statement: str) -> list[tuple[object, ...]]:
    async with await psycopg.AsyncConnection.connect(dsn) as session:
        cursor = await session.execute(statement.encode())
        return await cursor.fetchall() if cursor.description else []


async def test_owner_makes_tables_and_runtime_writes_rows(server: EmbeddedPostgres) -> None:
    inventory = (await _provision(server, "rows_"))["inventory"]
    await _run(inventory.owner_dsn, "CREATE TABLE things (id bigint GENERATED ALWAYS AS IDENTITY, name text)")
    await _run(inventory.runtime_dsn, "INSERT INTO things (name) VALUES ('lamp')")
    await _run(inventory.runtime_dsn, "UPDATE things SET name = 'desk'")
    assert await _run(inventory.runtime_dsn, "SELECT id, name FROM things") == [(1, "desk")]
    await _run(inventory.runtime_dsn, "DELETE FROM things")


async def test_names_are_ordered_alike_whatever_the_servers_locale_is(server: EmbeddedPostgres) -> None:
    locale = "SELECT datlocprovider, datlocale, pg_encoding_to_char(encoding) FROM pg_database WHERE datname = '{}'"
    assert await _run(server.admin_dsn, locale.format("template1")) == [("c", None, "UTF8")]
    inventory = (await _provision(server, "names_"))["inventory"]
    assert await _run(inventory.runtime_dsn, locale.format(inventory.database)) == [("b", "C.UTF-8", "UTF8")]


async def test_runtime_makes_no_tables(server: EmbeddedPostgres) -> None:
    inventory = (await _provision(server, "ddl_"))["inventory"]
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        await _run(inventory.runtime_dsn, "CREATE TABLE mine (id int)")


async def test_a_service_cannot_enter_another_ones_database(server: EmbeddedPostgres) -> None:
    made = await _provision(server, "apart_")
    intruder = dsn_as(
        made["inventory"].runtime_dsn,
        database=made["order"].database,
        user=made["inventory"].runtime,
        password=_password(made["inventory"].runtime),
    )
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        await _run(intruder, "SELECT 1")


async def test_a_second_time_keeps_data_and_what_a_migration_took_away(server: EmbeddedPostgres) -> None:
    order = (await _provision(server, "twice_"))["order"]
    await _run(order.owner_dsn, "CREATE TABLE ledger AS SELECT 1 AS amount")
    await _run(order.owner_dsn, f"REVOKE DELETE ON ledger FROM {order.runtime}")
    await _provision(server, "twice_")
    assert await _run(order.runtime_dsn, "SELECT amount FROM ledger") == [(1,)]
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        await _run(order.runtime_dsn, "DELETE FROM ledger")


async def test_an_admin_without_superuser_can_provision(server: EmbeddedPostgres) -> None:
    await _run(server.admin_dsn, "CREATE ROLE cloud_admin LOGIN CREATEDB CREATEROLE PASSWORD 'x'")
    admin_dsn = dsn_as(server.admin_dsn, database="postgres", user="cloud_admin", password="x")
    made = await provision(admin_dsn, _password, services=("inventory",), prefix="cloud_")
    await _run(made["inventory"].owner_dsn, "CREATE TABLE things (id int)")
    assert await _run(made["inventory"].runtime_dsn, "SELECT id FROM things") == []


async def test_drop_removes_databases_and_roles_of_the_prefix_only(server: EmbeddedPostgres) -> None:
    await _provision(server, "keep_")
    await _provision(server, "gone_")
    await drop(server.admin_dsn, prefix="gone_", services=_SERVICES)
    left = await _run(
        server.admin_dsn,
        "SELECT datname FROM pg_database UNION ALL SELECT rolname FROM pg_roles ORDER BY 1",
    )
    names = {str(name) for (name,) in left}
    assert not {name for name in names if name.startswith("gone_")}
    assert {"keep_orders", "keep_inventory", "keep_order_owner", "keep_inventory_runtime"} <= names
