"""Calls of the card provider: claimed, carried out, answered, given up, arriving late."""

from collections.abc import Iterator
from dataclasses import replace

from tests.model import cards
from tests.model.cards import Call, Provider
from tests.model.parts import Parts
from tests.model.scenario import NOW
from tests.model.state import ACCOUNTS, BUDGET, PROVIDER, QUEUES, Effect, Move, State, changed


class Calling:
    """What happens between payment and the provider."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._at_rest: dict[tuple[int, int, int], bool] = {}

    def moves(self, state: State, number: int, base: int) -> Iterator[Move]:
        slot = base + PROVIDER
        if self._rests(number, state[ACCOUNTS], state[slot]):
            return
        provider = self._parts.providers[state[slot]]
        for call in dict.fromkeys(provider.calls):
            if call.verdict is None:
                yield from self._carried_out(state, number, slot, provider, call)
            else:
                yield from self._answered(state, number, base, provider, call)
            if not call.stray and (left := self._parts.left(state[BUDGET]).silences) is not None:
                yield from self._answered(state, number, base, provider, call, silence=left)
        if provider.state == "pending":
            captured = replace(provider, state="captured", captured=True)
            yield Move(
                ("captures late", number), changed(state, {slot: self._parts.providers.number(captured)})
            )
        yield from self._due(state, number, slot)

    def _due(self, state: State, number: int, slot: int) -> Iterator[Move]:
        """Claim what is due, or let a claim run out."""
        order_id = self._parts.ids[number]
        accounts, provider = self._parts.accounts[state[ACCOUNTS]], self._parts.providers[state[slot]]
        if (claim := cards.claim(accounts, provider, order_id)) is not None:
            changes = {
                ACCOUNTS: self._parts.accounts.number(claim[0]),
                slot: self._parts.providers.number(claim[1]),
            }
            yield Move(("call", number), changed(state, changes))
        days = self._parts.left(state[BUDGET]).days
        if days is not None and (later := cards.half_a_day_later(accounts, order_id)) is not None:
            after = changed(state, {ACCOUNTS: self._parts.accounts.number(later), BUDGET: days})
            yield Move(("half a day", number), after, optional=True)
        out = cards.run_out(accounts, provider, order_id)
        if out is not None:
            changes = {
                ACCOUNTS: self._parts.accounts.number(out[0]),
                slot: self._parts.providers.number(out[1]),
            }
            if not provider.awaited:
                yield Move(("lease ends", number), changed(state, changes))
            elif (left := self._parts.left(state[BUDGET]).silences) is not None:
                yield Move(("lease ends", number), changed(state, changes | {BUDGET: left}), optional=True)

    def _rests(self, number: int, accounts: int, provider: int) -> bool:
        """Whether nothing is under way at the provider, and nothing due."""
        key = (number, accounts, provider)
        known = self._at_rest.get(key)
        if known is None:
            attempt, at = (
                self._parts.accounts[accounts].attempt(self._parts.ids[number]),
                self._parts.providers[provider],
            )
            due = attempt is not None and attempt.state != "done"
            known = self._at_rest[key] = not (due or at.calls or at.state == "pending")
        return known

    def _carried_out(
        self, state: State, number: int, slot: int, provider: Provider, call: Call
    ) -> Iterator[Move]:
        plan = self._parts.scenario.orders[number]
        rest = provider.without(call)
        denials = self._parts.left(state[BUDGET]).denials
        for deny, budget in ((False, state[BUDGET]), (True, denials)):
            if budget is None:
                continue
            for after, verdict in cards.carried_out(rest, call, plan, deny=deny):
                if deny and verdict != "denied":
                    continue
                calls = rest.calls if call.stray else (*rest.calls, replace(call, verdict=verdict))
                known = self._parts.providers.number(after.with_calls(*calls))
                label = ("provider", number, call.ask, verdict, call.stray)
                # A stray call may be lost on its way, so nothing may hang on its arrival.
                yield Move(label, changed(state, {slot: known, BUDGET: budget}), optional=deny or call.stray)

    def _answered(
        self,
        state: State,
        number: int,
        base: int,
        provider: Provider,
        call: Call,
        *,
        silence: int | None = None,
    ) -> Iterator[Move]:
        """Feed the provider's answer back; in `silence` nobody waits for it any more."""
        verdict = "unknown" if silence is not None or call.verdict is None else call.verdict
        key = ("answer", state[ACCOUNTS], number, call.ask, call.claimed_until, verdict)
        effect = self._parts.decided.get(key)
        if effect is None:
            message = cards.answered(self._parts.ids[number], call, verdict)
            try:
                books, sent = cards.payment_decides(
                    self._parts.decides["payment"], self._parts.accounts[state[ACCOUNTS]], message
                )
            except Exception as error:  # noqa: BLE001 - whatever it raises, it is a violation
                effect = Effect(state[ACCOUNTS], wrong=f"payment raised {error!r}")
            else:
                after = self._parts.accounts.number(books)
                letters = tuple(map(self._parts.mail.letters.number, sent))
                effect = Effect(after, letters, (self._parts.said_of("payment", after),))
            self._parts.decided[key] = effect
        left = provider.without(call)
        if silence is not None and call.verdict is None:
            left = left.with_calls(*left.calls, replace(call, stray=True, claimed_until=NOW))
        changes = {
            ACCOUNTS: effect.number,
            base + PROVIDER: self._parts.providers.number(left),
            base + QUEUES: self._parts.mail.put(state[base + QUEUES], effect.sent),
        }
        if silence is not None:
            changes[BUDGET] = silence
        label = ("answer", number, call.ask, verdict)
        yield Move(label, changed(state, changes), effect, optional=silence is not None)
