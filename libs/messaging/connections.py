"""aiokafka's connections, which break in any event loop as aiokafka expects it.

aiokafka 0.14 expects an OSError where it writes to a connection that is broken; uvloop raises RuntimeError
(github.com/aio-libs/aiokafka, issue 1038). That ended the task that looks after a client's metadata, and the client
waited for that task ever after: it kept its place in the group, and read nothing.
"""

from collections.abc import Awaitable
from typing import Any

import aiokafka.conn
from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.errors import KafkaConnectionError


class Connection(AIOKafkaConnection):  # type: ignore[misc]
    """A connection whose break is an error of Kafka's, whatever the event loop says."""

    def send(self, request: Any, expect_response: bool = True) -> Awaitable[Any]:
        """As aiokafka's. Raises KafkaConnectionError where the connection is broken."""
        try:
            answer: Awaitable[Any] = super().send(request, expect_response)
        except RuntimeError as error:
            self.close(reason=CloseReason.CONNECTION_BROKEN, exc=error)
            raise KafkaConnectionError(f"Connection at {self.host}:{self.port} broken: {error}") from error
        return answer


def install() -> None:
    """Let every client of this process connect so."""
    aiokafka.conn.AIOKafkaConnection = Connection
