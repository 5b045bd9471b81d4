"""The settings that every service reads from its environment."""

import os
from collections.abc import Mapping
from typing import Final, Literal, TypeVar

from pydantic import Field, PositiveFloat, PositiveInt
from pydantic_settings import BaseSettings, SettingsConfigDict

OWN: Final = ("database_url", "http_port")
"""What services that share a process cannot share."""


class Settings(BaseSettings):
    """Environment variables without a prefix; a service with settings of its own derives from this.

    Nothing secret has a default. In the `dev` profile rate buckets and login throttling are off.
    """

    model_config = SettingsConfigDict(extra="ignore", frozen=True)

    profile: Literal["dev", "prod"] = "prod"
    database_url: str
    kafka_bootstrap_servers: str = "127.0.0.1:9092"
    topic_partitions: PositiveInt = 3
    topic_prefix: str = ""

    http_host: str = "127.0.0.1"
    http_port: int = Field(ge=0, le=65_535, default=0, description="0 takes any free port")

    gateway_url: str = "http://127.0.0.1:8081"
    order_saga_url: str = "http://127.0.0.1:8082"
    product_url: str = "http://127.0.0.1:8084"
    inventory_url: str = "http://127.0.0.1:8085"
    payment_url: str = "http://127.0.0.1:8086"
    order_history_url: str = "http://127.0.0.1:8087"
    card_provider_url: str = "http://127.0.0.1:8088"

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "json", "pretty"] = Field(
        "auto", description="auto is pretty on a terminal and json elsewhere"
    )

    batch_size: PositiveInt = Field(500, description="records in one batch transaction, at most")
    relay_batch_size: PositiveInt = Field(1_000, description="outbox rows read at a time")
    relay_lanes: PositiveInt = Field(1, description="relays that share one outbox, by key")
    parked_attempts: PositiveInt = Field(5, description="tries before a parked message is a dead letter")
    parked_first_delay_seconds: PositiveFloat = 1.0
    parked_max_delay_seconds: PositiveFloat = 60.0
    shutdown_seconds: PositiveFloat = Field(8.0, description="how long a stop may take")


Read = TypeVar("Read", bound=Settings)


def read(settings: type[Read], service: str, environ: Mapping[str, str] = os.environ) -> Read:
    """A service's settings, where `INVENTORY_DATABASE_URL` and `INVENTORY_HTTP_PORT` go before the plain names.

    Raises pydantic.ValidationError.
    """
    named = {name: environ.get(f"{service}_{name}".upper()) for name in OWN}
    return settings(**{name: value for name, value in named.items() if value})  # type: ignore[arg-type]
