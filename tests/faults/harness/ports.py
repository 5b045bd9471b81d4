"""Where everything of the harness's stack listens: below the ephemeral ports, which a dead server's could become."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from devstack.layout import SERVICE_PORTS

SERVICES: Final = tuple(SERVICE_PORTS)
BROKER_FOR: Final = 9100
"""The broker's listener for each service: what it tells that service to connect to is the service's own proxy."""
KAFKA_PROXY: Final = 9110
POSTGRES_PROXY: Final = 9120
CARDS_PROXY: Final = 9130
TWINS: Final = 9140


@dataclass(frozen=True, slots=True)
class Ports:
    """Each service's, moved by the stack's offset."""

    offset: int

    def _of(self, base: int, service: str) -> int:
        return base + SERVICES.index(service) + self.offset

    def broker_for(self, service: str) -> int:
        """Where the broker itself waits for the service."""
        return self._of(BROKER_FOR, service)

    def kafka(self, service: str) -> int:
        """The proxy between the service and Kafka."""
        return self._of(KAFKA_PROXY, service)

    def postgres(self, service: str) -> int:
        """The proxy between the service and PostgreSQL."""
        return self._of(POSTGRES_PROXY, service)

    @property
    def cards(self) -> int:
        """The proxy between payment and the card provider."""
        return CARDS_PROXY + self.offset

    def twin(self, service: str) -> int:
        """The HTTP port of a second process of the service."""
        return self._of(TWINS, service)

    def broker_settings(self, port: int, controller_port: int) -> Mapping[str, str]:
        """A listener for each service, advertised as its proxy, so that nothing has to be rewritten on the way."""
        names = {service: f"FOR_{service.upper()}" for service in SERVICES}
        own = f"PLAINTEXT://127.0.0.1:{port}"
        listeners = [f"{name}://127.0.0.1:{self.broker_for(s)}" for s, name in names.items()]
        advertised = [f"{name}://127.0.0.1:{self.kafka(s)}" for s, name in names.items()]
        protocols = [f"{name}:PLAINTEXT" for name in ("PLAINTEXT", "CONTROLLER", *names.values())]
        return MappingProxyType(
            {
                "listeners": ",".join([own, f"CONTROLLER://127.0.0.1:{controller_port}", *listeners]),
                "advertised.listeners": ",".join([own, *advertised]),
                "listener.security.protocol.map": ",".join(protocols),
            }
        )
