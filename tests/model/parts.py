"""What a world is made of: every part of its states, numbered, and every decision made so far."""

from inventory.domain import Stock
from libs.contracts.order_saga import SagaCancelOrder, SagaCreateOrder
from order.domain import Order
from payment.domain.books import Wallet
from tests.model import cards, orchestrator, participants
from tests.model.cards import Accounts, Provider
from tests.model.interning import Interned
from tests.model.mail import Mail
from tests.model.orchestrator import Sagas, Timer
from tests.model.participants import Deciders, Warehouse
from tests.model.scenario import CUSTOMER, ORDERS, Scenario, euros
from tests.model.state import BUDGETED, STRICT, Asked, Effect, Laxity, Left, State


class Parts:
    """Numbers for what a state is made of; the services' own routes; and what decisions led to.

    Every decision is made by the real code once, and remembered. That is sound because deciding is pure: the
    same part of a state and the same message decide the same.
    """

    def __init__(self, scenario: Scenario, laxity: Laxity = STRICT) -> None:
        self.scenario = scenario
        self.laxity = laxity
        self.ids = ORDERS[: len(scenario.orders)]
        self.old_book = orchestrator.book(dict(scenario.times))
        self.book = orchestrator.next_book(self.old_book) if scenario.rollout else self.old_book
        self.decides: dict[str, Deciders] = {
            "order_saga": orchestrator.deciders(self.book),
            "order": dict(participants.ORDER),
            "product": dict(participants.PRODUCT),
            "inventory": dict(participants.INVENTORY),
            "payment": dict(cards.PAYMENT),
        }
        for (service, body), decide in laxity.decides.items():
            self.decides[service][body] = decide
        self.mail = Mail(self.decides, reordering=scenario.reordering)
        self.warehouses = Interned[Warehouse]()
        self.accounts = Interned[Accounts]()
        self.budgets = Interned[tuple[int, ...]]()
        self.sagas = Interned[Sagas]()
        self.rows = Interned[Order | None]()
        self.providers = Interned[Provider]()
        self.timers = Interned[tuple[Timer, ...]]()
        self.asked = Interned[Asked]()
        self.decided: dict[tuple[object, ...], Effect] = {}
        self._lefts: dict[int, Left] = {}
        self.starts = tuple(self._start(number) for number in range(len(self.ids)))

    def _start(self, number: int) -> tuple[int, int]:
        plan = self.scenario.orders[number]
        order_id = self.ids[number]
        start = SagaCreateOrder(
            order_id=order_id, user_id=CUSTOMER, payment_method_id=plan.method, lines=plan.ordered
        )
        cancel = SagaCancelOrder(order_id=order_id, user_id=CUSTOMER, reason="")
        return self.mail.number_of(start), self.mail.number_of(cancel)

    def initial(self) -> State:
        """Nothing has happened yet."""
        stock = tuple(Stock(product, count) for product, count in sorted(self.scenario.stock.items()))
        order = (
            self.sagas.number(Sagas()),
            self.rows.number(None),
            self.providers.number(Provider()),
            self.timers.number(()),
            self.asked.number(Asked()),
            self.mail.empty,
        )
        return (
            self.warehouses.number(Warehouse(stock)),
            self.accounts.number(Accounts((Wallet(CUSTOMER, euros(self.scenario.balance)),))),
            0,
            self.budgets.number(tuple(getattr(self.scenario.budget, name) for name in BUDGETED)),
            *(order * len(self.ids)),
        )

    def left(self, budget: int) -> Left:
        """The budget's number after each thing that may still go wrong; None for what may not any more."""
        known = self._lefts.get(budget)
        if known is None:
            has = self.budgets[budget]
            spent = ((*has[:place], has[place] - 1, *has[place + 1 :]) for place in range(len(has)))
            known = self._lefts[budget] = Left(
                *(self.budgets.number(one) if min(one) >= 0 else None for one in spent)
            )
        return known

    def said_of(self, consumer: str, after: int) -> str:
        match consumer:
            case "order":
                row = self.rows[after]
                return f"the order is {row.status}" if row else "no order"
            case "inventory":
                held = self.warehouses[after]
                stock = ", ".join(
                    f"{s.on_hand} on hand {s.reserved} reserved {s.sold} sold" for s in held.stock
                )
                return f"stock: {stock}; holds: {', '.join(h.state for h in held.holds)}"
            case "payment":
                books = self.accounts[after]
                open_ones = [f"{a.ask} {a.state}" for a in books.attempts if a.state != "done"]
                told = ", ".join([p.status for p in books.payments] + open_ones)
                return f"payments: {told}"
            case _:
                return ""

    def turned(self, turned: orchestrator.Turned) -> Effect:
        sent = tuple(map(self.mail.letters.number, turned.sent))
        return Effect(self.sagas.number(turned.sagas), sent, turned.said, turned.wrong)
