"""Who writes to an outbox, who does so alone, and who relays it: advisory locks (PostgreSQL, 13.3.5)."""

from dataclasses import dataclass
from typing import Final, LiteralString

from psycopg import AsyncConnection

from libs.outbox.transaction import Row

OWN_LANE: Final = "SELECT pg_try_advisory_lock(731001, %s::int)"
SHUT_GATE: Final = """
    SELECT CASE WHEN NOT pg_try_advisory_lock(731002, 0) THEN false
                WHEN pg_try_advisory_lock(731003, %s::int) THEN true
                ELSE NOT pg_advisory_unlock(731002, 0) END
"""
OPEN_GATE: Final = "SELECT pg_advisory_unlock(731003, %s::int), pg_advisory_unlock(731002, 0)"
WAIT_AT_GATE: Final = "SELECT pg_advisory_xact_lock_shared(731002, 0)"
SOMEBODY_ALONE: Final = """
    CASE WHEN pg_try_advisory_lock_shared(731002, 0) THEN NOT pg_advisory_unlock_shared(731002, 0) ELSE true END
"""
"""Whether the gate is shut. To a connection that writes this means by its own process, whose relay's session still lives."""
WRITE: Final = "SELECT pg_advisory_lock_shared(731004, %s::int)"
SHUT_BY_OWN: Final = """
    SELECT EXISTS (
        SELECT 1 FROM pg_locks
        WHERE locktype = 'advisory' AND classid = 731003 AND objid = %s::oid
          AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    )
"""
OTHERS_WRITE: Final = """
    SELECT EXISTS (
        SELECT 1 FROM pg_locks
        WHERE locktype = 'advisory' AND classid IN (731003, 731004) AND objid <> %s::oid
          AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    )
"""
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


async def enter(connection: AsyncConnection[Row], process: int) -> None:
    """Let a connection in among those that write to the outbox, before it writes anything.

    Its session says until its end that the process writes, whatever becomes of the process's relay.
    Where another process writes alone, waits until that one has taken note, for as long as
    lock_timeout allows.
    """
    await connection.execute(WRITE, [process])
    if not await _truth(connection, SHUT_BY_OWN, process):
        await connection.execute(WAIT_AT_GATE)


async def alone(connection: AsyncConnection[Row], lane: Lane, process: int) -> bool:
    """Shut others out, if none of them writes: from now on the process writes alone, until `let_in`.

    A session that writes has said so before it looked whether it may, and this looks after it has
    shut the gate: one of the two sees the other. What is seen to write no longer has ended its
    transactions, too. With several lanes nobody counts as alone.
    """
    if lane.of > 1 or not await _truth(connection, SHUT_GATE, process):
        return False
    if not await _truth(connection, OTHERS_WRITE, process):
        return True
    await let_in(connection, process)
    return False


async def somebody_waits(connection: AsyncConnection[Row]) -> bool:
    """Whether another process wants to write too."""
    return await _truth(connection, SOMEBODY_WAITS)


async def let_in(connection: AsyncConnection[Row], process: int) -> None:
    """Let others write too."""
    await connection.execute(OPEN_GATE, [process])


async def _truth(connection: AsyncConnection[Row], statement: LiteralString, *parameters: object) -> bool:
    row = await (await connection.execute(statement, parameters)).fetchone()
    return bool(row and row[0])
