"""Tries the reducer against a world of participants: commands and answers in any order, lost for a while, and twice."""

from datetime import timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from libs.contracts.message import Event
from libs.saga.decision import Send
from libs.saga.inputs import Cancel, Repeated, Reply
from libs.saga.instance import Reason, Status
from libs.saga.testing import BEGINNING, given
from order_saga.create_order import create_order
from tests.libs.saga.orders import DONE, REFUSED, SHEET
from tests.support.builders import a_message_id

UNDONE_BY = {
    "open_order": "cancel_order",
    "reserve_inventory": "release_inventory",
    "process_payment": "refund_payment",
}
DOES = {undo: step for step, undo in UNDONE_BY.items()}
ENDS = {Status.COMPLETED, Status.COMPENSATED}
MOST_TURNS = 300


class Order(RuleBasedStateMachine):
    """One order's saga; `effects` says what each participant has done for it: done, refused or undone."""

    def __init__(self) -> None:
        super().__init__()
        self.saga = given(create_order, SHEET)
        self.taken = 0
        self.network: list[Send] = []
        self.answers: list[Reply] = []
        self.effects: dict[str, str] = {}
        self.ended: Status | None = None
        self._collect()

    @precondition(lambda self: self.network)
    @rule(data=st.data(), refuses=st.sampled_from([False, False, False, True]), again=st.booleans())
    def a_command_arrives(self, data: st.DataObject, refuses: bool, again: bool) -> None:
        """At its participant, now or, as `again` says, once more later."""
        send = data.draw(st.sampled_from(self.network))
        if not again:
            self.network.remove(send)
        self._participate(send, refuses=refuses)

    @precondition(lambda self: self.answers)
    @rule(data=st.data(), again=st.booleans())
    def an_answer_arrives(self, data: st.DataObject, again: bool) -> None:
        answer = data.draw(st.sampled_from(self.answers))
        if not again:
            self.answers.remove(answer)
        self.saga.hear(answer)
        self._collect()

    @rule(seconds=st.sampled_from([1, 16, 61]), watched=st.booleans())
    def time_passes(self, seconds: int, watched: bool) -> None:
        time = timedelta(seconds=seconds)
        self.saga = self.saga.after(time) if watched else self.saga.overslept(time)
        self._collect()

    @rule()
    def the_customer_cancels(self) -> None:
        self.saga.hear(Cancel(Reason("cancelled_by_customer", "Changed my mind.")))
        self._collect()

    @rule()
    def the_start_comes_once_more(self) -> None:
        self.saga.hear(Repeated(a_message_id()))
        self._collect()

    @invariant()
    def an_end_is_an_end(self) -> None:
        status = self.saga.instance.status
        assert self.ended in {None, status}
        assert (self.saga.instance.deadline is None) == (status in ENDS)
        if status in ENDS:
            self.ended = status
            assert self._held() == ([] if status is Status.COMPENSATED else sorted(UNDONE_BY))

    @invariant()
    def what_is_final_is_not_undone(self) -> None:
        if self.effects.get("complete_order") == "done":
            assert self.saga.instance.status is not Status.COMPENSATING
            assert "undone" not in self.effects.values()

    def teardown(self) -> None:
        """Once everything arrives and nobody refuses any more, it ends; and what comes later changes nothing."""
        for _ in range(MOST_TURNS):
            while self.network:
                self._participate(self.network.pop(0), refuses=False)
            if self.answers:
                self.saga.hear(self.answers.pop(0))
            elif (deadline := self.saga.instance.deadline) is not None:
                self.saga.after(max(deadline - self.saga.now, timedelta(0)))
            else:
                break
            self._collect()
        assert self.saga.instance.status in ENDS, self.saga.transcript
        self.an_end_is_an_end()
        assert self.saga.now >= BEGINNING

    def _collect(self) -> None:
        self.network += self.saga.sent[self.taken :]
        self.taken = len(self.saga.sent)

    def _participate(self, send: Send, *, refuses: bool) -> None:
        """What a participant does and answers: the same as before, and a refusal where the undo came first."""
        step = send.step
        if step in DOES:
            self.effects[DOES[step]] = "undone"
            event: Event = DONE[step]
        else:
            known = self.effects.get(step)
            refused = REFUSED.get(step)
            if refused is not None and (known in {"refused", "undone"} or (refuses and known is None)):
                code = "already_undone" if known == "undone" else refused.reason_code
                event = refused.model_copy(update={"reason_code": code})
                self.effects.setdefault(step, "refused")
            else:
                event = DONE[step]
                self.effects[step] = "done"
        self.answers.append(Reply(step, event, send.attempt, a_message_id()))

    def _held(self) -> list[str]:
        return sorted(step for step in UNDONE_BY if self.effects.get(step) == "done")


TestOrder = Order.TestCase
TestOrder.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
