"""Customers who order and cancel, and an operator who looks at a saga and acts later."""

from collections.abc import Iterator
from dataclasses import replace

from libs.saga.inputs import Action, Compensate, Force, Resend, Resume
from libs.saga.inputs import Outcome as Forced
from libs.saga.instance import Instance
from tests.model import orchestrator
from tests.model.parts import Parts
from tests.model.state import (
    ACCOUNTS,
    BUDGET,
    CUSTOMERS,
    QUEUES,
    ROW,
    SAGAS,
    WAREHOUSE,
    Asked,
    Move,
    State,
    changed,
)


class People:
    """What people do, at any moment."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def moves(self, state: State, number: int, base: int) -> Iterator[Move]:
        """An order, a cancel, an operator's look or action."""
        yield from self._customer(state, number, base)
        if self._parts.scenario.budget.operator:
            yield from self._operator(state, number, base)

    def _customer(self, state: State, number: int, base: int) -> Iterator[Move]:
        asked = self._parts.asked[state[base + CUSTOMERS]]
        start, cancel = self._parts.starts[number]
        if not asked.ordered:
            yield self._posted(state, number, base, asked._replace(ordered=True), start, "orders")
        if asked.cancels < self._parts.scenario.orders[number].cancels:
            after = asked._replace(cancels=asked.cancels + 1)
            yield self._posted(state, number, base, after, cancel, "cancels")

    def _posted(self, state: State, number: int, base: int, asked: Asked, letter: int, what: str) -> Move:
        changes = {
            base + CUSTOMERS: self._parts.asked.number(asked),
            base + QUEUES: self._parts.mail.put(state[base + QUEUES], (letter,)),
        }
        return Move((what, number), changed(state, changes), optional=True)

    def _operator(self, state: State, number: int, base: int) -> Iterator[Move]:
        sagas = self._parts.sagas[state[base + SAGAS]]
        saga = sagas.under_way
        if saga is not None and sagas.seen is None:
            left = self._parts.left(state[BUDGET]).operator
            wanted = saga.parked_at is not None or self._parts.scenario.compensate_running
            if left is not None and wanted:
                seen = self._parts.sagas.number(replace(sagas, seen=True))
                yield Move(
                    ("looks", number), changed(state, {base + SAGAS: seen, BUDGET: left}), optional=True
                )
        if sagas.seen is None or not sagas.each:
            return
        for action in self._actions(state, number, base, saga or sagas.each[-1]):
            key = ("operate", state[base + SAGAS], number, action)
            effect = self._parts.decided.get(key)
            if effect is None:
                turned = orchestrator.operate(
                    self._parts.book,
                    self._parts.decides["order_saga"],
                    sagas,
                    self._parts.ids[number],
                    action,
                )
                effect = self._parts.decided[key] = self._parts.turned(turned)
            changes = {
                base + SAGAS: effect.number,
                base + QUEUES: self._parts.mail.put(state[base + QUEUES], effect.sent),
            }
            label = ("operator", number, action)
            yield Move(label, changed(state, changes), effect, optional=True)

    def _actions(self, state: State, number: int, base: int, saga: Instance[object]) -> Iterator[Action]:
        """What an honest operator may do: success is declared only of what is so."""
        yield Resume(0, "ann", "model")
        yield Resend(0, "ann", "model")
        yield Compensate(0, "ann", "model")
        for step in orchestrator.steps_in_flight(saga):
            if self._is_done(state, number, base, step):
                yield Force(0, "ann", "model", step, Forced.SUCCEEDED)
            yield Force(0, "ann", "model", step, Forced.REFUSED)

    def _is_done(self, state: State, number: int, base: int, step: str) -> bool:
        row, order_id = self._parts.rows[state[base + ROW]], self._parts.ids[number]
        match step:
            case "complete_order":
                return row is not None and row.status == "completed"
            case "cancel_order":
                return row is not None and row.status == "cancelled"
            case "release_inventory":
                held = self._parts.warehouses[state[WAREHOUSE]].holds
                return any(h.order_id == order_id and h.state in {"released", "refused"} for h in held)
            case "refund_payment":
                accounts = self._parts.accounts[state[ACCOUNTS]]
                payment, attempt = accounts.payment(order_id), accounts.attempt(order_id)
                ended = payment is not None and payment.status in {"failed", "refunded", "cancelled"}
                return ended and (attempt is None or attempt.state == "done")
            case _:
                return False
