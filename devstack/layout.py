"""Where everything of one stack lies and listens: STACK_DIR, STACK_PORT_OFFSET, and what external servers replace."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from devstack.errors import StackError
from devstack.kafka import Node

CHECKOUT: Final = Path(__file__).parent.parent

SERVICE_PORTS: Final[Mapping[str, int]] = {
    "gateway": 8081,
    "order_saga": 8082,
    "order": 8083,
    "product": 8084,
    "inventory": 8085,
    "payment": 8086,
    "order_history": 8087,
}
TOGETHER: Final = ("order", "product", "inventory", "payment", "order_history")
"""The services that share a process where LAYOUT=together: all but those that do most (docs/adr/0017)."""
SHARED: Final = "shared"
"""What that process is called, beside those that are called as their one service."""
_CARD_PROVIDER_PORT: Final = 8088
_POSTGRES_PORT: Final = 5432
_KAFKA_PORT: Final = 9092


@dataclass(frozen=True, slots=True)
class Layout:
    """One stack: its folder, the number added to every port, and the caller's environment."""

    folder: Path
    offset: int = 0
    brokers: int | None = None
    environ: Mapping[str, str] = field(default_factory=dict)
    together: bool | None = None
    """Whether services share processes; None where nobody said."""

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] = os.environ) -> "Layout":
        """Read STACK_DIR, STACK_PORT_OFFSET, BROKERS and LAYOUT; a relative folder is the checkout's."""
        brokers = _whole_number("BROKERS", environ.get("BROKERS", ""), allowed=(1, 3))
        offset = _whole_number("STACK_PORT_OFFSET", environ.get("STACK_PORT_OFFSET", ""), allowed=None)
        folder = CHECKOUT / (environ.get("STACK_DIR") or ".stack")
        return cls(folder, offset or 0, brokers, environ, _together(environ.get("LAYOUT", "")))

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    @property
    def stack_file(self) -> Path:
        return self.folder / "stack.json"

    @property
    def demo_file(self) -> Path:
        return self.folder / "demo.json"

    @property
    def card_provider_port(self) -> int:
        return _CARD_PROVIDER_PORT + self.offset

    @property
    def postgres_port(self) -> int:
        return _POSTGRES_PORT + self.offset

    @property
    def external_postgres(self) -> str | None:
        """The admin's DSN of a server that is not ours."""
        return self.environ.get("POSTGRES_URL") or None

    @property
    def external_kafka(self) -> str | None:
        """The addresses of a broker that is not ours."""
        return self.environ.get("KAFKA_BOOTSTRAP_SERVERS") or None

    @property
    def partitions(self) -> int:
        """How many partitions a topic gets when it is created."""
        return _whole_number("TOPIC_PARTITIONS", self.environ.get("TOPIC_PARTITIONS", ""), allowed=None) or 3

    def service_port(self, service: str) -> int:
        return SERVICE_PORTS[service] + self.offset

    def process_of(self, service: str) -> str:
        """The name of the process that runs a service: its own, or that of those who share one."""
        return SHARED if self.together and service in TOGETHER else service

    def service_url(self, service: str) -> str:
        return f"http://127.0.0.1:{self.service_port(service)}"

    def nodes(self, brokers: int) -> tuple[Node, ...]:
        """Each broker and its controller, two ports apart: 9092 and 9093, then 9094 and 9095."""
        first = _KAFKA_PORT + self.offset
        return tuple(
            Node(number + 1, first + 2 * number, first + 2 * number + 1) for number in range(brokers)
        )

    def log(self, name: str) -> Path:
        return self.logs / f"{name}.log"


def _together(text: str) -> bool | None:
    match text:
        case "":
            return None
        case "apart" | "together":
            return text == "together"
        case _:
            raise StackError(f"LAYOUT={text}: it must be apart or together.")


def _whole_number(name: str, text: str, *, allowed: tuple[int, ...] | None) -> int | None:
    if not text:
        return None
    if not text.isdecimal() or (allowed and int(text) not in allowed):
        expected = " or ".join(map(str, allowed)) if allowed else "a whole number"
        raise StackError(f"{name}={text}: it must be {expected}.")
    return int(text)
