"""PostgreSQL under strangers: no connection left, locks held, deadlocks, serialization failures, a full disk."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import psycopg

from tests.faults.harness import sql
from tests.faults.harness.rounds import Kind, Skipped, Trial

DEADLOCKS: Final = "SELECT coalesce(sum(deadlocks), 0)::bigint FROM pg_stat_database"
STRICT: Final = "ALTER ROLE {}_runtime SET default_transaction_isolation = 'repeatable read'"
AS_BEFORE: Final = "ALTER ROLE {}_runtime RESET default_transaction_isolation"
CUT: Final = """
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
SHELVES: Final = "SELECT product_id FROM stock ORDER BY sold DESC, product_id LIMIT 8"
LOCK_SHELF: Final = "SELECT FROM stock WHERE product_id = %s FOR UPDATE"
LOCK_WALLETS: Final = "SELECT FROM wallets FOR UPDATE"
TOUCH_WALLETS: Final = "UPDATE wallets SET balance_minor = balance_minor"
SEGMENTS: Final = 8


async def connections_exhausted(trial: Trial) -> None:
    """Strangers take every connection while all services need new ones; then one holds rows, idle in a transaction."""
    dsn = trial.stage.admin_dsn
    async with AsyncExitStack() as taken:
        count = 0
        for proxy in trial.stage.to("postgres"):
            proxy.reset()
        try:
            while True:
                await taken.enter_async_context(sql.session(dsn, "payment"))
                count += 1
        except psycopg.OperationalError as error:
            trial.note(
                f"{count} connections taken, then: {str(error).strip().rpartition('FATAL:')[2].strip()}"
            )
        await trial.last(4, 6)
    trial.note("given back")
    async with sql.session(dsn, "payment", autocommit=False) as holder:
        await holder.execute(LOCK_WALLETS.encode())
        trial.note("idle in a transaction that holds every wallet")
        await trial.last(4, 6)
        await holder.rollback()


async def deadlocks(trial: Trial) -> None:
    """A stranger locks shelves against the services' order, and transactions get stricter: 40P01 and 40001."""
    dsn = trial.stage.admin_dsn
    [(before,)] = await sql.rows(dsn, "inventory", DEADLOCKS)
    for service in ("inventory", "payment"):
        await sql.rows(dsn, service, STRICT.format(service))
        await sql.rows(dsn, service, CUT)
    trial.note("inventory and payment run at repeatable read, and strangers lock the other way round")
    try:
        met = await _strangers(trial)
    finally:
        for service in ("inventory", "payment"):
            await sql.rows(dsn, service, AS_BEFORE.format(service))
            await sql.rows(dsn, service, CUT)
    [(after,)] = await sql.rows(dsn, "inventory", DEADLOCKS)
    trial.note(f"{after - before} deadlocks counted by the server, {met} of them met by the stranger")


async def _strangers(trial: Trial) -> int:
    """How many deadlocks they met themselves."""
    shelves = [shelf for (shelf,) in await sql.rows(trial.stage.admin_dsn, "inventory", SHELVES)]
    until = asyncio.get_running_loop().time() + trial.random.uniform(7, 9)
    met, _ = await asyncio.gather(_against(trial, shelves, until), _touching(trial, until))
    return met


async def _against(trial: Trial, shelves: list[object], until: float) -> int:
    """Lock pairs of shelves, the higher one first."""
    met = 0
    async with sql.session(trial.stage.admin_dsn, "inventory", autocommit=False) as stranger:
        while asyncio.get_running_loop().time() < until:
            low, high = sorted(trial.random.sample(shelves, 2), key=str)
            try:
                await stranger.execute(LOCK_SHELF.encode(), [high])
                await trial.last(0.05, 0.4)
                await stranger.execute(LOCK_SHELF.encode(), [low])
            except psycopg.errors.DeadlockDetected:
                met += 1
            await stranger.rollback()
    return met


async def _touching(trial: Trial, until: float) -> int:
    """Write to rows that others have read."""
    times = 0
    async with sql.session(trial.stage.admin_dsn, "payment") as stranger:
        while asyncio.get_running_loop().time() < until:
            await stranger.execute(TOUCH_WALLETS.encode())
            times += 1
            await trial.last(0.01, 0.05)
    return times


async def full_disk_postgres(trial: Trial) -> None:
    """Not a byte is left where PostgreSQL writes."""
    await _full_disk(trial, "postgres")


async def full_disk_kafka(trial: Trial) -> None:
    """Not a byte is left where Kafka writes."""
    await _full_disk(trial, "kafka")


async def _full_disk(trial: Trial, server: str) -> None:
    disk = trial.stage.disks[server]
    if not disk.mounted:
        raise Skipped("mounting a file system of a fixed size needs root, and was not permitted")
    log = trial.stage.layout.log(server)
    refused_before = _refusals(log)
    filled = await asyncio.to_thread(disk.fill)
    trial.note(f"the disk under {server} is full: {filled // 1_048_576} MiB of nothing")
    for _ in range(4):
        if server == "postgres":
            await _use_up_segments(trial)
        await trial.last(1, 2)
        await asyncio.to_thread(disk.fill)  # what was given back is taken too
    refused = _refusals(log) - refused_before
    runs = "still runs" if trial.stage.runs(server) else "has ended"
    trial.note(f"{server} met {refused} times that no space was left, and {runs}")
    if not refused:
        trial.fail(f"{server} never missed the space")
    disk.empty()
    trial.note("there is room again")


async def _use_up_segments(trial: Trial) -> None:
    """Begin new segments of the write-ahead log, until those made beforehand are used up."""
    try:
        for _ in range(SEGMENTS):
            await sql.rows(trial.stage.admin_dsn, "payment", "SELECT pg_switch_wal()")
            await sql.rows(trial.stage.admin_dsn, "payment", TOUCH_WALLETS)
    except psycopg.Error as error:
        trial.note(f"PostgreSQL: {str(error).strip().splitlines()[0]}")


def _refusals(log: Path) -> int:
    """How often a server has written that its disk is full."""
    return log.read_text(errors="replace").count("No space left on device")


KINDS: Final = (
    Kind("connections_exhausted", "no connection left, and an idle holder of locks", connections_exhausted),
    Kind("deadlocks", "deadlocks and serialization failures", deadlocks, hot=0.2),
    Kind("full_disk_postgres", "a full disk under PostgreSQL", full_disk_postgres, rate=20),
    Kind("full_disk_kafka", "a full disk under Kafka", full_disk_kafka, rate=20),
)
