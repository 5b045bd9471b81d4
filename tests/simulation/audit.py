"""What must hold once all is quiet: the invariants of docs and auditor, read directly from the tables and the logs."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from typing import Any, Final
from uuid import UUID

import order_history.app
from libs.contracts.catalogue import CONTRACTS
from libs.contracts.topics import EVENT_TOPICS
from libs.contracts.values import OrderId
from libs.messaging.codec import Codec, message_id_of
from libs.messaging.message import key_of
from order_history.domain.history import Histories, History
from tests.faults.paths import Line, judged
from tests.simulation import schedule
from tests.simulation.people import People
from tests.simulation.platform import SERVICES, Platform
from tests.simulation.store import Row

Finding = tuple[str, str]
_FOLD: Final = {route.body: route.decide for route in order_history.app.service.routes}
_FOLDED: Final = {wire: body for wire, body in CONTRACTS.items() if body in _FOLD}


_SHOWN: Final = ("rank", "updated_at", "origin_from", "lines_from", "reason_from", "payment_rank")


def _meant(told: History) -> tuple[Any, ...]:
    """The columns of `_SHOWN` as they must be."""
    return (
        int(told.stage),
        told.updated_at,
        told.origin.provenance,
        told.contents and told.contents.provenance,
        told.reason and told.reason.provenance,
        None if told.payment is None else int(told.payment),
    )


class Audit:
    """One world, judged."""

    def __init__(self, platform: Platform, people: People) -> None:
        self._platform = platform
        self._people = people
        self._tables = {
            name: {table: each.rows for table, each in database.tables.items()}
            for name, database in platform.databases.items()
        }
        self._ledger: dict[UUID, int] = defaultdict(int)
        for entry in self._tables["payment"]["ledger_entries"].values():
            if entry["account"] == "revenue" and entry["order_id"] is not None:
                self._ledger[entry["order_id"]] += entry["amount_minor"]

    def findings(self) -> Iterator[Finding]:
        """Everything that is wrong."""
        yield from self._platform.witness.wrong
        yield from self._money()
        yield from self._stock()
        yield from self._outcomes()
        yield from self._promises()
        yield from self._journals()
        yield from self._read_model()
        yield from self._mail()
        yield from self._sequence()
        yield from self._sendings()

    def _money(self) -> Iterator[Finding]:
        payment = self._tables["payment"]
        if sum(entry["amount_minor"] for entry in payment["ledger_entries"].values()):
            yield "I1", "the ledger does not sum to zero"
        moved: Counter[str] = Counter()
        for entry in payment["ledger_entries"].values():
            moved[entry["account"]] += entry["amount_minor"]
        for user, balance in self._people.balances.items():
            if payment["wallets"][user]["balance_minor"] != balance + moved[f"wallet:{user}"]:
                yield "I1", f"the wallet of {user} is not what its entries say"
        for order_id, row in payment["payments"].items():
            if (
                row["method_kind"] == "card"
                and self._platform.cards.captured(order_id) != self._ledger[order_id]
            ):
                kept = self._platform.cards.captured(order_id)
                yield (
                    "I1",
                    f"the card of {order_id} was charged {kept}, the ledger says {self._ledger[order_id]}",
                )
        for order_id, charge in self._platform.cards.charges.items():
            if charge.captures > 1:
                yield "I4", f"the card of {order_id} was charged {charge.captures} times"

    def _stock(self) -> Iterator[Finding]:
        inventory = self._tables["inventory"]
        held: Counter[UUID] = Counter()
        sold: Counter[UUID] = Counter()
        for line in inventory["reservations"].values():
            held[line["product_id"]] += line["quantity"] * (line["state"] == "held")
            sold[line["product_id"]] += line["quantity"] * (line["state"] == "sold")
        for product, count in self._people.stock.items():
            row = inventory["stock"][product]
            if (row["on_hand"] + row["sold"], row["reserved"], row["sold"]) != (
                count,
                held[product],
                sold[product],
            ):
                yield "I2", f"stock {row} of {count}, held {held[product]}, sold {sold[product]}"

    def _outcomes(self) -> Iterator[Finding]:
        sagas: dict[UUID, dict[str, Row]] = defaultdict(dict)
        for row in self._tables["order_saga"]["sagas"].values():
            sagas[row["business_key"]][row["type"]] = row
        for order_id, both in sagas.items():
            for saga in both.values():
                if saga["finished_at"] is None:
                    yield "I3", f"{saga['type']} of {order_id} is {saga['status']} at {saga['step']}"
            yield from self._outcome(order_id, both)

    def _outcome(self, order_id: UUID, both: dict[str, Row]) -> Iterator[Finding]:
        create, back = both.get("create_order"), both.get("cancel_completed_order")
        order = self._tables["order"]["orders"].get(order_id)
        hold = self._tables["inventory"]["holds"].get(order_id)
        payment = self._tables["payment"]["payments"].get(order_id)
        history = self._tables["order_history"]["orders"].get(order_id)
        seen = tuple(
            row and row[name]
            for row, name in ((order, "status"), (hold, "state"), (payment, "status"), (history, "status"))
        )
        taken = self._ledger[order_id]
        completed = create is not None and create["status"] == "completed"
        if completed and (back is None or back["status"] != "completed"):
            total = order and order["total_minor"]
            if seen != ("completed", "sold", "completed", "completed"):
                yield "I5", f"{order_id} is completed, and order, hold, payment, history are {seen}"
            if taken != total or (history and history["total_minor"] != total):
                yield "I1", f"{order_id} is completed at {total}, and {taken} was taken"
            return
        if (seen[0], seen[3]) != ("cancelled", "cancelled"):
            yield "I5", f"{order_id} is cancelled, and order, hold, payment, history are {seen}"
        if seen[1] not in {None, "released", "refused"} or seen[2] not in {
            None,
            "failed",
            "refunded",
            "cancelled",
        }:
            yield "I10", f"{order_id} is cancelled, and hold and payment are {seen[1:3]}"
        if taken:
            yield "I1", f"{order_id} is cancelled, and {taken} was taken"

    def _promises(self) -> Iterator[Finding]:
        """What customers were told."""
        histories = self._tables["order_history"]["orders"]
        sagas = self._tables["order_saga"]["sagas"]
        accepted: set[UUID] = set()
        for order in self._people.orders:
            accepted |= order.accepted
            if len(order.accepted) != 1:
                yield "I12", f"key of order {order.number} gave {len(order.accepted)} orders"
            for order_id in order.accepted:
                status = (histories.get(order_id) or {}).get("status")
                if status not in {"completed", "cancelled"}:
                    yield "I3", f"{order_id} was accepted and is {status}"
                if order.cancelled and status != "cancelled":
                    yield "I3", f"the cancellation of {order_id} was accepted, and it is {status}"
        for order_id in sagas:
            if sagas[order_id]["type"] == "create_order" and order_id not in accepted:
                yield "I12", f"nobody was told of order {order_id}"

    def _journals(self) -> Iterator[Finding]:
        lines = sorted(
            self._tables["order_saga"]["saga_journal"].values(),
            key=lambda row: (row["saga_id"].int, row["revision"], row["seq"]),
        )
        by_saga = {
            saga_id: [Line(row["revision"], row["seq"], row["kind"], row["step"]) for row in rows]
            for saga_id, rows in groupby(lines, key=itemgetter("saga_id"))
        }
        for saga_id, saga in self._tables["order_saga"]["sagas"].items():
            journal = by_saga.get(saga_id, [])
            for invariant, finding in judged(saga["type"], saga["status"], saga["revision"], journal):
                yield invariant, f"saga {saga_id} {finding}"

    def _read_model(self) -> Iterator[Finding]:
        """The rows are what a fold of all events gives, in whatever order."""
        histories = self._folded()
        rows = self._tables["order_history"]["orders"]
        if rows.keys() != histories.orders.keys():
            yield "I8", f"{len(rows)} orders are shown, and events tell of {len(histories.orders)}"
            return
        for order_id, told in histories.orders.items():
            shown = tuple(rows[order_id][name] for name in _SHOWN)
            if shown != (meant := _meant(told)):
                yield "I8", f"{order_id} is shown as {shown}, and the events tell {meant}"
        timeline = self._tables["order_history"]["order_timeline"]
        for place, entry in histories.entries.items():
            line = timeline.get(place)
            if line is None or line["ce_id"] != entry.ce_id:
                yield "I8", f"{place} is shown from {line and line['ce_id']}, not {entry.ce_id}"

    def _folded(self) -> Histories:
        """What a rebuild from zero would give."""
        codec, histories = Codec("order_history"), Histories()
        far = self._platform.world.now()
        for place, log in self._platform.broker.logs.items():
            for record in log.records if place.topic in EVENT_TOPICS else ():
                if message_id_of(record) in self._platform.witness.poison:
                    continue
                message = codec.decode(record, far, _FOLDED)
                if message is not None:
                    _FOLD[type(message.body)](histories, message)
        return histories

    def _mail(self) -> Iterator[Finding]:
        for service in SERVICES:
            tables = self._tables[service]
            if tables["outbox"]:
                yield "I9", f"{len(tables['outbox'])} rows are left in the outbox of {service}"
            if tables.get("parked_messages"):
                yield "I9", f"{len(tables['parked_messages'])} messages are parked at {service}"
            dead = {row["message_id"] for row in tables.get("dead_letters", {}).values()}
            meant = self._platform.witness.poisoned[service]
            if not meant - self._platform.witness.unread[service] <= dead <= meant:
                yield "I11", f"{service} has {len(dead)} dead letters, and {len(meant)} were poisoned"

    def _sendings(self) -> Iterator[Finding]:
        """Nothing is sent twice where nothing went wrong on the way."""
        if schedule.HARMLESS.issuperset(self._platform.world.faults):
            for name, times in self._platform.witness.again.items():
                yield "I16", f"message {name.decode()} was sent again at {times}"

    def _sequence(self) -> Iterator[Finding]:
        """What was put into an outbox for one order and topic lies in the topic, in that order, and is so decided."""
        witness = self._platform.witness
        for service, sent in witness.sent.items():
            lanes: dict[tuple[str, str], dict[UUID, int]] = defaultdict(dict)
            for row in sorted(sent, key=lambda one: one.number):
                if (first := witness.first.get(key_of(row.id))) is None:
                    yield "I9", f"message {row.id} of {service} is in no topic"
                else:
                    lanes[row.topic, row.key].setdefault(row.id, first.offset)
            for (topic, key), places in lanes.items():
                if (lie := list(places.values())) != sorted(lie):
                    yield "I17", f"{service}'s messages of {key} lie in {topic} at {lie}"
        for service, decided in witness.decided.items():
            read: dict[tuple[str, int, OrderId], list[int]] = defaultdict(list)
            for (topic, partition, offset), order_id in decided.values():
                read[topic, partition, order_id].append(offset)
            for (topic, _, order_id), offsets in read.items():
                if offsets != sorted(offsets):
                    yield "I17", f"{service} decided on {order_id} in {topic} in the order {offsets}"
