"""Deadlines: time passes, a deadline is claimed, and is decided on, perhaps too late to matter."""

from collections.abc import Iterator

from tests.model import orchestrator
from tests.model.orchestrator import Away
from tests.model.parts import Parts
from tests.model.state import ACCOUNTS, BUDGET, PROVIDER, QUEUES, SAGAS, TIMERS, Move, State, changed


class Clock:
    """The orchestrator's deadlines."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._mail = parts.mail
        self._moments: dict[tuple[object, ...], tuple[int, int] | None] = {}
        self._waits: dict[int, tuple[bool, bool]] = {}

    def moves(self, state: State, number: int, base: int) -> Iterator[Move]:
        """Claimed deadlines are decided on, and others are claimed."""
        if state[base + TIMERS] != 0:
            yield from self._fired(state, number, base)
        yield from self._claims(state, number, base)

    def _fired(self, state: State, number: int, base: int) -> Iterator[Move]:
        timers = self._parts.timers[state[base + TIMERS]]
        for place, timer in enumerate(timers):
            if place and timers[place - 1] == timer:
                continue
            key = ("fire", state[base + SAGAS], timer)
            effect = self._parts.decided.get(key)
            if effect is None:
                sagas = self._parts.sagas[state[base + SAGAS]]
                turned = orchestrator.fire(
                    self._parts.book, self._parts.decides["order_saga"], sagas, self._parts.ids[number], timer
                )
                effect = self._parts.decided[key] = self._parts.turned(turned)
            left = self._parts.timers.number((*timers[:place], *timers[place + 1 :]))
            changes = {
                base + SAGAS: effect.number,
                base + TIMERS: left,
                base + QUEUES: self._mail.put(state[base + QUEUES], effect.sent),
            }
            yield Move(("fire", number, timer), changed(state, changes), effect)

    def _claims(self, state: State, number: int, base: int) -> Iterator[Move]:
        waits, pauses = self._waiting(state[base + SAGAS])
        if not waits:
            return
        if not self._parts.laxity.not_caught_up and not self._mail.caught_up(state[base + QUEUES]):
            return
        pausing = pauses and state[base + TIMERS] == 0
        if pausing or self._idle(state, number, base):
            yield from self._claimed(state, number, base, away=None, budget=state[BUDGET], optional=False)
            return
        if (budget := self._parts.left(state[BUDGET]).timeouts) is not None:
            yield from self._claimed(state, number, base, away=None, budget=budget, optional=True)
            if (budget := self._parts.left(budget).crashes) is not None:
                for away in Away:
                    yield from self._claimed(state, number, base, away=away, budget=budget, optional=True)

    def _waiting(self, sagas: int) -> tuple[bool, bool]:
        """Whether a saga is under way, and whether it only lets time pass."""
        known = self._waits.get(sagas)
        if known is None:
            saga = self._parts.sagas[sagas].under_way
            foremost = None if saga is None else saga.foremost
            pauses = foremost is not None and foremost.awaiting is None
            known = self._waits[sagas] = (saga is not None, pauses)
        return known

    def _idle(self, state: State, number: int, base: int) -> bool:
        """Whether nothing but a deadline can take the order's saga on."""
        provider = self._parts.providers[state[base + PROVIDER]]
        attempt = self._parts.accounts[state[ACCOUNTS]].attempt(self._parts.ids[number])
        return (
            state[base + QUEUES] == self._mail.empty
            and state[base + TIMERS] == 0
            and not provider.awaited
            and (attempt is None or attempt.state != "due")
        )

    def _claimed(
        self, state: State, number: int, base: int, *, away: Away | None, budget: int, optional: bool
    ) -> Iterator[Move]:
        sagas, timers, queues = (state[base + part] for part in (SAGAS, TIMERS, QUEUES))
        key = ("claim", sagas, timers, away, queues if self._parts.laxity.not_caught_up else None)
        if key not in self._moments:
            unread = self._mail.unread(queues)
            claimed = orchestrator.claimed(self._parts.sagas[sagas], self._parts.timers[timers], unread, away)
            self._moments[key] = claimed and (
                self._parts.sagas.number(claimed[0]),
                self._parts.timers.number(claimed[1]),
            )
        if (moment := self._moments[key]) is None:
            return
        changes = {base + SAGAS: moment[0], base + TIMERS: moment[1], BUDGET: budget}
        yield Move(("due", number, away), changed(state, changes), optional=optional)
