"""Who else writes to an outbox and who relays it: session locks on the relay's connection (PostgreSQL, 13.3.5)."""

from dataclasses import dataclass
from typing import Final, LiteralString

from psycopg import AsyncConnection

from libs.outbox.transaction import Row

OWN_LANE: Final = "SELECT pg_try_advisory_lock(731001, %s::int)"
WRITE_ALONE: Final = "SELECT pg_try_advisory_lock(731002, 0)"
WRITE_TOO: Final = "SELECT pg_advisory_lock_shared(731002, 0)"
NO_LONGER_ALONE: Final = "SELECT pg_advisory_unlock(731002, 0)"
ALONE_AGAIN: Final = "SELECT pg_advisory_unlock_shared(731002, 0)"
SOMEBODY_WAITS: Final = """
    SELECT EXISTS (
        SELECT 1 FROM pg_locks
        WHERE locktype = 'advisory' AND NOT granted AND classid = 731002
          AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    )
"""


@dataclass(frozen=True, slots=True)
class Lane:
    """The share of the keys that a relay works on: those with `key_hash % of == number`."""

    number: int = 0
    of: int = 1


async def own(connection: AsyncConnection[Row], lane: Lane) -> bool:
    """Become the relay of a lane, unless another process is."""
    return await _truth(connection, OWN_LANE, lane.number)


async def join(connection: AsyncConnection[Row], lane: Lane) -> bool:
    """Enter among those who write to this outbox; whether this process is the only one.

    Waits until a process that believed itself alone has taken note, for as long as lock_timeout
    allows. With several lanes nobody counts as alone.
    """
    if lane.of == 1 and await _truth(connection, WRITE_ALONE):
        return True
    await connection.execute(WRITE_TOO)
    return False


async def still_alone(connection: AsyncConnection[Row]) -> bool:
    """Whether nobody waits to write too; if somebody does, they are let in."""
    if not await _truth(connection, SOMEBODY_WAITS):
        return True
    await connection.execute(WRITE_TOO)
    await connection.execute(NO_LONGER_ALONE)
    return False


async def alone_again(connection: AsyncConnection[Row], lane: Lane) -> bool:
    """Whether all others have gone."""
    if lane.of > 1 or not await _truth(connection, WRITE_ALONE):
        return False
    await connection.execute(ALONE_AGAIN)
    return True


async def _truth(connection: AsyncConnection[Row], statement: LiteralString, *parameters: object) -> bool:
    row = await (await connection.execute(statement, parameters)).fetchone()
    return bool(row and row[0])
