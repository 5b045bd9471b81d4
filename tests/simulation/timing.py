"""The platform's own times, where a simulated world needs others: minutes of it are dear, and idle polls are most of them."""

from datetime import timedelta
from typing import Final

import libs.outbox.relay
import libs.outbox.upcoming
import libs.service.consumption
import libs.service.engine
import order_saga.census
import order_saga.timers
import payment.card_desk
from tests.model.substitution import Substitute

STEPS: Final = {
    "open_order": timedelta(seconds=6),
    "validate_products": timedelta(seconds=6),
    "reserve_inventory": timedelta(seconds=6),
    "process_payment": timedelta(seconds=8),
    "complete_order": timedelta(seconds=6),
    "begin_cancellation": timedelta(seconds=6),
    "refund_payment": timedelta(seconds=6),
    "release_inventory": timedelta(seconds=6),
    "cancel_order": timedelta(seconds=6),
}
"""How long each step may take; 15, 30 and 60 s in production."""

TIMES: Final = (
    Substitute(libs.outbox.relay, "SAFETY_POLL_SECONDS", 1.2),
    Substitute(libs.outbox.relay, "SHARED_POLL_SECONDS", 0.2),
    Substitute(libs.outbox.relay, "ALONE_CHECK_SECONDS", 0.8),
    Substitute(libs.outbox.relay, "LOOK_SECONDS", 2.0),
    Substitute(libs.outbox.relay, "MAX_BACK_OFF_SECONDS", 2.0),
    Substitute(libs.outbox.upcoming, "MAX_BACK_OFF_SECONDS", 2.0),
    Substitute(libs.service.consumption, "POLL_MS", 2_000),
    Substitute(libs.service.consumption, "IDLE_WRITE_SECONDS", 2.0),
    Substitute(libs.service.consumption, "SILENT_SECONDS", 6.0),
    Substitute(libs.service.consumption, "ALARM_CHECK_SECONDS", 2.0),
    Substitute(libs.service.consumption, "MAX_BACK_OFF_SECONDS", 2.0),
    Substitute(libs.service.engine, "PARKED_POLL_SECONDS", 3.0),
    Substitute(order_saga.timers, "LONGEST_WAIT_SECONDS", 2.0),
    Substitute(order_saga.timers, "PACE_SECONDS", 0.5),
    Substitute(order_saga.census, "RECOUNT_SECONDS", 5.0),
    Substitute(payment.card_desk, "LEASE_MARGIN", timedelta(seconds=4)),
)
