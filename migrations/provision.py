"""Every service's database and its two roles: the owner migrates, the runtime role only reads and writes rows."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import LiteralString
from urllib.parse import quote, urlencode

from psycopg import AsyncConnection, sql
from psycopg.conninfo import conninfo_to_dict

SERVICES = ("gateway", "order_saga", "order", "product", "inventory", "payment", "order_history")


@dataclass(frozen=True, slots=True)
class Access:
    """One service's database as libpq URIs; `prefix` keeps test databases and their roles apart."""

    service: str
    database: str
    owner: str
    runtime: str
    owner_dsn: str
    runtime_dsn: str


PasswordOf = Callable[[str], str]
"""The password of a role, by its name; the same one at every call."""


def access(admin_dsn: str, service: str, password_of: PasswordOf, prefix: str = "") -> Access:
    """Say how a service reaches its database on the admin's server, without touching it."""
    database = prefix + ("orders" if service == "order" else service)  # "order" is a word of SQL
    owner, runtime = f"{prefix}{service}_owner", f"{prefix}{service}_runtime"
    return Access(
        service,
        database,
        owner,
        runtime,
        owner_dsn=dsn_as(admin_dsn, database=database, user=owner, password=password_of(owner)),
        runtime_dsn=dsn_as(admin_dsn, database=database, user=runtime, password=password_of(runtime)),
    )


def dsn_as(dsn: str, *, database: str, user: str | None = None, password: str | None = None) -> str:
    """Return a libpq URI for another database of the same server, as the same or another user."""
    given = {name: str(value) for name, value in conninfo_to_dict(dsn).items() if value is not None}
    user = user or given.get("user", "postgres")
    password = password or given.get("password")
    place = {name: given[name] for name in given.keys() - {"user", "password", "dbname"}}
    host = place.get("host", "localhost")
    if "/" in host or "," in host:  # a socket's folder or several servers: only the query part can say that
        authority = ""
    else:
        authority = f"[{host}]" if ":" in host else host
        authority += f":{place['port']}" if "port" in place else ""
        place = {name: place[name] for name in place.keys() - {"host", "port"}}
    login = quote(user, safe="") + ("" if password is None else ":" + quote(password, safe=""))
    query = "?" + urlencode(sorted(place.items()), quote_via=quote) if place else ""
    return f"postgresql://{login}@{authority}/{quote(database, safe='')}{query}"


async def provision(
    admin_dsn: str, password_of: PasswordOf, *, services: Sequence[str] = SERVICES, prefix: str = ""
) -> dict[str, Access]:
    """Create what is missing and set passwords and privileges; run again, it changes nothing else.

    The admin needs CREATEDB and CREATEROLE, not superuser. Runtime roles get rows, sequences and functions of
    whatever the owner makes later; a migration takes away what a table should not allow.
    """
    made = {service: access(admin_dsn, service, password_of, prefix) for service in services}
    async with _session(admin_dsn) as admin:
        for each in made.values():
            await _make_role(admin, each.owner, password_of(each.owner))
            await _make_role(admin, each.runtime, password_of(each.runtime))
            await _execute(admin, "GRANT {owner} TO CURRENT_USER", owner=each.owner)
            await _make_database(admin, each)
    for each in made.values():
        async with _session(dsn_as(admin_dsn, database=each.database)) as inside:
            await _grant(inside, each)
    return made


async def drop(admin_dsn: str, *, prefix: str, services: Sequence[str] = SERVICES) -> None:
    """Remove the databases and roles of a prefix, sessions included; what is not there is passed over."""
    if not prefix:
        raise ValueError("databases without a prefix are not dropped from here")
    async with _session(admin_dsn) as admin:
        for service in services:
            each = access(admin_dsn, service, lambda _role: "unused", prefix)
            await _execute(admin, "DROP DATABASE IF EXISTS {database} WITH (FORCE)", database=each.database)
            await _execute(
                admin, "DROP ROLE IF EXISTS {owner}, {runtime}", owner=each.owner, runtime=each.runtime
            )


@asynccontextmanager
async def _session(dsn: str) -> AsyncIterator[AsyncConnection]:
    async with await AsyncConnection.connect(dsn, autocommit=True, application_name="provision") as session:
        yield session


async def _execute(session: AsyncConnection, statement: LiteralString, **names: str) -> None:
    await session.execute(
        sql.SQL(statement).format(**{key: sql.Identifier(name) for key, name in names.items()})
    )


async def _make_role(admin: AsyncConnection, role: str, password: str) -> None:
    known = await admin.execute("SELECT FROM pg_roles WHERE rolname = %s", (role,))
    if await known.fetchone() is None:
        await _execute(admin, "CREATE ROLE {role} LOGIN", role=role)
    # Hashed on this side: the server's log never sees the password.
    verifier = admin.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
    await admin.execute(
        sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), sql.Literal(verifier))
    )


async def _make_database(admin: AsyncConnection, each: Access) -> None:
    known = await admin.execute("SELECT FROM pg_database WHERE datname = %s", (each.database,))
    if await known.fetchone() is None:
        # The same order of names, and the same indexes, whatever the server's own locale is and becomes.
        await _execute(
            admin,
            "CREATE DATABASE {database} OWNER {owner} TEMPLATE template0 ENCODING 'UTF8'"
            " LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8' LOCALE 'C'",
            database=each.database,
            owner=each.owner,
        )


async def _grant(inside: AsyncConnection, each: Access) -> None:
    names = {"database": each.database, "owner": each.owner, "runtime": each.runtime}
    statements: tuple[LiteralString, ...] = (
        "ALTER SCHEMA public OWNER TO {owner}",
        "REVOKE ALL ON DATABASE {database} FROM PUBLIC",
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
        "GRANT CONNECT ON DATABASE {database} TO {runtime}",
        "GRANT USAGE ON SCHEMA public TO {runtime}",
        (
            "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA public"
            " GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {runtime}"
        ),
        "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA public GRANT USAGE ON SEQUENCES TO {runtime}",
        "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA public GRANT EXECUTE ON FUNCTIONS TO {runtime}",
    )
    for statement in statements:
        await _execute(inside, statement, **names)
