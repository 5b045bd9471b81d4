"""The safeguards of the runtime, each with what the platform would be without it, and the faults that show it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Final

import gateway.api.intents
import order_history.domain.history
import order_saga.store
from gateway.store import intents
from inventory.store import LOCK_STOCK
from libs.messaging.producer import RecordProducer
from libs.outbox import mailbox, relay, upcoming, writers
from libs.outbox.transaction import Transaction
from libs.service.consumption import Consumption
from tests.model.substitution import Substitute
from tests.simulation import careless
from tests.simulation.running import Seen, run, simulating
from tests.simulation.statements.mailbox import take
from tests.simulation.store import Handler

SEEDS: Final = 250
"""So many seeds at most are run to notice that a safeguard is missing."""


@dataclass(frozen=True, slots=True)
class Safeguard:
    """What is left out, under which faults that is looked for, and how."""

    name: str
    without: str
    faults: tuple[str, ...]
    handlers: Mapping[str, Handler] = field(default_factory=dict)
    substitutes: tuple[Substitute, ...] = ()


def _statement(statement: str, handler: Handler) -> Mapping[str, Handler]:
    return MappingProxyType({statement: handler})


RUNTIME: Final = (
    Safeguard(
        "runtime_inbox",
        "a record that comes again is decided again",
        ("duplicates", "replay", "send_unknown"),
        _statement(mailbox.TAKE, partial(take, admitting=careless.admit_everything)),
    ),
    Safeguard(
        "one_transaction",
        "messages are put into the outbox apart from what they tell of",
        (
            "conflict:order_saga",
            "database_restart:order_saga",
            "commit_unknown:order_saga",
            "crash:order_saga",
        ),
        substitutes=(Substitute(mailbox, "put", careless.put_apart),),
    ),
    Safeguard(
        "offset_compare_and_set",
        "an offset is set wherever it is by now",
        ("zombie", "zombie", "zombie", "zombie"),
        _statement(mailbox.TAKE, partial(take, advancing=careless.advance_anyway)),
    ),
    Safeguard(
        "delete_by_id",
        "the relay deletes everything up to what was acknowledged last",
        ("slow_network", "scale_out:order_saga"),
        _statement(relay.DELETE, careless.delete_up_to),
    ),
    Safeguard(
        "doubtful_commit",
        "a commit whose answer was lost is taken for one that never was",
        ("commit_unknown:gateway", "commit_unknown:gateway", "slow_network"),
        substitutes=(Substitute(Transaction, "in_doubt", careless.no_doubt),),
    ),
    Safeguard(
        "relay_order",
        "the relay sends the newest first",
        ("broker_outage",),
        _statement(upcoming.NEXT, careless.newest_first),
    ),
    Safeguard(
        "producer_rebuild",
        "a producer goes on with a client that has failed",
        ("leader_change", "send_unknown"),
        substitutes=(Substitute(RecordProducer, "close", careless.keep_client),),
    ),
    Safeguard(
        "acknowledgement",
        "what could not be sent is taken for sent",
        ("leader_change", "leader_change"),
        substitutes=(Substitute(RecordProducer, "send", careless.believe_in_delivery),),
    ),
    Safeguard(
        "parking_of_key",
        "later messages of an order overtake one that is parked",
        ("bug:order_history", "bug:order_saga", "bug:order_history", "bug:order_history"),
        _statement(mailbox.TAKE, partial(take, holding=careless.nothing_held)),
    ),
    Safeguard(
        "idempotency_row",
        "an idempotency key is not kept",
        (),
        _statement(intents.CLAIM, careless.claim_without_key),
    ),
    Safeguard(
        "single_relay",
        "every process relays the outbox",
        ("scale_out:order_saga", "scale_out:inventory", "scale_out:payment"),
        _statement(writers.OWN_LANE, careless.yes),
    ),
    Safeguard(
        "alone_before_handover",
        "a process sends what it commits at once though others write to the outbox too",
        ("scale_out:gateway", "scale_out:gateway", "second_process:gateway", "slow_network"),
        _statement(writers.OTHERS_WRITE, careless.no),
    ),
    Safeguard(
        "gate_of_writers",
        "a connection writes to the outbox without waiting until another process no longer writes alone",
        ("scale_out:gateway", "scale_out:gateway", "second_process:gateway", "slow_network"),
        _statement(writers.WAIT_AT_GATE, careless.yes),
    ),
    Safeguard(
        "writers_known_by_connection",
        "who writes is known by its relay's session only, which may end before the process does",
        ("backend_killed:gateway", "second_process:gateway", "database_restart:gateway", "scale_out:gateway"),
        _statement(writers.WRITE, careless.yes),
    ),
    Safeguard(
        "monotonic_fold",
        "the read model shows what it heard last",
        ("replay", "slow_network"),
        substitutes=(Substitute(order_history.domain.history, "join", careless.last_told_wins),),
    ),
    Safeguard(
        "runtime_caught_up",
        "deadlines do not wait for the answers that lie in their topics",
        ("zombie:order_saga", "cut_from_broker:order_saga", "zombie:order_saga"),
        _statement(order_saga.store.DUE, careless.due_by_the_clock),
    ),
    Safeguard(
        "database_clock",
        "a process's own clock says until when topics were read",
        ("clock_skew:order_saga", "cut_from_broker:order_saga", "clock_skew:order_saga", "zombie:order_saga"),
        substitutes=(Substitute(Consumption, "_in_database_time", careless.in_own_time),),
    ),
    Safeguard(
        "row_lock",
        "stock is read without a lock",
        ("scale_out:inventory", "slow_network"),
        _statement(LOCK_STOCK, careless.read_stock),
    ),
    Safeguard(
        "intents_resent",
        "an accepted order whose command is lost is not sent again",
        tuple(["lost_records:order-saga-commands"] * 8),
        substitutes=(Substitute(gateway.api.intents, "send_due", careless.send_nothing_again),),
    ),
)


@dataclass(frozen=True, slots=True)
class Search:
    """How a safeguard's absence showed: the first seed that has findings, None where none of them had."""

    name: str
    seeds: int
    seen: Seen | None


def search(name: str) -> Search:
    """Run seeds without a safeguard until one shows it."""
    safeguard = next(one for one in RUNTIME if one.name == name)
    with simulating(*safeguard.substitutes):
        for seed in range(1, SEEDS + 1):
            seen = run(seed, faults=safeguard.faults, careless=safeguard.handlers)
            if seen.findings:
                return Search(name, seed, seen)
    return Search(name, SEEDS, None)


def kept(name: str, seeds: int) -> list[Seen]:
    """Run the same seeds with the safeguard in its place; those that show something all the same."""
    safeguard = next(one for one in RUNTIME if one.name == name)
    with simulating():
        ran = [run(seed, faults=safeguard.faults) for seed in range(1, seeds + 1)]
    return [seen for seen in ran if seen.findings]
