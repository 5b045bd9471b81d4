"""Folds records into the shadow tables: the service's own load, decide and save, without inbox and dead letters."""

from collections.abc import Sequence
from datetime import UTC, datetime

import psycopg
from psycopg import AsyncConnection

from libs.contracts.message import Contract
from libs.messaging.codec import Codec
from libs.messaging.errors import Undecodable
from libs.messaging.message import Message
from libs.messaging.record import Record
from libs.outbox.connection import transaction
from libs.outbox.faults import blames_message
from libs.outbox.transaction import Row
from order_history import store
from order_history.app import service


class Filling:
    """A session whose search path begins with the shadow tables, and what it made of the records."""

    def __init__(self, session: AsyncConnection[Row], topic_prefix: str) -> None:
        self._session = session
        self._codec = Codec(service.name, topic_prefix)
        self._routes = {route.body: route.decide for route in service.routes}
        self._handled = {body.wire: body for body in self._routes if issubclass(body, Contract)}
        self.folded = 0
        self.left_out = 0

    async def fold(self, records: Sequence[Record]) -> None:
        """Fold what can be read; what became a dead letter when it was live is counted and left out."""
        messages: list[Message[Contract]] = []
        now = datetime.now(UTC)
        for record in records:
            try:
                message = self._codec.decode(record, now, self._handled)
            except Undecodable:
                self.left_out += 1
            else:
                if message is not None:
                    messages.append(message)
        if messages:
            await self._save(messages)

    async def _save(self, messages: Sequence[Message[Contract]]) -> None:
        try:
            async with transaction(self._session) as tx:
                histories = await store.load(tx, messages)
                for message in messages:
                    self._routes[type(message.body)](histories, message)
                await store.save(tx, histories)
        except psycopg.Error as error:
            if not blames_message(error):
                raise
            if len(messages) == 1:
                self.left_out += 1
                return
            for message in messages:
                await self._save([message])
        else:
            self.folded += len(messages)
