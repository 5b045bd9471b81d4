"""The safeguards of the engine and of the participants, each with what the platform would be without it.

Nothing here is reachable from production code: a function is put in the place of another for the time of a
search, or a route decides carelessly.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import order_saga.domain
import payment.domain.commands
import payment.domain.outcome
from libs.contracts.inventory import ReleaseInventory, ReserveInventory
from libs.contracts.message import Contract
from libs.contracts.order import CancelOrder, CompleteOrder, CreateOrder, OrderCompleted
from libs.contracts.order_saga import SagaCancelOrder, SagaCreateOrder
from libs.contracts.payment import ProcessPayment, RefundPayment
from libs.saga import by_hand, course, deadlines, reducer
from libs.saga.turn import Turn
from libs.service.service import on, on_message
from tests.model import cards, careless_engine, careless_participants
from tests.model.participants import Decide
from tests.model.state import STRICT, Laxity
from tests.model.substitution import Substitute


@dataclass(frozen=True, slots=True)
class Safeguard:
    """What is left out, in which scenarios that is looked for, and how."""

    name: str
    without: str
    scenarios: tuple[str, ...]
    substitutes: tuple[Substitute, ...] = ()
    laxity: Laxity = STRICT


def _engine(part: object, name: str, by: object) -> tuple[Substitute, ...]:
    return (Substitute(part, name, by),)


def _route(service: str, body: type[Contract], decide: Decide) -> Laxity:
    return Laxity({(service, body): decide})


def _body(body: type[object], decide: Any) -> Decide:
    decided: Decide = on(body, decide).decide
    return decided


def _whole(body: type[object], decide: Any) -> Decide:
    decided: Decide = on_message(body, decide).decide
    return decided


ENGINE: Final = (
    Safeguard(
        "arming",
        "a step's undo is owed only once it has succeeded",
        ("outage", "everything", "card"),
        (
            *_engine(course, "_begin", careless_engine.begin_unarmed),
            *_engine(course, "succeeded", careless_engine.succeeded_and_armed),
            *_engine(reducer, "_refused", careless_engine.refused_unarmed),
        ),
    ),
    Safeguard(
        "reverse_order",
        "what was done first is undone first",
        ("cancel",),
        _engine(course, "undo_next", careless_engine.undo_oldest),
    ),
    Safeguard(
        "refused_not_undone",
        "a refused step is undone too",
        ("last one",),
        _engine(reducer, "_refused", careless_engine.refused_and_undone),
    ),
    Safeguard(
        "unknown_includes_itself",
        "a step whose outcome is unknown is not undone itself",
        ("catalogue",),
        _engine(deadlines, "_wake", careless_engine.wake_and_disarm),
    ),
    Safeguard(
        "late_reply_rule",
        "an answer counts whenever it comes",
        ("cancel", "everything"),
        _engine(reducer, "_reply", careless_engine.reply_to_anything),
    ),
    Safeguard(
        "stale_timer_rule",
        "a deadline counts for whatever is in flight",
        ("catalogue",),
        _engine(deadlines, "timed_out", careless_engine.timeout_of_anything),
    ),
    Safeguard(
        "time_given_back",
        "a deadline that nobody watched counts all the same",
        ("outage",),
        (
            *_engine(deadlines, "OVERDUE", timedelta(days=1)),
            *_engine(deadlines, "_time_again", lambda *_: None),
        ),
    ),
    Safeguard(
        "caught_up_rule",
        "deadlines do not wait for the answers that lie in their topics",
        ("catalogue",),
        laxity=Laxity(not_caught_up=True),
    ),
    Safeguard(
        "sending_again",
        "a command that stays unanswered is not sent again",
        ("loss",),
        (Substitute(Turn, "resend", careless_engine.resend_nothing),),
    ),
    Safeguard(
        "parking_of_undo",
        "an undo that stays unanswered is given up",
        ("operator",),
        (Substitute(Turn, "park", careless_engine.park_and_forget),),
    ),
    Safeguard(
        "cancel_guard",
        "a cancel turns the saga back after the point of no return too",
        ("cancel",),
        _engine(reducer, "_cancel", careless_engine.cancel_past_return),
    ),
    Safeguard(
        "cancel_kept_until_completion",
        "a cancel past the point of no return is dropped",
        ("cancel",),
        _engine(reducer, "_cancel", careless_engine.cancel_not_kept),
    ),
    Safeguard(
        "cancel_before_start",
        "a cancel that meets no saga is dropped",
        ("cancel",),
        laxity=_route("order_saga", SagaCancelOrder, _whole(SagaCancelOrder, careless_engine.cancel_unknown)),
    ),
    Safeguard(
        "one_cancellation",
        "every cancel of a completed order starts a saga",
        ("cancel",),
        (Substitute(order_saga.domain, "_take_back", careless_engine.take_back_again),),
    ),
    Safeguard(
        "business_key_saga",
        "every start of an order's saga starts one",
        ("forgotten",),
        laxity=_route("order_saga", SagaCreateOrder, _whole(SagaCreateOrder, careless_engine.begin_again)),
    ),
    Safeguard(
        "retired_version",
        "a saga that ended in a version unknown to this process is taken for none",
        ("rollout",),
        (Substitute(order_saga.domain, "cancel", careless_engine.cancel_retired),),
    ),
    Safeguard(
        "revision_check",
        "an operator's action is taken whatever has happened since he looked",
        ("operator",),
        _engine(by_hand, "act", careless_engine.operator_on_anything),
    ),
    Safeguard(
        "operator_guard",
        "an operator may turn a saga back after the point of no return",
        ("operator",),
        _engine(by_hand, "_compensate", careless_engine.compensate_past_return),
    ),
    Safeguard(
        "forced_refusal_is_unknown",
        "a step that an operator declares refused is not undone",
        ("operator",),
        _engine(by_hand, "_force", careless_engine.force_and_disarm),
    ),
    Safeguard(
        "siblings_awaited",
        "undoing begins while parallel steps are in flight",
        ("trip",),
        _engine(course, "go_on", careless_engine.go_on_without_siblings),
    ),
    Safeguard(
        "early_event_remembered",
        "an event that comes before the pause that waits for it is passed over",
        ("trip",),
        _engine(reducer, "_happened", careless_engine.happened_too_early),
    ),
    Safeguard(
        "deadline_void_past_return",
        "a saga's deadline turns it back after the point of no return too",
        ("trip in time",),
        _engine(course, "enter", careless_engine.enter_with_deadline),
    ),
    Safeguard(
        "inbox",
        "a message that comes again is decided again",
        ("cancel",),
        laxity=Laxity(no_inbox=True),
    ),
)

PARTICIPANTS: Final = (
    Safeguard(
        "tombstone_order",
        "a cancel that comes before the order leaves no trace",
        ("overtaking",),
        laxity=_route("order", CancelOrder, _body(CancelOrder, careless_participants.cancel_without_trace)),
    ),
    Safeguard(
        "tombstone_inventory",
        "a release that comes before the reservation leaves no trace",
        ("overtaking",),
        laxity=_route(
            "inventory",
            ReleaseInventory,
            _body(ReleaseInventory, careless_participants.release_without_trace),
        ),
    ),
    Safeguard(
        "tombstone_payment",
        "a refund that comes before the payment leaves no trace",
        ("overtaking",),
        laxity=_route(
            "payment", RefundPayment, _whole(RefundPayment, careless_participants.refund_without_trace)
        ),
    ),
    Safeguard(
        "business_key_order",
        "an order that is asked for again is written down again",
        ("forgotten",),
        laxity=_route("order", CreateOrder, _body(CreateOrder, careless_participants.create_again)),
    ),
    Safeguard(
        "business_key_inventory",
        "what is asked for again is reserved again",
        ("forgotten",),
        laxity=_route(
            "inventory", ReserveInventory, _body(ReserveInventory, careless_participants.reserve_again)
        ),
    ),
    Safeguard(
        "business_key_payment",
        "what is asked for again is charged again",
        ("forgotten",),
        laxity=_route("payment", ProcessPayment, _whole(ProcessPayment, careless_participants.pay_again)),
    ),
    Safeguard(
        "repeated_answer_rule",
        "a refused reservation is tried again when it is asked for again",
        ("last one",),
        laxity=_route(
            "inventory", ReserveInventory, _body(ReserveInventory, careless_participants.reserve_reconsidered)
        ),
    ),
    Safeguard(
        "all_or_none_reserve",
        "the lines that there is enough of are held, and the rest refused",
        ("crossed lines",),
        laxity=_route(
            "inventory",
            ReserveInventory,
            _body(ReserveInventory, careless_participants.reserve_what_is_there),
        ),
    ),
    Safeguard(
        "release_after_sale",
        "what was sold cannot be given back",
        ("cancel",),
        laxity=_route(
            "inventory", ReleaseInventory, _body(ReleaseInventory, careless_participants.release_only_held)
        ),
    ),
    Safeguard(
        "no_sale_after_release",
        "a completion that comes after the release sells all the same",
        ("cancel",),
        laxity=_route(
            "inventory", OrderCompleted, _body(OrderCompleted, careless_participants.sell_released)
        ),
    ),
    Safeguard(
        "no_completion_after_cancel",
        "a completion that comes after the cancellation completes all the same",
        ("overtaken again",),
        laxity=_route("order", CompleteOrder, _body(CompleteOrder, careless_participants.complete_anything)),
    ),
    Safeguard(
        "undo_waits_for_charge",
        "a refund does not wait for the charge that is under way",
        ("card", "late card"),
        (Substitute(payment.domain.commands, "_cancel", careless_participants.cancel_at_once),),
    ),
    Safeguard(
        "not_found_settles_nothing",
        "a charge that the provider does not know yet is called undone",
        ("card", "late card"),
        (Substitute(payment.domain.outcome, "_undoing", careless_participants.undone_when_not_found),),
    ),
    Safeguard(
        "no_charge_after_hours",
        "a charge is sent under its key however long ago it was first sent",
        ("next morning",),
        (
            Substitute(payment.domain.outcome, "may_charge", lambda *_: True),
            Substitute(cards, "may_charge", lambda *_: True),
        ),
    ),
    Safeguard(
        "refund_until_granted",
        "a refund that is denied or unanswered is booked all the same",
        ("denied",),
        (Substitute(payment.domain.outcome, "_refunding", careless_participants.refunded_though_denied),),
    ),
    Safeguard(
        "refund_at_provider",
        "a card's refund is booked without asking its provider",
        ("denied",),
        (Substitute(payment.domain.commands, "_give_back", careless_participants.give_back_in_books),),
    ),
)

SAFEGUARDS: Final = ENGINE + PARTICIPANTS
