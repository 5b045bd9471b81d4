"""Tries wallets and ledger in PostgreSQL against a passbook: batches in any order, again, and two at a time."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from copy import deepcopy
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias
from uuid import UUID

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from libs.contracts.values import MessageId, PaymentMethodId, UserId
from libs.messaging.message import Message
from payment.domain.books import wallet_account, wallet_method_id
from tests.payment.store.counter import Counter, Deposit, Done, Place, Stored, Work, by_asker, counter
from tests.payment.store.passbook import By, Passbook, Purchase
from tests.payment.till import asking, pay, undo
from tests.support.builders import a_message_id, a_user_id, an_order_id, euros
from tests.support.databases import Database
from tests.support.machines import DatabaseMachine, run_machine

pytestmark = pytest.mark.integration

CUSTOMERS = 2
ORDERS = 10

Command: TypeAlias = tuple[Literal["pay", "undo"], int, MessageId]
"""What is asked for the order of that number, and the id of the message that asks it."""


@dataclass(frozen=True, slots=True)
class Filling:
    """A deposit into the wallet of the customer of that number."""

    customer: int
    key: str
    minor: int
    id: UUID


Asked: TypeAlias = list[Command] | Filling

CUSTOMER = st.sampled_from([0, 0, 0, 1])
MINOR = st.sampled_from([200, 100, 300, 0, 1_000])
BY: tuple[By, ...] = ("wallet", "wallet", "wallet", "wallet", "approved", "refused", "another's")
PURCHASES = st.lists(st.tuples(CUSTOMER, st.sampled_from(BY), MINOR), min_size=ORDERS, max_size=ORDERS)
BALANCES = st.lists(st.sampled_from([500, 1_100, 0]), min_size=CUSTOMERS, max_size=CUSTOMERS)
ID = st.builds(a_message_id)
KIND = st.sampled_from(["pay", "pay", "undo"])
BATCH = st.lists(st.tuples(KIND, st.integers(0, ORDERS - 1), ID), min_size=1, max_size=6)
FILLING = st.builds(Filling, CUSTOMER, st.sampled_from("abc"), st.integers(1, 500), ID)
NEARBY = st.lists(st.tuples(KIND, st.integers(0, 2), ID), min_size=1, max_size=3)
MEETING = NEARBY | NEARBY | FILLING


class StoredBooks(DatabaseMachine):
    """Two customers and their orders; what they ask comes in batches, and the provider answers now and then."""

    counter: ClassVar[Counter]

    @classmethod
    async def open(cls, stack: AsyncExitStack) -> None:
        cls.counter = await stack.enter_async_context(counter(cls.database))

    @initialize(purchases=PURCHASES, balances=BALANCES)
    def open_shop(self, purchases: Sequence[tuple[int, By, int]], balances: Sequence[int]) -> None:
        self.passbook = Passbook()
        self.users = [a_user_id() for _ in range(CUSTOMERS)]
        self.purchases = [
            Purchase(an_order_id(), self.users[n], self._method(self.users[n], by), by, minor)
            for n, by, minor in purchases
        ]
        for number, minor in enumerate(balances):
            if minor:
                self.something_comes(Filling(number, "first", minor, a_message_id()))

    @rule(asked=BATCH | FILLING)
    def something_comes(self, asked: Asked) -> None:
        done = self.wait_for(self.counter.do(self._work(asked)))
        assert done == self._expect(self.passbook, asked)

    @rule(
        first=MEETING,
        second=MEETING,
        near=st.integers(0, ORDERS - 1),
        place=st.sampled_from(["loaded", "saved"]),
    )
    def two_meet(self, first: Asked, second: Asked, near: int, place: Place) -> None:
        """About orders near each other; it is as if one had come after the other, whichever was first."""
        first, second = _moved(first, near), _moved(second, near)
        done = self.wait_for(self.counter.meet(self._work(first), self._work(second), place))
        this_way, other_way = deepcopy(self.passbook), deepcopy(self.passbook)
        expected = self._expect(this_way, first), self._expect(this_way, second)
        if (done, self._stored()) == (expected, self._reckoned(this_way)):
            self.passbook = this_way
            return
        other = self._expect(other_way, second)
        assert done == (self._expect(other_way, first), other)
        self.passbook = other_way

    @precondition(lambda self: self.passbook.asks_provider())
    @rule()
    def the_provider_answers(self) -> None:
        told = self.wait_for(self.counter.hear_provider(one.order_id for one in self.purchases))
        assert told == by_asker(self.passbook.provider_answers(self.purchases))

    @invariant()
    def the_tables_say_what_the_passbook_says(self) -> None:
        if hasattr(self, "passbook"):
            assert self._stored() == self._reckoned(self.passbook)

    def teardown(self) -> None:
        self.wait_for(self.counter.check_ledger())

    def _work(self, asked: Asked) -> Work:
        match asked:
            case Filling(customer, key, minor, id_):
                return Deposit(self.users[customer], key, minor, id_)
            case _:
                return [self._message(*command) for command in asked]

    def _message(self, kind: Literal["pay", "undo"], number: int, id_: MessageId) -> Message[object]:
        one = self.purchases[number]
        if kind == "undo":
            return undo(one.order_id)._replace(id=id_)
        command = pay(one.order_id, user_id=one.user_id, method_id=one.method_id, amount=euros(one.minor))
        return asking(command)._replace(id=id_)

    def _expect(self, passbook: Passbook, asked: Asked) -> Done:
        match asked:
            case Filling(customer, key, minor, id_):
                return passbook.deposit(self.users[customer], key, minor, id_)
            case _:
                return by_asker(
                    told
                    for kind, number, id_ in asked
                    for told in (passbook.pay if kind == "pay" else passbook.undo)(
                        self.purchases[number], id_
                    )
                )

    def _stored(self) -> Stored:
        return self.wait_for(self.counter.stored(self.users, [one.order_id for one in self.purchases]))

    def _reckoned(self, passbook: Passbook) -> Stored:
        """For orders nothing is booked, or the whole amount, from where it was taken."""
        stored = Stored({user: (balance, balance) for user, balance in passbook.wallets.items()}, {}, {})
        for one in self.purchases:
            if minor := passbook.held(one.order_id):
                source = wallet_account(one.user_id) if one.by == "wallet" else "card_clearing"
                stored.booked.update({(one.order_id, source): -minor, (one.order_id, "revenue"): minor})
            if (paid := passbook.payments.get(one.order_id)) is not None:
                status = "completed" if paid.state == "refunding" else paid.state
                stored.payments[one.order_id] = (paid.payment_id, status)
        return stored

    def _method(self, user_id: UserId, by: By) -> PaymentMethodId:
        match by:
            case "wallet":
                return wallet_method_id(user_id)
            case "another's":
                return wallet_method_id(a_user_id())
            case "approved" | "refused":
                return self.wait_for(self.counter.add_card(user_id, f"tok_{by}"))


def _moved(asked: Asked, by: int) -> Asked:
    if isinstance(asked, Filling):
        return asked
    return [(kind, (number + by) % ORDERS, id_) for kind, number, id_ in asked]


async def test_stored_books_are_a_passbook(books: Database) -> None:
    await run_machine(StoredBooks, books, examples=80, steps=12)
