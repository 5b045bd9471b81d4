"""The orchestrator's settings: how long steps may take, how many sagas may run."""

from datetime import timedelta

from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from pydantic_settings import BaseSettings, SettingsConfigDict

from libs.service.settings import Settings


class Limits(BaseSettings):
    """What bounds sagas in time and number; seconds, and sagas that have not ended and are not parked."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True)

    inventory_timeout_seconds: PositiveFloat = 15.0
    payment_timeout_seconds: PositiveFloat = 60.0
    grace_period_seconds: NonNegativeFloat = 0.0
    max_running_sagas: PositiveInt = 2_000

    @property
    def times(self) -> dict[str, timedelta]:
        """The times of the steps that can be set, by the steps' names."""
        return {
            "reserve_inventory": timedelta(seconds=self.inventory_timeout_seconds),
            "process_payment": timedelta(seconds=self.payment_timeout_seconds),
            "grace_period": timedelta(seconds=self.grace_period_seconds),
        }


class OrderSagaSettings(Limits, Settings):
    """All of the orchestrator's settings."""
