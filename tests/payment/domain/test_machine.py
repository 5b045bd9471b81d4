"""Tries wallets, ledger and card payments in any order of commands, calls, losses and repeats, against a model provider."""

from dataclasses import dataclass, field
from datetime import timedelta

from hypothesis import settings, strategies
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, precondition, rule

from libs.contracts.message import Contract
from libs.contracts.payment import PaymentCompleted, PaymentFailed, PaymentRefunded, ProcessPayment
from libs.contracts.values import MessageId, OrderId, PaymentMethodId
from libs.messaging.message import Message, Outgoing
from payment import domain
from payment.domain.books import DEPOSITS, Card, wallet_account, wallet_method_id
from payment.provider import Outcome
from tests.payment.domain.vault import Claimed, Vault
from tests.payment.till import asking, pay, undo
from tests.support.builders import a_message_id, euros


@dataclass(slots=True)
class ModelProvider:
    """What a provider does under each key, at once; its answers may get lost on the way."""

    charges: dict[OrderId, str] = field(default_factory=dict)
    captures: dict[OrderId, int] = field(default_factory=dict)
    refuses_refunds: bool = False

    def ask(self, claimed: Claimed, token: str | None) -> Outcome:
        """Do what is asked; whatever it is, it may be asked again."""
        match claimed.ask:
            case "charge":
                return self._charge(claimed.order_id, token)
            case "query":
                return Outcome(self.charges.get(claimed.order_id, "not_found"))  # type: ignore[arg-type]
            case "void" | "refund":
                return self._give_back(claimed)

    def _charge(self, order_id: OrderId, token: str | None) -> Outcome:
        known = self.charges.get(order_id)
        if known is None:
            assert token is not None
            known = self.charges[order_id] = "refused" if token == "tok_refuse" else "captured"
            if known == "captured":
                self.captures[order_id] = self.captures.get(order_id, 0) + 1
        return Outcome("voided" if known == "refunded" else known)  # type: ignore[arg-type]

    def _give_back(self, claimed: Claimed) -> Outcome:
        known = self.charges.get(claimed.order_id)
        if known == "captured" and self.refuses_refunds:
            return Outcome("denied", reason="refunds_refused")
        if claimed.ask == "refund" and known != "captured":
            assert known in {"voided", "refunded"}, "a refund of what was never captured"
        if known not in {"voided", "refunded"}:
            self.charges[claimed.order_id] = "voided" if claimed.ask == "void" else "refunded"
        return Outcome("voided" if self.charges[claimed.order_id] == "voided" else "refunded")


MAX_ORDERS = 4


class PaymentMachine(RuleBasedStateMachine):
    """Everything that can reach the service, in any order; in the end all is worked off and everything adds up."""

    orders = Bundle("orders")

    @initialize(balance=strategies.integers(0, 2_000))
    def open_shop(self, balance: int) -> None:
        self.vault = Vault()
        self.provider = ModelProvider()
        self.user = self.vault.wallet(balance)
        self.cards = [self._card(token) for token in ("tok_approve", "tok_refuse")]
        self.put_in = 0
        self.count = 0
        self.initial = balance
        self.calls: list[Claimed] = []
        self.unanswered: dict[MessageId, Message[Contract]] = {}
        self.answers: dict[OrderId, list[Contract]] = {}

    def _card(self, token: str) -> Card:
        card = Card(PaymentMethodId(a_message_id()), self.user, token)
        self.vault.cards[card.id] = card
        return card

    @precondition(lambda self: self.count < MAX_ORDERS)
    @rule(
        target=orders,
        minor=strategies.integers(0, 600),
        by=strategies.sampled_from(["wallet", "approved", "approved", "refused", "nobody's"]),
        undone_first=strategies.sampled_from([False, False, False, True]),
    )
    def order(self, minor: int, by: str, undone_first: bool) -> ProcessPayment:
        """An order is paid for by one method or another; its undo may come first."""
        self.count += 1
        method = {
            "wallet": wallet_method_id(self.user),
            "approved": self.cards[0].id,
            "refused": self.cards[1].id,
            "nobody's": PaymentMethodId(a_message_id()),
        }[by]
        command = pay(user_id=self.user, method_id=method, amount=euros(minor))
        if undone_first:
            self._send(undo(command.order_id))
        self._send(asking(command))
        return command

    @rule(command=orders)
    def repeat(self, command: ProcessPayment) -> None:
        self._send(asking(command))

    @rule(command=orders)
    def refund(self, command: ProcessPayment) -> None:
        self._send(undo(command.order_id))

    @rule(minor=strategies.integers(1, 2_000))
    def deposit(self, minor: int) -> None:
        self.vault.run(lambda books: self._deposited(books, minor))
        self.put_in += minor

    def _deposited(self, books: domain.Books, minor: int) -> None:
        domain.deposit(books, self.user, euros(minor), a_message_id())

    @precondition(lambda self: self.due())
    @rule(data=strategies.data())
    def claim(self, data: strategies.DataObject) -> None:
        self.calls.append(self.vault.claim(data.draw(strategies.sampled_from(self.due()))))

    @precondition(lambda self: self.due())
    @rule(data=strategies.data(), lost=strategies.sampled_from([None, None, "request", "answer"]))
    def ask(self, data: strategies.DataObject, lost: str | None) -> None:
        """Claim and call at once, as mostly happens."""
        self._call(self.vault.claim(data.draw(strategies.sampled_from(self.due()))), lost)

    @precondition(lambda self: self.calls)
    @rule(
        data=strategies.data(),
        lost=strategies.sampled_from([None, "request", "answer"]),
        again=strategies.booleans(),
    )
    def call(self, data: strategies.DataObject, lost: str | None, again: bool) -> None:
        """Make a call, however late; `again` makes it once more later, like a process that was paused."""
        claimed = data.draw(strategies.sampled_from(self.calls))
        if not again:
            self.calls.remove(claimed)
        self._call(claimed, lost)

    @rule(refuses=strategies.booleans())
    def change_mood(self, refuses: bool) -> None:
        self.provider.refuses_refunds = refuses

    @rule(seconds=strategies.sampled_from([1, 20, 400]))
    def wait(self, seconds: int) -> None:
        """Time passes; claims run out."""
        self.vault.now += timedelta(seconds=seconds)

    @invariant()
    def nothing_is_captured_twice(self) -> None:
        if hasattr(self, "provider"):
            assert all(count == 1 for count in self.provider.captures.values())

    @invariant()
    def wallets_hold_what_is_booked(self) -> None:
        if hasattr(self, "vault"):
            booked = self.vault.booked(wallet_account(self.user))
            assert self.vault.wallets[self.user].balance.amount_minor == self.initial + booked
            assert self.vault.booked(DEPOSITS) == -self.put_in

    def due(self) -> list[OrderId]:
        """The orders that the provider can be asked about now."""
        return sorted(
            order_id
            for order_id, attempt in self.vault.attempts.items()
            if attempt.state == "due" and attempt.next_at <= self.vault.now
        )

    def _send(self, message: Message[Contract]) -> None:
        self.unanswered[message.id] = message
        self._note(self.vault.send(message), message)

    def _call(self, claimed: Claimed, lost: str | None) -> None:
        outcome = Outcome("unknown")
        if lost != "request":
            outcome = self.provider.ask(claimed, self._token(claimed))
        if lost == "answer":
            outcome = Outcome("unknown")
        self._note(self.vault.answer(claimed, outcome), None)

    def _token(self, claimed: Claimed) -> str | None:
        """The token as it was when the call was claimed; the attempt may have forgotten it since."""
        method_id = self.vault.payments[claimed.order_id].method_id
        return next((card.token for card in self.cards if card.id == method_id), None)

    def _note(self, answers: list[Contract | Outgoing], asked: Message[Contract] | None) -> None:
        for answer in answers:
            body = answer.body if isinstance(answer, Outgoing) else answer
            cause = (
                answer.correlation.causation_id
                if isinstance(answer, Outgoing) and answer.correlation
                else None
            )
            cause = cause or (asked.id if asked else None)
            assert cause is not None
            question = self.unanswered.pop(cause)  # answered once, and to somebody who asked
            wanted = (
                (PaymentCompleted, PaymentFailed)
                if isinstance(question.body, ProcessPayment)
                else (PaymentRefunded,)
            )
            assert isinstance(body, wanted)
            self.answers.setdefault(body.order_id, []).append(body)

    def teardown(self) -> None:
        """Let all calls arrive with their answers lost, and work off what is due: then everything adds up."""
        if not hasattr(self, "vault"):
            return
        self.provider.refuses_refunds = False
        for claimed in self.calls:
            self.provider.ask(claimed, self._token(claimed))
        for _ in range(100):
            open_ones = [a for a in self.vault.attempts.values() if a.state == "due"]
            if not open_ones:
                break
            self.vault.now = max(self.vault.now, min(a.next_at for a in open_ones))
            for order_id in self.due():
                self._call(self.vault.claim(order_id), None)
        assert not self.unanswered, "somebody still waits"
        for order_id, payment in self.vault.payments.items():
            answers = {type(answer) for answer in self.answers[order_id]}
            if PaymentRefunded in answers:
                assert payment.status != "completed", "undone, and paid all the same"
            if payment.status in {"failed", "cancelled"}:
                assert PaymentCompleted not in answers
            if payment.method_kind != "card" or payment.amount.amount_minor == 0:
                continue
            assert (payment.status == "completed") == (self.provider.charges.get(order_id) == "captured")


TestPayments = PaymentMachine.TestCase
TestPayments.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
