"""Reading messages: in order, twice, with a crash right after, or never."""

from collections.abc import Iterator
from dataclasses import replace

from tests.model import cards, orchestrator, participants
from tests.model.mail import Delivery
from tests.model.parts import Parts
from tests.model.scenario import NOW
from tests.model.state import (
    ACCOUNTS,
    BUDGET,
    CATALOGUE,
    CUSTOMERS,
    PER_ORDER,
    PROVIDER,
    QUEUES,
    ROW,
    SAGAS,
    SHARED,
    TIMERS,
    WAREHOUSE,
    Effect,
    Move,
    State,
    changed,
)


class Reading:
    """What becomes of the messages in the topics."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._mail = parts.mail

    def moves(self, state: State, number: int, base: int) -> Iterator[Move]:
        left = self._parts.left(state[BUDGET])
        for delivery in self._mail.deliveries(state[base + QUEUES]):
            channel, letter, rest = delivery
            part = self._part(channel, base)
            effect = self._deliver(state, part, delivery, number)
            changes = {part: effect.number, base + QUEUES: self._mail.put(rest, effect.sent)}
            named = (number, channel, letter)
            yield Move(("read", *named), changed(state, changes), effect)
            if self._mail.letters[letter].again:
                continue
            if self._parts.scenario.rollout and channel == self._mail.starts:
                yield from self._by_the_old(state, base, delivery)
            if left.duplicates is not None:
                kept = self._mail.put(self._mail.back(rest, channel, letter, first=False), effect.sent)
                after = changed(state, changes | {BUDGET: left.duplicates, base + QUEUES: kept})
                yield Move(("read twice", *named), after, effect, optional=True)
            if left.crashes is not None:
                kept = self._mail.put(self._mail.back(rest, channel, letter, first=True), effect.sent)
                lost = {BUDGET: left.crashes, base + QUEUES: kept} | self._forgotten(state, base, channel)
                after = changed(state, changes | lost)
                yield Move(("crash", *named), after, effect, optional=True)
            if left.losses is not None and channel in self._mail.losable:
                lost = {BUDGET: left.losses, base + QUEUES: rest}
                if channel == self._mail.starts:
                    lost[base + CUSTOMERS] = self._asks_again(state[base + CUSTOMERS], number, letter)
                yield Move(("lost", *named), changed(state, lost), optional=True)

    def _part(self, channel: int, base: int) -> int:
        match self._mail.channels[channel].consumer:
            case "order_saga":
                return base + SAGAS
            case "order":
                return base + ROW
            case "inventory":
                return WAREHOUSE
            case "payment":
                return ACCOUNTS
            case _:
                return CATALOGUE

    def _deliver(self, state: State, part: int, delivery: Delivery, number: int) -> Effect:
        key = ("letter", delivery.channel, state[part], delivery.letter)
        known = self._parts.decided.get(key)
        if known is None:
            known = self._parts.decided[key] = self._decide(state[part], delivery, number)
        return known

    def _by_the_old(self, state: State, base: int, delivery: Delivery) -> Iterator[Move]:
        """What a process makes of a start or a cancel that does not know the next version yet."""
        parts, sagas = self._parts, state[base + SAGAS]
        key = ("old", sagas, delivery.letter)
        if key not in parts.decided:
            message = self._mail.letters[delivery.letter].message()
            of = parts.old_book
            try:
                turned = orchestrator.receive(of, orchestrator.deciders(of), parts.sagas[sagas], message)
            except orchestrator.NotHere:
                return
            parts.decided[key] = parts.turned(turned)
        effect = parts.decided[key]
        changes = {base + SAGAS: effect.number, base + QUEUES: self._mail.put(delivery.rest, effect.sent)}
        label = ("read by the old", (base - SHARED) // PER_ORDER, delivery.channel, delivery.letter)
        yield Move(label, changed(state, changes), effect, optional=True)

    def _decide(self, before: int, delivery: Delivery, number: int) -> Effect:
        letter = self._mail.letters[delivery.letter]
        consumer = self._mail.channels[delivery.channel].consumer
        if letter.again and not self._parts.scenario.forgetful and not self._parts.laxity.no_inbox:
            return Effect(before, said=("known already: dropped by the inbox",))
        message = letter.message()
        decide = self._parts.decides[consumer]
        if consumer == "order_saga":
            turned = orchestrator.receive(self._parts.book, decide, self._parts.sagas[before], message)
            effect = self._parts.turned(turned)
            if letter.again and not self._parts.scenario.forgetful and effect.wrong is None:
                return effect._replace(wrong=f"I7: the journal has {type(letter.body).__name__} twice")
            return effect
        try:
            match consumer:
                case "order":
                    row, sent = participants.order_decides(decide, self._parts.rows[before], message)
                    after = self._parts.rows.number(row)
                case "inventory":
                    held, sent = participants.inventory_decides(
                        decide, self._parts.warehouses[before], message
                    )
                    after = self._parts.warehouses.number(held)
                case "payment":
                    books, sent = cards.payment_decides(decide, self._parts.accounts[before], message)
                    after = self._parts.accounts.number(books)
                case _:
                    products = self._parts.scenario.catalogues[before]
                    sent, after = participants.product_decides(decide, products, message), before
        except Exception as error:  # noqa: BLE001 - whatever it raises, it is a violation
            return Effect(before, wrong=f"{consumer} raised {error!r}")
        return Effect(
            after, tuple(map(self._mail.letters.number, sent)), (self._parts.said_of(consumer, after),)
        )

    def _forgotten(self, state: State, base: int, channel: int) -> dict[int, int]:
        """What a process that dies had only in memory."""
        match self._mail.channels[channel].consumer:
            case "order_saga":
                return {base + TIMERS: 0}
            case "payment":
                return {base + PROVIDER: self._unanswered(state[base + PROVIDER])}
            case _:
                return {}

    def _unanswered(self, provider: int) -> int:
        before = self._parts.providers[provider]
        calls = (
            replace(call, stray=True, claimed_until=NOW) for call in before.calls if call.verdict is None
        )
        return self._parts.providers.number(before.with_calls(*calls))

    def _asks_again(self, asked: int, number: int, letter: int) -> int:
        """The gateway keeps its intent open, and will publish it again."""
        before = self._parts.asked[asked]
        if letter == self._parts.starts[number][0]:
            return self._parts.asked.number(before._replace(ordered=False))
        return self._parts.asked.number(before._replace(cancels=before.cancels - 1))
