"""What must hold in every state, and what when all is quiet; the invariants of money, stock and outcomes."""

from collections.abc import Iterator

from inventory.domain import Hold
from libs.contracts.reasons import ALREADY_UNDONE
from libs.contracts.values import OrderId
from libs.saga.instance import Status
from tests.model import cards
from tests.model.cards import Accounts, Provider
from tests.model.participants import Warehouse
from tests.model.parts import Parts
from tests.model.scenario import CUSTOMER, WALLET, Plan, Scenario
from tests.model.state import (
    ACCOUNTS,
    CUSTOMERS,
    PER_ORDER,
    PROVIDER,
    QUEUES,
    ROW,
    SAGAS,
    SHARED,
    TIMERS,
    WAREHOUSE,
    State,
)


class Judge:
    """Finds what is wrong with a state; each part of a state is judged once, and remembered."""

    def __init__(self, world: Parts) -> None:
        self._world = world
        self._shelves: list[str | None] = []
        self._books: list[str | None] = []
        self._money: dict[tuple[int, ...], str | None] = {}
        self._ends: dict[tuple[int, ...], str | None] = {}
        self._quiet: dict[tuple[int, ...], bool] = {}

    def wrong(self, state: State) -> str | None:
        """The first thing that is wrong, if anything is."""
        world = self._world
        while len(self._shelves) <= state[WAREHOUSE]:
            held = world.warehouses[len(self._shelves)]
            self._shelves.append(next(_stock(held, world.scenario), None))
        while len(self._books) <= state[ACCOUNTS]:
            accounts = world.accounts[len(self._books)]
            self._books.append(next(_ledger(accounts, world.scenario), None))
        found = self._shelves[state[WAREHOUSE]] or self._books[state[ACCOUNTS]]
        for number in range(len(world.ids)):
            if found is not None:
                return found
            found = self._of_order(state, number)
        return found

    def quiet(self, state: State) -> bool:
        """Whether nothing is under way for any order."""
        return all(self._order_quiet(state, number) for number in range(len(self._world.ids)))

    def _of_order(self, state: State, number: int) -> str | None:
        base = SHARED + number * PER_ORDER
        key = (number, state[ACCOUNTS], state[base + PROVIDER], state[base + ROW])
        if key not in self._money:
            world = self._world
            accounts, provider = world.accounts[state[ACCOUNTS]], world.providers[state[base + PROVIDER]]
            row = world.rows[state[base + ROW]]
            read = None if row is None or row.reason is None else row.reason.code
            told = "a customer reads already_undone" if read == ALREADY_UNDONE else None
            self._money[key] = told or next(_card(accounts, provider, world.ids[number]), None)
        found = self._money[key]
        return found or (self._ended(state, number, base) if self._order_quiet(state, number) else None)

    def _order_quiet(self, state: State, number: int) -> bool:
        base = SHARED + number * PER_ORDER
        if state[base + QUEUES] != self._world.mail.empty or state[base + TIMERS] != 0:
            return False
        key = (number, state[ACCOUNTS], state[base + PROVIDER], state[base + SAGAS])
        if key not in self._quiet:
            world = self._world
            attempt = world.accounts[state[ACCOUNTS]].attempt(world.ids[number])
            sagas = world.sagas[state[base + SAGAS]]
            self._quiet[key] = (
                not world.providers[state[base + PROVIDER]].awaited
                and (attempt is None or attempt.state == "done")
                and sagas.under_way is None
            )
        return self._quiet[key]

    def _ended(self, state: State, number: int, base: int) -> str | None:
        parts = (WAREHOUSE, ACCOUNTS, base + SAGAS, base + ROW, base + PROVIDER, base + CUSTOMERS)
        key = (number, *(state[part] for part in parts))
        if key not in self._ends:
            self._ends[key] = next(_outcome(self._world, state, number, base), None)
        return self._ends[key]


def _stock(held: Warehouse, scenario: Scenario) -> Iterator[str]:
    """I2: what there was is on hand or sold, reserved is what is held, nothing is below zero."""
    for stock in held.stock:
        at_first = scenario.stock[stock.product_id]
        if stock.on_hand + stock.sold != at_first:
            yield f"I2: of {at_first} there are {stock.on_hand} on hand and {stock.sold} sold"
        if min(stock.on_hand, stock.reserved, stock.sold, stock.available) < 0:
            yield f"I2: below zero: {stock}"
        for state, count in (("held", stock.reserved), ("sold", stock.sold)):
            promised = sum(
                quantity
                for hold in held.holds
                if hold.state == state
                for product_id, quantity in hold.quantities
                if product_id == stock.product_id
            )
            if promised != count:
                yield f"I2: {count} are counted as {state}, {promised} by order"
    for hold in held.holds:
        if hold.state == "refused" and hold.quantities:
            yield "I2: a refused order has something"


def _ledger(accounts: Accounts, scenario: Scenario) -> Iterator[str]:
    """I1 and I4: every order's money goes in once and out once at most, and wallets are what the ledger says."""
    if (refused := cards.not_stored(accounts)) is not None:
        yield refused
    if sum(amount for _, _, amount, _ in accounts.ledger) != 0:
        yield "I1: the ledger does not sum to zero"
    spent = sum(amount for account, _, amount, _ in accounts.ledger if account == f"wallet:{CUSTOMER}")
    if accounts.wallets[0].balance.amount_minor != scenario.balance + spent:
        yield "I1: the wallet is not what the ledger says"
    for payment in accounts.payments:
        captured = accounts.booked(payment.order_id, "capture")
        refunded = accounts.booked(payment.order_id, "refund")
        if captured not in {0, payment.amount.amount_minor}:
            yield f"I1: {captured} captured of {payment.amount.amount_minor}"
        if refunded not in {0, captured}:
            yield f"I1: {refunded} refunded of {captured}"
        if (captured > 0) != (payment.captured_at is not None and payment.amount.amount_minor > 0):
            yield "I1: a capture without its entry, or an entry without its capture"


def _card(accounts: Accounts, provider: Provider, order_id: OrderId) -> Iterator[str]:
    """I1: the books say nothing of the card that its provider does not know."""
    payment = accounts.payment(order_id)
    if payment is None or payment.method_kind != "card":
        return
    if accounts.booked(order_id, "capture") and not provider.captured:
        yield "I1: a capture is booked that never was"
    if accounts.booked(order_id, "refund") and provider.holds_money:
        yield "I1: a refund is booked, and the provider has the money"
    if payment.status == "failed" and provider.holds_money:
        yield "I1: a payment failed, and the provider has the money"


def _outcome(world: Parts, state: State, number: int, base: int) -> Iterator[str]:
    """I1, I5, I10 of one order at its end; and no accepted cancel was dropped."""
    asked = world.asked[state[base + CUSTOMERS]]
    plan, order_id = world.scenario.orders[number], world.ids[number]
    row = world.rows[state[base + ROW]]
    hold = next((h for h in world.warehouses[state[WAREHOUSE]].holds if h.order_id == order_id), None)
    accounts, provider = world.accounts[state[ACCOUNTS]], world.providers[state[base + PROVIDER]]
    net = accounts.booked(order_id, "capture") - accounts.booked(order_id, "refund")
    create = world.sagas[state[base + SAGAS]].create
    status = None if row is None else row.status
    match status:
        case None | "cancelled":
            if row is not None and create is None:
                yield "there is an order without a saga"
            if row is None and (asked.ordered or asked.cancels > 0):
                yield "I3: what was asked for has left nothing"
            yield from _nothing_left(hold, net, provider)
        case "completed":
            if asked.cancels > 0:
                yield "an accepted cancel was dropped: the order is completed"
            if create is None or create.status is not Status.COMPLETED:
                yield "I5: the order is completed, its saga is not"
            yield from _sold_and_paid(plan, hold, net, accounts, provider, order_id)
        case _:
            yield f"I3: the order stays {status} for ever"


def _nothing_left(hold: Hold | None, net: int, provider: Provider) -> Iterator[str]:
    if hold is not None and hold.state in {"held", "sold"}:
        yield f"I5, I10: the order is cancelled, and its goods are {hold.state}"
    if net != 0:
        yield f"I5: the order is cancelled, and {net} of its money is kept"
    if provider.holds_money:
        yield "I1: the order is cancelled, and the card's money is with the provider"


def _sold_and_paid(
    plan: Plan, hold: Hold | None, net: int, accounts: Accounts, provider: Provider, order_id: OrderId
) -> Iterator[str]:
    wanted = {line.product_id: line.quantity for line in plan.ordered}
    if hold is None or hold.state != "sold" or dict(hold.quantities) != wanted:
        yield f"I5: the order is completed, and its goods are {hold.state if hold else 'not there'}"
    payment = accounts.payment(order_id)
    if payment is None or payment.status != "completed" or net != payment.amount.amount_minor or net == 0:
        yield f"I5: the order is completed, and {net} is paid"
    if plan.method != WALLET and not provider.holds_money:
        yield "I1: the order is completed, and the provider has no money"
