"""The payment service's settings."""

from pydantic import Field, PositiveFloat

from libs.service.runtime import Runtime
from libs.service.settings import Settings


class PaymentSettings(Settings):
    """How the card provider is talked to; a call that takes longer has an unknown outcome."""

    card_timeout_seconds: PositiveFloat = 5.0
    card_calls: int = Field(
        128, ge=2, description="calls at once, half of them kept for what is asked for the first time"
    )


def of(runtime: Runtime) -> PaymentSettings:
    """The settings of this running service."""
    if not isinstance(runtime.settings, PaymentSettings):
        raise TypeError(f"the payment service runs with {type(runtime.settings).__name__}")
    return runtime.settings
