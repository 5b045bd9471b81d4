"""How many requests were sent to Kafka: what a message costs, beside time."""

from collections.abc import Awaitable
from dataclasses import dataclass

from aiokafka.client import AIOKafkaClient


@dataclass(slots=True)
class Requests:
    """A count that several clients share: fetch, produce, group and offset requests; not the look-ups of metadata."""

    sent: int = 0

    def count(self, client: AIOKafkaClient) -> None:
        """Count what this client sends from now on; aiokafka itself counts nothing."""
        send = client.send

        def counted(*arguments: object, **named: object) -> Awaitable[object]:
            self.sent += 1
            answer: Awaitable[object] = send(*arguments, **named)
            return answer

        client.send = counted
