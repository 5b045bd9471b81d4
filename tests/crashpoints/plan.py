"""Which crash point is armed in which service, at which pass, and what brings the process there."""

from dataclasses import dataclass
from typing import Final, Literal

from libs.crash_points import NAMES, CrashPoint

Trigger = Literal[
    "load",  # orders, cancellations, late cards: the load that goes on all the time
    "lull",  # nothing new comes in
    "stop",  # SIGTERM, once it is ready
    "poison",  # a record that nobody can read
    "guilty",  # a message whose handling always fails
    "mended",  # a message whose handling failed, and no longer does
    "operator",  # an operator has steps of running sagas tried again
    "unseen",  # the read model is away, so that intents stay open
    "rebuild",  # the read model is rebuilt by a process of its own, which is the one to die
]
PARTS: Final = 5


@dataclass(frozen=True, slots=True)
class Arming:
    """One death that is to be died."""

    name: CrashPoint
    service: str
    at: int = 1
    trigger: Trigger = "load"

    @property
    def variable(self) -> str:
        """The value of CRASH_POINT."""
        return f"{self.name}:{self.at}"


def _in(*services: str, at: int = 1, by: Trigger = "load") -> tuple[tuple[str, int, Trigger], ...]:
    return tuple((service, at, by) for service in services)


_WHERE: Final[dict[CrashPoint, tuple[tuple[str, int, Trigger], ...]]] = {
    "offsets.located": _in("order"),
    "consumer.polled": _in("product", at=2),
    "consumer.handled": _in("order_saga", at=2),
    "idle.before_write": _in("order_saga", by="lull"),
    "idle.written": _in("inventory", at=2, by="lull"),
    "hint.before_publish": _in("order_history"),
    "hint.published": _in("product"),
    "consumer.leaving": _in("order", by="stop"),
    "batch.opened": _in("payment", at=2),
    "batch.begun": _in("inventory", at=2),
    "offsets.advanced": _in("inventory", by="poison"),
    "inbox.admitted": _in("order", at=2),
    "batch.loaded": _in("order_saga", at=2),
    "batch.decided": _in("inventory", at=2),
    "batch.saved": _in("payment", at=2) + _in("order_history", at=2),
    "batch.written": _in("order", at=2) + _in("order_saga", at=2),
    "batch.committed": _in("product", at=2) + _in("payment", at=2) + _in("order_history", at=2),
    "batch.again": _in("inventory", by="guilty"),
    "batch.divided": _in("inventory", by="guilty"),
    "message.parked": _in("inventory", by="guilty"),
    "letters.buried": _in("inventory", by="poison") + _in("order_saga", by="poison"),
    "commit.before": _in("order", at=6) + _in("gateway", at=6),
    "commit.done": _in("product", at=6) + _in("gateway", at=7),
    "handover.before": _in("inventory", at=2) + _in("gateway", at=2),
    "handover.done": _in("order_saga", at=2),
    "parked.taken": _in("inventory", by="guilty"),
    "parked.handled": _in("inventory", by="mended"),
    "parked.postponed": _in("inventory", by="guilty"),
    "parked.given_up": _in("inventory", by="guilty"),
    "parked.committed": _in("inventory", by="mended"),
    "feed.claimed": _in("order_saga"),
    "feed.decided": _in("payment", at=2),
    "feed.saved": _in("payment") + _in("order_saga"),
    "feed.committed": _in("payment", at=2),
    "relay.connected": _in("gateway"),
    "relay.owner": _in("order_saga"),
    "relay.alone": _in("payment"),
    "relay.looked": _in("inventory"),
    "relay.taken": _in("order", at=2),
    "relay.before_send": _in("gateway", at=2),
    "producer.part_sent": _in("order_saga", at=2) + _in("product", at=2),
    "relay.sent": _in("payment", at=2) + _in("gateway", at=2),
    "relay.before_delete": _in("order_saga", at=2),
    "relay.deleted": _in("inventory", at=2),
    "intake.claimed": _in("gateway", at=2),
    "intake.written": _in("gateway", at=2),
    "intake.committed": _in("gateway", at=2),
    "cancel.written": _in("gateway"),
    "cancel.committed": _in("gateway"),
    "intents.seen": _in("gateway"),
    "intents.closed": _in("gateway"),
    "intents.put_again": _in("gateway", by="unseen"),
    "intents.sent_again": _in("gateway", by="unseen"),
    "cards.claimed": _in("payment", at=2),
    "cards.before_call": _in("payment", at=2),
    "cards.called": _in("payment", at=2),
    "cards.before_feed": _in("payment", at=2),
    "cards.fed": _in("payment"),
    "timers.claimed": _in("order_saga"),
    "timers.fired": _in("order_saga"),
    "operator.decided": _in("order_saga", by="operator"),
    "operator.committed": _in("order_saga", by="operator"),
    "rebuild.shadowed": _in("order_history", by="rebuild"),
    "rebuild.folded": _in("order_history", by="rebuild"),
    "rebuild.caught_up": _in("order_history", by="rebuild"),
    "rebuild.held": _in("order_history", by="rebuild"),
    "rebuild.swapped": _in("order_history", by="rebuild"),
    "rebuild.committed": _in("order_history", by="rebuild"),
    "host.prepared": _in("product"),
    "host.started": _in("order_history"),
    "host.stopping": _in("gateway", by="stop"),
    "host.consumers_stopped": _in("payment", by="stop"),
    "host.flushed": _in("order_saga", by="stop"),
}
ARMINGS: Final = tuple(
    Arming(name, service, at, trigger) for name in NAMES for service, at, trigger in _WHERE[name]
)


def chosen(names: str = "", part: str = "") -> tuple[Arming, ...]:
    """All of them, those with the given names, or one of five parts that together are all. Raises ValueError."""
    if names:
        wanted = {name.strip() for name in names.split(",")}
        if unknown := wanted - set(NAMES):
            raise ValueError(f"There is no crash point {', '.join(sorted(unknown))}.")
        return tuple(one for one in ARMINGS if one.name in wanted)
    if part:
        if part not in {str(number) for number in range(1, PARTS + 1)}:
            raise ValueError(f"PART={part}: it must be 1 to {PARTS}.")
        return ARMINGS[int(part) - 1 :: PARTS]
    return ARMINGS


def rounds(armings: tuple[Arming, ...], size: int) -> list[tuple[Arming, ...]]:
    """Rounds of about this size, in which no service has many more deaths to die than the others."""
    count = max(1, -(-len(armings) // size))
    by_service = sorted(armings, key=lambda one: one.service)
    return [tuple(by_service[number::count]) for number in range(count)]
