"""Decide, message by message, what a proxy passes on: they know a commit and a produce when they see one."""

from collections.abc import Callable
from typing import Protocol

from tests.faults.harness import kafka_wire, postgres_wire
from tests.faults.harness.weather import Loss, Weather


class Inspector(Protocol):
    """One connection's; both return what passes, and whether the connection breaks then."""

    def outgoing(self, data: bytes) -> tuple[bytes, bool]:
        """From the client."""

    def incoming(self, data: bytes) -> tuple[bytes, bool]:
        """From the server."""


Lost = Callable[[Loss], None]
"""Told when something was lost for certain: an answer only once the server has given it."""


class Unread:
    """Passes everything."""

    def __init__(self, _weather: Weather, _lost: Lost) -> None:
        return

    def outgoing(self, data: bytes) -> tuple[bytes, bool]:
        return data, False

    def incoming(self, data: bytes) -> tuple[bytes, bool]:
        return data, False


class Commits:
    """A PostgreSQL connection whose commits, or the answers to them, may get lost."""

    def __init__(self, weather: Weather, lost: Lost) -> None:
        self._weather = weather
        self._lost = lost
        self._frontend = postgres_wire.Frontend()
        self._backend = postgres_wire.Backend()
        self._swallowing = False
        self._failed = False

    def outgoing(self, data: bytes) -> tuple[bytes, bool]:
        passed = bytearray()
        for message in self._frontend.feed(data):
            loss = self._weather.losing() if message.commits and not self._swallowing else None
            if loss is Loss.REQUEST:
                self._lost(loss)
                return bytes(passed), True
            self._swallowing |= loss is Loss.ANSWER
            passed += message.raw
        return bytes(passed), False

    def incoming(self, data: bytes) -> tuple[bytes, bool]:
        passed = bytearray()
        for message in self._backend.feed(data):
            if not self._swallowing:
                passed += message.raw
            elif message.commits:
                self._lost(Loss.ANSWER)
                return bytes(passed), True
            else:
                self._failed |= message.raw[:1] == b"E"
                if self._failed and message.raw[:1] == b"Z":
                    return bytes(passed), True
        return bytes(passed), False


class Produces:
    """A Kafka connection whose produce requests, or the acks of them, may get lost."""

    def __init__(self, weather: Weather, lost: Lost) -> None:
        self._weather = weather
        self._lost = lost
        self._requests = kafka_wire.Frames()
        self._responses = kafka_wire.Frames()
        self._unanswered: set[int] = set()

    def outgoing(self, data: bytes) -> tuple[bytes, bool]:
        passed = bytearray()
        for request in map(kafka_wire.request, self._requests.feed(data)):
            loss = self._weather.losing() if request.produces else None
            if loss is Loss.REQUEST:
                self._lost(loss)
                return bytes(passed), True
            if loss is Loss.ANSWER:
                self._unanswered.add(request.correlation)
            passed += request.raw
        return bytes(passed), False

    def incoming(self, data: bytes) -> tuple[bytes, bool]:
        passed = bytearray()
        for response in map(kafka_wire.response, self._responses.feed(data)):
            if response.correlation in self._unanswered:
                self._lost(Loss.ANSWER)
                return bytes(passed), True
            passed += response.raw
        return bytes(passed), False
