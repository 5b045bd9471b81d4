"""A batch decides what its messages would decide one by one: the same rows, the same messages, the same journal."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice, permutations, product
from random import Random
from typing import TypeAlias

import pytest

from inventory.domain import Shelves
from libs.messaging.message import Message
from order.domain import Orders
from order_saga import store
from order_saga.domain import Case, Desk, JournalLine
from payment.domain.books import Books, Rows
from tests.model.cards import Accounts
from tests.model.mail import Letter
from tests.model.participants import Deciders, Warehouse, answers
from tests.model.running import world_of
from tests.model.scenario import CARD, NOW, Budget, Plan, Scenario
from tests.model.state import ACCOUNTS, PER_ORDER, QUEUES, ROW, SAGAS, SHARED, WAREHOUSE, State
from tests.model.substitution import CHANCE, substituted
from tests.model.world import World

Messages: TypeAlias = Sequence[Message[object]]
Outcome: TypeAlias = tuple[object, tuple[Letter, ...]]
Runs: TypeAlias = Callable[[World, State, Sequence[Messages]], Outcome]
"""Decides batches one after another, each on tables loaded anew: what the tables hold then, and what was sent."""

TWO = Scenario(
    name="two",
    about="two orders, one by card, whose messages meet in batches",
    orders=(Plan(method=CARD.id), Plan()),
    budget=Budget(duplicates=3, timeouts=3, crashes=2),
    forgetful=True,
)
PAIRS = 1_200
WALKS = 25
ON_THE_WAY = 0.95


def waiting(world: World, state: State, consumer: str) -> list[Message[object]]:
    """What a consumer could read at once: the next message of each of its queues."""
    return [
        world.mail.letters[delivery.letter].message()
        for number in range(len(world.ids))
        for delivery in world.mail.deliveries(state[SHARED + number * PER_ORDER + QUEUES])
        if world.mail.channels[delivery.channel].consumer == consumer
    ]


def walks(world: World) -> Iterator[tuple[State, list[tuple[str, Message[object]]]]]:
    """States all over the world, met by chance, each with what was read on the way there, and by whom."""
    chance = Random(7)  # noqa: S311 - the same walks every time
    for _ in range(WALKS):
        state = world.initial()
        read: list[tuple[str, Message[object]]] = []
        while moves := list(world.moves(state)):
            likely = [move for move in moves if not move.optional or move.label[0] == "orders"]
            move = chance.choice(likely if likely and chance.random() < ON_THE_WAY else moves)
            match move.label:
                case ("read" | "read twice" | "crash", _, int(channel), int(letter)):
                    read.append((world.mail.channels[channel].consumer, world.mail.letters[letter].message()))
            state = move.state
            yield state, read


def batches(
    world: World, consumer: str, parts: Callable[[State], object]
) -> Iterator[tuple[State, Messages]]:
    """What waits with what else waits, and with what was read and comes again; each once per state of the tables."""
    seen: set[object] = set()
    for state, read in walks(world):
        messages = waiting(world, state, consumer)
        again = [message for who, message in read if who == consumer]
        for batch in (*permutations(messages, 2), *product(messages, again), *product(again, messages)):
            key = (parts(state), tuple((one.id, one.body, one.correlation) for one in batch))
            if key not in seen:
                seen.add(key)
                yield state, batch


def sent(decide: Deciders, table: object, messages: Messages) -> tuple[Letter, ...]:
    return tuple(
        letter
        for message in messages
        for letter in answers(decide[type(message.body)](table, message), message)
    )


def order_runs(world: World, state: State, batches: Sequence[Messages]) -> Outcome:
    rows = {
        row.id: row
        for number in range(len(world.ids))
        if (row := world.rows[state[SHARED + number * PER_ORDER + ROW]]) is not None
    }
    letters: tuple[Letter, ...] = ()
    for batch in batches:
        orders = Orders(dict(rows))
        letters += sent(world.decides["order"], orders, batch)
        rows |= {key: orders.by_id[key] for key in orders.new | orders.changed}
    return rows, letters


def inventory_runs(world: World, state: State, batches: Sequence[Messages]) -> Outcome:
    held: Warehouse = world.warehouses[state[WAREHOUSE]]
    stock, holds = {s.product_id: s for s in held.stock}, {h.order_id: h for h in held.holds}
    letters: tuple[Letter, ...] = ()
    for batch in batches:
        shelves = Shelves(dict(stock), dict(holds))
        letters += sent(world.decides["inventory"], shelves, batch)
        stock |= {key: shelves.stock[key] for key in shelves.changed_stock}
        holds |= {key: shelves.holds[key] for key in shelves.new_holds | shelves.changed_holds}
    return (stock, holds), letters


def payment_runs(world: World, state: State, batches: Sequence[Messages]) -> Outcome:
    accounts: Accounts = world.accounts[state[ACCOUNTS]]
    payments = {one.order_id: one for one in accounts.payments}
    attempts = {one.order_id: one for one in accounts.attempts}
    wallets = {one.user_id: one for one in accounts.wallets}
    entries: list[object] = []
    letters: tuple[Letter, ...] = ()
    for batch in batches:
        books = Books(NOW, Rows(dict(payments)), Rows(dict(attempts)), Rows(dict(wallets)), {CARD.id: CARD})
        letters += sent(world.decides["payment"], books, batch)
        payments |= {one.order_id: one for one in books.payments.changed()}
        attempts |= {one.order_id: one for one in books.attempts.changed()}
        wallets |= {one.user_id: one for one in books.wallets.changed()}
        entries += books.entries
    return (payments, attempts, wallets, entries), letters


def saga_runs(world: World, state: State, batches: Sequence[Messages]) -> Outcome:
    cases: dict[object, Case] = {}
    for number, order_id in enumerate(world.ids):
        for saga in world.sagas[state[SHARED + number * PER_ORDER + SAGAS]].each:
            cases[saga.id] = Case(saga, order_id, 0, NOW, NOW if saga.finished else None)
    journal: list[JournalLine] = []
    letters: tuple[Letter, ...] = ()
    for batch in batches:
        ids, orders = store._sought(batch)
        desk = Desk(world.book, NOW)
        for case in cases.values():
            if case.instance.id in ids or case.order_id in orders:
                desk.put(replace(case, stored=True, changed=False))
        letters += sent(world.decides["order_saga"], desk, batch)
        journal += desk.journal
        cases |= {case.instance.id: case for case in (*desk.opened(), *desk.altered())}
    kept = {key: (case.instance, case.finished_at) for key, case in cases.items()}
    return (kept, journal), letters


@pytest.mark.parametrize(
    ("consumer", "runs", "slots"),
    [
        ("order", order_runs, ((), (ROW,))),
        ("inventory", inventory_runs, ((WAREHOUSE,), ())),
        ("payment", payment_runs, ((ACCOUNTS,), ())),
        ("order_saga", saga_runs, ((), (SAGAS,))),
    ],
)
def test_a_batch_decides_what_its_messages_would_decide_alone(
    consumer: str,
    runs: Runs,
    slots: tuple[tuple[int, ...], tuple[int, ...]],
) -> None:
    shared, own = slots
    with substituted(*CHANCE):
        world = world_of(TWO)
        assert isinstance(world, World)

        def parts(state: State) -> object:
            per_order = (SHARED + number * PER_ORDER for number in range(len(world.ids)))
            return [state[one] for one in shared], [state[base + one] for base in per_order for one in own]

        tried = 0
        for state, batch in islice(batches(world, consumer, lambda state: repr(parts(state))), PAIRS):
            assert runs(world, state, [batch]) == runs(world, state, [[one] for one in batch])
            tried += 1
    assert tried > 40
