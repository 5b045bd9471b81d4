"""What can be set about the gateway."""

import base64
from typing import Final, Self

from pydantic import Field, PositiveFloat, PositiveInt, SecretStr, model_validator

from libs.service.settings import Settings

SECRET_BYTES: Final = 32
_DEV_SECRET: Final = SecretStr(base64.b64encode(b"only for the profile called dev!").decode())


class GatewaySettings(Settings):
    """Environment variables of the gateway; times are in seconds."""

    signing_key_secret: SecretStr | None = Field(
        None,
        description="32 bytes in base64: seals the private keys; page and refresh tokens derive from it",
    )

    access_token_seconds: PositiveInt = 600
    refresh_token_seconds: PositiveInt = 30 * 86_400
    refresh_grace_seconds: PositiveFloat = Field(
        10, description="a lost answer may be asked for again so long"
    )
    service_token_seconds: PositiveInt = 300
    retired_key_seconds: PositiveInt = Field(3_600, description="how long a rotated key still verifies")

    password_threads: PositiveInt = 2
    password_queue: PositiveInt = Field(64, description="hashes that may wait; more are answered 503")

    group_size: PositiveInt = Field(64, description="orders that share a transaction, at most")
    group_wait_seconds: float = Field(0.005, ge=0, description="how long an order waits for a busy group")
    group_queue: PositiveInt = Field(4_000, description="orders that may wait; more are answered 503")
    commit_seconds: PositiveFloat = Field(5, description="how long a commit is tried again")
    idempotency_seconds: PositiveInt = 86_400

    resend_after_seconds: PositiveFloat = Field(60, description="an intent without effect is sent again")
    resend_at_most_every_seconds: PositiveFloat = 900
    settle_every_seconds: PositiveFloat = Field(2, description="how often order_history is asked for effects")

    upstream_seconds: PositiveFloat = Field(5, description="how long a service may take to answer")
    request_seconds: PositiveFloat = Field(
        20, description="how long any answer may take, beside waits and streams"
    )
    max_wait_seconds: PositiveInt = Field(30, description="the longest Prefer: wait")

    max_body_bytes: PositiveInt = 65_536
    streams_per_user: PositiveInt = 5
    stream_keep_alive_seconds: PositiveFloat = 15

    rate_limits: bool | None = Field(None, description="token buckets; by default in every profile but dev")
    user_requests_per_second: PositiveFloat = 50
    user_burst: PositiveInt = 200
    address_requests_per_second: PositiveFloat = 100
    address_burst: PositiveInt = 400
    login_throttling: bool | None = Field(None, description="by default in every profile but dev")
    login_failures: PositiveInt = Field(5, description="failed logins before an account has to wait")
    login_wait_seconds: PositiveFloat = Field(30, description="the first wait; it doubles with each failure")
    trusted_proxies: tuple[str, ...] = Field((), description="addresses whose X-Forwarded-For is believed")

    shed_outbox_rows: PositiveInt = 200_000
    shed_outbox_age_seconds: PositiveFloat = 900
    shed_look_seconds: PositiveFloat = Field(2, description="how often the outbox is looked at for that")

    cors_origins: tuple[str, ...] = ()
    docs: bool | None = Field(
        None, description="/docs and /openapi.json; by default in every profile but prod"
    )

    @model_validator(mode="after")
    def _has_a_secret(self) -> Self:
        if self.signing_key_secret is None and self.profile != "dev":
            raise ValueError("SIGNING_KEY_SECRET must be set outside the dev profile")
        if len(self.secret) != SECRET_BYTES:
            raise ValueError("SIGNING_KEY_SECRET must be 32 bytes in base64")
        return self

    @property
    def secret(self) -> bytes:
        """The secret that everything sealed or signed derives from."""
        return base64.b64decode((self.signing_key_secret or _DEV_SECRET).get_secret_value())

    @property
    def limits_rates(self) -> bool:
        """Whether there are token buckets."""
        return self.profile != "dev" if self.rate_limits is None else self.rate_limits

    @property
    def throttles_logins(self) -> bool:
        """Whether failed logins make an account wait."""
        return self.profile != "dev" if self.login_throttling is None else self.login_throttling

    @property
    def shows_docs(self) -> bool:
        """Whether /docs and /openapi.json are there."""
        return self.profile != "prod" if self.docs is None else self.docs
