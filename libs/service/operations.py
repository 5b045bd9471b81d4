"""What an operator does to a service's messages from the command line."""

import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Final, TypeAlias

from libs.contracts.message import Contract
from libs.messaging.codec import Codec, raw_headers
from libs.messaging.errors import Undecodable
from libs.messaging.record import Record
from libs.outbox.connection import connect, transaction
from libs.outbox.transaction import Transaction
from libs.service.service import Service
from libs.service.settings import read

Operation: TypeAlias = Callable[[Service[object], Sequence[str]], Coroutine[None, None, None]]

LETTERS: Final = """
    SELECT id, died_at, topic, partition, "offset", message_id, convert_from(key, 'UTF8'), reason, error, attempts
    FROM dead_letters WHERE redriven_at IS NULL ORDER BY id LIMIT 1000
"""
LETTER: Final = """
    SELECT topic, partition, "offset", key, headers, payload FROM dead_letters
    WHERE id = %s AND redriven_at IS NULL FOR UPDATE
"""
REDRIVE: Final = """
    INSERT INTO parked_messages
        (message_id, topic, partition, "offset", key, headers, payload, attempts, next_at)
    SELECT %s::uuid, topic, partition, "offset", %s, headers, payload, 0, clock_timestamp()
    FROM dead_letters WHERE id = %s
"""
REDRIVEN: Final = "UPDATE dead_letters SET redriven_at = clock_timestamp() WHERE id = %s"
ACCEPT: Final = """
    UPDATE consumer_offsets SET next_offset = %s, last_message_id = NULL
    WHERE topic = %s AND partition = %s RETURNING next_offset
"""


class OperationRefused(Exception):  # noqa: N818 - what happened
    """The operation was not done; the message says why."""


@asynccontextmanager
async def _transaction(service: Service[object]) -> AsyncIterator[Transaction]:
    dsn = read(service.settings, service.name).database_url
    connection = await connect(dsn, name=f"{service.name} operations")
    try:
        async with transaction(connection) as tx:
            await tx.read_clock()
            yield tx
    finally:
        await connection.close()


async def list_dead_letters(service: Service[object], _rest: Sequence[str]) -> None:
    """Print the dead letters that nobody has redriven, oldest first."""
    async with _transaction(service) as tx:
        rows = await tx.fetch(LETTERS)
    for number, died_at, topic, partition, offset, message_id, key, reason, error, attempts in rows:
        sys.stdout.write(
            f"{number}\t{died_at:%Y-%m-%dT%H:%M:%SZ}\t{topic}/{partition}@{offset}\torder {key}"
            f"\tmessage {message_id}\t{reason}\t{attempts} attempts\t{_last_line(error)}\n"
        )
    sys.stdout.write(f"{len(rows)} dead letters of {service.name}\n")


def _last_line(error: str) -> str:
    return error.strip().rpartition("\n")[2][:200]


async def redrive(service: Service[object], rest: Sequence[str]) -> None:
    """Run a dead letter again, from the table, behind what is parked of its key.

    It passes neither topic nor inbox. One that still cannot be read is refused.
    """
    if len(rest) != 1 or not rest[0].isdigit():
        raise OperationRefused("name the dead letter by its number: the first column of dead-letters")
    number = int(rest[0])
    codec = Codec(service.name, read(service.settings, service.name).topic_prefix)
    handled = {r.body.wire: r.body for r in service.routes if issubclass(r.body, Contract)}
    async with _transaction(service) as tx:
        rows = await tx.fetch(LETTER, [number])
        if not rows:
            raise OperationRefused(f"{service.name} has no dead letter {number} that is not redriven yet")
        topic, partition, offset, key, headers, payload = rows[0]
        record = Record(topic, partition, offset, key, payload, raw_headers(headers))
        try:
            message = codec.decode(record, tx.now, handled)
        except Undecodable as error:
            raise OperationRefused(f"dead letter {number} still cannot be read: {error}") from error
        if message is None:
            raise OperationRefused(f"{service.name} does not handle the type of dead letter {number}")
        await tx.queue(REDRIVE, [message.id, str(message.key), number])
        await tx.queue(REDRIVEN, [number])
    sys.stdout.write(f"dead letter {number} of {service.name} runs again\n")


async def accept_offset(service: Service[object], rest: Sequence[str]) -> None:
    """Settle an offset alarm: go on from this offset."""
    if len(rest) != 3 or not (rest[1].isdigit() and rest[2].isdigit()):  # noqa: PLR2004
        raise OperationRefused("give topic, partition and the offset to go on from")
    async with _transaction(service) as tx:
        rows = await tx.fetch(ACCEPT, [int(rest[2]), rest[0], int(rest[1])])
    if not rows:
        raise OperationRefused(f"{service.name} has no offset of {rest[0]}/{rest[1]}")
    sys.stdout.write(f"{service.name} goes on at {rest[0]}/{rest[1]}@{rest[2]}\n")


OPERATIONS: Final[Mapping[str, Operation]] = MappingProxyType(
    {"dead-letters": list_dead_letters, "redrive": redrive, "accept-offset": accept_offset}
)
