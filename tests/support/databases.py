"""Fresh databases for tests: every service is migrated once per run, into a template that tests copy."""

import asyncio
import itertools
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow

from migrations import runner
from migrations.provision import Access, drop, dsn_as, provision

PASSWORD: Final = "only-for-tests"


@dataclass(frozen=True, slots=True)
class Database:
    """One test's own database of one service, as libpq URIs of its owner, its runtime role and the superuser."""

    service: str
    name: str
    owner_dsn: str
    runtime_dsn: str
    admin_dsn: str

    async def rows(self, query: str, *parameters: object) -> list[TupleRow]:
        """What a query sees, as the superuser; a statement that returns nothing gives no rows."""
        async with await psycopg.AsyncConnection.connect(self.admin_dsn, autocommit=True) as session:
            cursor = await session.execute(query.encode(), parameters or None)
            return await cursor.fetchall() if cursor.rownumber is not None else []

    async def row(self, query: str, *parameters: object) -> TupleRow:
        """The only row that a query sees."""
        rows = await self.rows(query, *parameters)
        assert len(rows) == 1, f"{len(rows)} rows: {query}"
        return rows[0]


class Databases:
    """The run's templates, made when first asked for, and the copies of them that tests use."""

    def __init__(self, admin_dsn: str) -> None:
        self._admin_dsn = admin_dsn
        self._prefix = f"t{secrets.token_hex(4)}_"
        self._templates: dict[str, Access] = {}
        self._making = asyncio.Lock()
        self._numbers = itertools.count(1)

    async def fresh(self, service: str) -> Database:
        """A new database of a service with all its migrations."""
        template = await self._template(service)
        name = f"{template.database}_{next(self._numbers)}"
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER {}").format(
            sql.Identifier(name), sql.Identifier(template.database), sql.Identifier(template.owner)
        )
        await self._execute(statement)
        return Database(
            service,
            name,
            owner_dsn=dsn_as(self._admin_dsn, database=name, user=template.owner, password=PASSWORD),
            runtime_dsn=dsn_as(self._admin_dsn, database=name, user=template.runtime, password=PASSWORD),
            admin_dsn=dsn_as(self._admin_dsn, database=name),
        )

    async def drop(self, database: Database) -> None:
        """Remove a test's database; sessions that a test left open are ended."""
        await self._execute(
            sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(database.name))
        )

    async def remove(self) -> None:
        """Remove the templates and their roles."""
        await drop(self._admin_dsn, prefix=self._prefix, services=list(self._templates))

    async def _template(self, service: str) -> Access:
        async with self._making:
            if service not in self._templates:
                made = await provision(
                    self._admin_dsn, lambda _role: PASSWORD, services=[service], prefix=self._prefix
                )
                self._templates[service] = made[service]
                await asyncio.to_thread(runner.upgrade, service, made[service].owner_dsn)
        return self._templates[service]

    async def _execute(self, statement: sql.Composed) -> None:
        async with await psycopg.AsyncConnection.connect(self._admin_dsn, autocommit=True) as session:
            await session.execute(statement)


@asynccontextmanager
async def databases(admin_dsn: str) -> AsyncIterator[Databases]:
    """A run's databases; none is left afterwards."""
    made = Databases(admin_dsn)
    try:
        yield made
    finally:
        await made.remove()
