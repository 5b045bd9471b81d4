"""Alembic's environment, the same for every service: the ini section's name says which one.

The database is the owner role's: config.attributes["dsn"], or `-x dsn=…`, or DATABASE_OWNER_URL; a libpq URI.
"""

import importlib
import os

import psycopg
from alembic import context
from sqlalchemy import MetaData, create_engine, pool, text

_SERVICE = context.config.config_ini_section


def _dsn() -> str:
    given: str | None = context.config.attributes.get("dsn")
    dsn = (
        given or context.get_x_argument(as_dictionary=True).get("dsn") or os.environ.get("DATABASE_OWNER_URL")
    )
    if not dsn:
        raise SystemExit(
            f"Which database? Set DATABASE_OWNER_URL, or call `alembic -n {_SERVICE} -x dsn=postgresql://… …`."
        )
    return str(dsn)


def _metadata() -> MetaData:
    metadata = importlib.import_module(f"{_SERVICE}.tables").metadata
    if not isinstance(metadata, MetaData):
        raise TypeError(f"{_SERVICE}.tables.metadata is not a MetaData")
    return metadata


def _is_ours(name: str | None, kind: str, _parents: object) -> bool:
    """Leave out the inbox's partitions: they come and go with the days."""
    return not (kind == "table" and name is not None and name.startswith("inbox_"))


def _run_online() -> None:
    dsn = _dsn()
    engine = create_engine(
        "postgresql+psycopg://",
        creator=lambda: psycopg.connect(dsn, application_name=f"migrate-{_SERVICE}"),
        poolclass=pool.NullPool,
    )
    with engine.connect() as connection:
        # Two that migrate at once: the second waits, and finds nothing left to do.
        connection.execute(text("SELECT pg_advisory_lock(hashtext('alembic'))"))
        connection.commit()
        context.configure(
            connection=connection,
            target_metadata=_metadata(),
            include_name=_is_ours,
            compare_server_default=True,
            transaction_per_migration=True,
        )
        with context.begin_transaction():
            context.run_migrations()


def _print_sql() -> None:
    context.configure(dialect_name="postgresql", target_metadata=_metadata(), literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()


if context.is_offline_mode():
    _print_sql()
else:
    _run_online()
